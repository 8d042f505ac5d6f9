//! What an API answers, and what is made of it; pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Rule;
use crate::limits;
use crate::model::{Labels, NAME};
use crate::time::Timestamp;

/// What all expressions of one API gave at one time: what one host of a fleet asked, for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub at: Timestamp,
    pub samples: Vec<Given>,
}

/// One sample: a label set and Prometheus' text of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given(pub BTreeMap<String, String>, pub String);

impl Answer {
    /// The samples as a batch has them.
    pub fn samples(&self) -> Vec<(Labels, f64)> {
        let sample = |Given(labels, value): &Given| Some((Labels::from_pairs(labels), number(value)?));
        self.samples.iter().filter_map(sample).collect()
    }
}

/// Prometheus' text of a number.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// The samples of one answer under the rule's name and labels.
///
/// # Errors
/// Why there are none: what the API says, or what is wrong with its answer.
pub(super) fn read(rule: &Rule, body: &[u8]) -> Result<Vec<Given>, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    if answer["status"] != "success" {
        let why = answer["error"].as_str().unwrap_or("it gives no reason");
        return Err(format!("the API says: {}", why.chars().take(300).collect::<String>()));
    }
    let result = &answer["data"]["result"];
    let odd = || "the answer has a sample that is none".to_owned();
    match answer["data"]["resultType"].as_str() {
        Some("scalar") => Ok(vec![given(rule, &BTreeMap::new(), result).ok_or_else(odd)?]),
        Some("vector") => {
            let vector = result.as_array().ok_or_else(odd)?;
            if vector.len() > limits::QUERY_API_SERIES {
                return Err(format!(
                    "it gives {} series, {} at the most are taken: aggregate",
                    vector.len(),
                    limits::QUERY_API_SERIES
                ));
            }
            let sample = |sample: &Value| {
                let labels = serde_json::from_value(sample["metric"].clone()).ok()?;
                given(rule, &labels, &sample["value"])
            };
            vector.iter().map(|one| sample(one).ok_or_else(odd)).collect()
        }
        Some(other) => Err(format!("it gives a {other}, not an instant vector or a scalar")),
        None => Err("the answer has no result".to_owned()),
    }
}

fn given(rule: &Rule, labels: &BTreeMap<String, String>, value: &Value) -> Option<Given> {
    let value = value.get(1)?.as_str()?;
    number(value)?;
    let mut labels = labels.clone();
    labels.extend(rule.labels.iter().cloned());
    labels.insert(NAME.to_owned(), rule.record.clone());
    Some(Given(labels, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_samples_or_say_why_not() {
        let rule = Rule { record: "r".into(), expr: "up".into(), labels: vec![("team".to_owned(), "ops".to_owned())] };
        let check = |body: &str, expected: Result<&[(&str, &str)], &str>| {
            let got = read(&rule, body.as_bytes());
            match (got, expected) {
                (Ok(got), Ok(expected)) => {
                    let text = |Given(labels, value): &Given| {
                        let labels: Vec<String> =
                            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                        (labels.join(","), value.clone())
                    };
                    let expected: Vec<_> = expected.iter().map(|(l, v)| ((*l).to_owned(), (*v).to_owned())).collect();
                    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), expected, "{body}");
                }
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}, not {expected}"),
                (got, expected) => panic!("{body}: {got:?}, not {expected:?}"),
            }
        };
        let vector =
            |samples: &str| format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#);
        check(&vector(""), Ok(&[]));
        check(
            &vector(
                r#"{"metric":{"__name__":"up","job":"a","team":"x"},"value":[1.5,"0.25"]},{"metric":{},"value":[1,"+Inf"]}"#,
            ),
            Ok(&[("__name__=r,job=a,team=ops", "0.25"), ("__name__=r,team=ops", "+Inf")]),
        );
        check(
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}"#,
            Ok(&[("__name__=r,team=ops", "NaN")]),
        );
        check(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, Err("parse error"));
        check(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, Err("it gives a matrix"));
        check(r#"{"status":"success"}"#, Err("no result"));
        check("<html>", Err("no JSON"));
        check(&vector(r#"{"metric":{},"value":[1,"many"]}"#), Err("is none"));
        check(&vector(r#"{"metric":{},"histogram":[1,{}]}"#), Err("is none"));
        let many = vec![r#"{"metric":{},"value":[1,"1"]}"#; limits::QUERY_API_SERIES + 1].join(",");
        check(&vector(&many), Err("aggregate"));
    }

    #[test]
    fn an_answer_that_another_host_got_is_the_same_here() {
        let labels = BTreeMap::from([(NAME.to_owned(), "r".to_owned())]);
        let answer = Answer { at: Timestamp::from_millis(7), samples: vec![Given(labels, "-Inf".to_owned())] };
        let text = serde_json::to_string(&answer).expect("JSON");
        let read: Answer = serde_json::from_str(&text).expect("an answer");
        assert_eq!(read, answer);
        assert_eq!(read.samples(), [(Labels::from_pairs([(NAME, "r")]), f64::NEG_INFINITY)]);
    }
}

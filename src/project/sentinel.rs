//! Sentinel's rule lists. A data source holds the whole list of one kind, and taking it away takes all rules away; so what is
//! written is always the whole list, and an empty one when no rule applies.
//! Fields: <https://github.com/alibaba/Sentinel>, the rule beans of `sentinel-core` and `sentinel-parameter-flow-control`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::model::SwitchName;
use crate::serve::{Switchboard, Unit, Value};

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flow,
    Degrade,
    System,
    Param,
}

impl Kind {
    /// The fields that a rule of this list may set itself, each with its default.
    pub fn fields(self) -> Map<String, Json> {
        let fields = match self {
            Kind::Flow => json!({
                "limitApp": "default", "grade": 1, "strategy": 0, "refResource": "", "controlBehavior": 0,
                "warmUpPeriodSec": 10, "maxQueueingTimeMs": 500, "clusterMode": false,
            }),
            Kind::Degrade => json!({
                "limitApp": "default", "grade": 0, "timeWindow": 10, "minRequestAmount": 5, "slowRatioThreshold": 1.0,
                "statIntervalMs": 1000,
            }),
            Kind::System => json!({
                "highestSystemLoad": -1.0, "highestCpuUsage": -1.0, "qps": -1.0, "avgRt": -1, "maxThread": -1,
            }),
            Kind::Param => json!({
                "limitApp": "default", "grade": 1, "paramIdx": 0, "controlBehavior": 0, "maxQueueingTimeMs": 0,
                "burstCount": 0, "durationInSec": 1, "clusterMode": false,
            }),
        };
        match fields {
            Json::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The field that the switch's number goes into when the rule does not say.
    pub fn number_field(self) -> &'static str {
        if self == Kind::System { "qps" } else { "count" }
    }
}

/// One rule, fed by a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Empty for a system rule.
    pub resource: String,
    pub switch: SwitchName,
    /// The number at each level of a feature; at a level that is not here there is no rule.
    pub levels: BTreeMap<String, f64>,
    /// The number of which a share is taken.
    pub of: f64,
    /// Where the number goes.
    pub field: String,
    /// Further fields.
    pub with: Map<String, Json>,
}

/// The whole list as it is now.
pub(super) fn rules(kind: Kind, rules: &[Rule], board: &Switchboard) -> Json {
    Json::Array(rules.iter().filter_map(|rule| one(kind, rule, board)).collect())
}

fn one(kind: Kind, rule: &Rule, board: &Switchboard) -> Option<Json> {
    let mut fields = kind.fields();
    let number = match &board.flags.get(&rule.switch)?.value {
        Value::Feature { level, .. } => *rule.levels.get(level)?,
        Value::Dimmer { share, .. } | Value::Rollout { share } => share * rule.of,
        Value::Limit { value: None, .. } => return None,
        Value::Limit { value: Some(value), unit } => {
            // Sentinel counts threads (0) or requests a second (1).
            if matches!(kind, Kind::Flow | Kind::Param) {
                fields.insert("grade".into(), json!(u8::from(*unit == Unit::RequestsPerSecond)));
            }
            *value
        }
    };
    if !rule.resource.is_empty() {
        fields.insert("resource".into(), json!(rule.resource));
    }
    fields.extend(rule.with.clone());
    // Whole fields of the beans take no fraction.
    let whole = fields.get(&rule.field).is_some_and(|field| field.is_i64() || field.is_u64());
    fields.insert(rule.field.clone(), if whole { json!(number.floor() as i64) } else { json!(number) });
    Some(Json::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::sample;

    fn check(kind: Kind, switch: &str, rule: Rule, expected: Option<(&str, Json)>) {
        let rule = Rule { switch: SwitchName::new(switch).expect("a name"), ..rule };
        let list = rules(kind, &[rule], &sample());
        match expected {
            Some((field, number)) => assert_eq!(list[0][field], number, "{switch}: {list}"),
            None => assert_eq!(list, json!([]), "{switch}"),
        }
    }

    #[test]
    fn numbers_go_where_the_beans_have_them() {
        let rule = |field: &str, levels: &[(&str, f64)]| Rule {
            resource: "GET:/checkout".into(),
            switch: SwitchName::new("x").expect("a name"),
            levels: levels.iter().map(|(level, number)| ((*level).to_owned(), *number)).collect(),
            of: 200.0,
            field: field.into(),
            with: Map::new(),
        };
        check(Kind::Flow, "search", rule("count", &[]), Some(("count", json!(2.5))));
        check(Kind::Flow, "search", rule("count", &[]), Some(("grade", json!(1))));
        check(Kind::Flow, "checkout", rule("count", &[]), Some(("grade", json!(0))));
        check(Kind::Flow, "related", rule("count", &[]), Some(("count", json!(50.0))));
        check(Kind::Flow, "recs", rule("count", &[("cached", 7.0)]), Some(("count", json!(7.0))));
        check(Kind::Flow, "recs", rule("count", &[("off", 0.0)]), None);
        check(Kind::Degrade, "recs", rule("count", &[("cached", 0.5)]), Some(("timeWindow", json!(10))));
        check(Kind::System, "checkout", rule("maxThread", &[]), Some(("maxThread", json!(40))));
        check(Kind::System, "search", rule("qps", &[]), Some(("avgRt", json!(-1))));
        check(Kind::Param, "search", rule("count", &[]), Some(("paramIdx", json!(0))));
        check(Kind::Flow, "gone", rule("count", &[]), None);
    }
}

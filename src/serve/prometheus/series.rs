//! `series`, `labels`, `label/<name>/values`, `metadata`: what there is to ask about.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, data, with_notes};
use super::envelope::labels_json;
use super::params::Params;
use super::query::TRUNCATED;
use crate::model::{Labels, MatchOp, Matcher, NAME};
use crate::rules::Listed;
use crate::serve::Shared;
use crate::time::Timestamp;

pub(super) async fn series(State(shared): State<Shared>, params: Params) -> Answer {
    if params.matchers()?.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".into()));
    }
    let limit = params.limit()?;
    let sets = matching(&shared, &params).await?;
    let mut text = String::from("[");
    for (index, labels) in sets.iter().take(limit).enumerate() {
        if index > 0 {
            text.push(',');
        }
        labels_json(&mut text, labels);
    }
    text.push(']');
    Ok(cut(&text, sets.len() > limit))
}

pub(super) async fn labels(State(shared): State<Shared>, params: Params) -> Answer {
    let limit = params.limit()?;
    let sets = matching(&shared, &params).await?;
    let names: BTreeSet<&str> = sets.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    Ok(names_json(names, limit))
}

pub(super) async fn values(State(shared): State<Shared>, Path(name): Path<String>, params: Params) -> Answer {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(ApiError::BadData("invalid label name: \"\"".into()));
    }
    let limit = params.limit()?;
    let sets = matching(&shared, &params).await?;
    let values: BTreeSet<&str> = sets.iter().filter_map(|labels| labels.get(&name)).collect();
    Ok(names_json(values, limit))
}

fn names_json(names: BTreeSet<&str>, limit: usize) -> Response {
    let more = names.len() > limit;
    cut(&json!(names.into_iter().take(limit).collect::<Vec<_>>()).to_string(), more)
}

/// An answer, with a warning when the limit cut it.
fn cut(text: &str, more: bool) -> Response {
    if more { with_notes(text, &[TRUNCATED.to_owned()]) } else { data(text) }
}

/// The label sets that satisfy any of the `match[]` parameters (all, when there is none) within `start` and `end`.
async fn matching(shared: &Shared, params: &Params) -> Result<BTreeSet<Labels>, ApiError> {
    let mut selectors = params.matchers()?;
    let start = params.time("start")?.unwrap_or(Timestamp::MIN);
    let end = params.time("end")?.unwrap_or(Timestamp::MAX);
    if end < start {
        return Err(ApiError::BadData("invalid parameter \"end\": end timestamp must not be before start time".into()));
    }
    if selectors.is_empty() {
        let any = Matcher::new(MatchOp::NotEqual, NAME, "").map_err(|error| ApiError::Internal(error.to_string()))?;
        selectors.push(vec![any]);
    }
    let view = shared.view().await.ok_or(ApiError::Unavailable)?;
    let work = move || selectors.iter().flat_map(|matchers| view.label_sets(matchers, start, end)).collect();
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::Internal(error.to_string()))
}

/// Grafana writes a UTF-8 label name as `U__` and `_hex_` for what is no letter, digit or underscore.
fn unescape(name: &str) -> String {
    let Some(rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let (mut text, mut parts) = (String::new(), rest.split('_').peekable());
    text.push_str(parts.next().unwrap_or(""));
    while let Some(part) = parts.next() {
        if part.is_empty() {
            // Two underscores stand for one.
            text.push('_');
            text.push_str(parts.next().unwrap_or(""));
        } else if let Some(c) = u32::from_str_radix(part, 16).ok().and_then(char::from_u32) {
            text.push(c);
            text.push_str(parts.next().unwrap_or(""));
        } else {
            return name.to_owned();
        }
    }
    text
}

pub(super) async fn metadata(State(shared): State<Shared>, params: Params) -> Answer {
    let limit = params.limit()?;
    // There is one entry for each metric, so any limit but none leaves it.
    params.number("limit_per_metric")?;
    let picture = shared.picture(Listed::Nothing).await.ok_or(ApiError::Unavailable)?;
    let wanted = params.get("metric");
    let own = crate::telemetry::Telemetry::meta();
    let known: BTreeMap<&str, Value> = own
        .iter()
        .chain(picture.meta.values())
        .filter(|meta| wanted.is_none_or(|name| *meta.family == *name))
        .map(|meta| {
            let entry = json!([{ "type": meta.kind.as_str(), "help": &*meta.help, "unit": &*meta.unit }]);
            (&*meta.family, entry)
        })
        .collect();
    Ok(data(&json!(known.into_iter().take(limit).collect::<BTreeMap<_, _>>()).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grafanas_escaped_names_come_back() {
        for (escaped, name) in
            [("job", "job"), ("U__a_2e_b", "a.b"), ("U__a__b", "a_b"), ("U__a_zz_b", "U__a_zz_b"), ("U__", "")]
        {
            assert_eq!(unescape(escaped), name, "{escaped}");
        }
    }
}

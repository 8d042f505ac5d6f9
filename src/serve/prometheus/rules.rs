//! `rules`, `rules/evaluations`, `alerts`, `targets`, `status/buildinfo`.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, data};
use super::params::Params;
use crate::model::Matcher;
use crate::rules::Listed;
use crate::serve::{Shared, status};

pub(super) async fn rules(State(shared): State<Shared>, params: Params) -> Answer {
    let wanted = Wanted::read(&params)?;
    let picture = shared.picture(Listed::All).await.ok_or(ApiError::Unavailable)?;
    let mut groups: Vec<Value> = status::groups(&picture);
    groups.retain_mut(|group| wanted.keep(group));
    let next = page(&mut groups, &params)?;
    let mut answer = json!({ "groups": groups });
    if let Some(token) = next {
        answer["groupNextToken"] = json!(token);
    }
    Ok(data(&answer.to_string()))
}

/// Which rules are asked for.
struct Wanted<'a> {
    kind: Option<&'static str>,
    names: Vec<&'a str>,
    files: Vec<&'a str>,
    groups: Vec<&'a str>,
    matchers: Vec<Vec<Matcher>>,
    without_alerts: bool,
}

impl<'a> Wanted<'a> {
    fn read(params: &'a Params) -> Result<Wanted<'a>, ApiError> {
        let kind = match params.get("type").map(str::to_lowercase).as_deref() {
            None => None,
            Some("alert") => Some("alerting"),
            Some("record") => Some("recording"),
            Some(other) => {
                return Err(Params::wrong("type", format!("not supported value {other:?}: write alert or record")));
            }
        };
        Ok(Wanted {
            kind,
            names: params.list("rule_name[]"),
            files: params.list("file[]"),
            groups: params.list("rule_group[]"),
            matchers: params.matchers()?,
            without_alerts: params.flag("exclude_alerts")?,
        })
    }

    /// Leaves of a group what is asked for; false when nothing of it is.
    fn keep(&self, group: &mut Value) -> bool {
        let wanted = |list: &[&str], value: &Value| list.is_empty() || list.iter().any(|name| *value == **name);
        if !wanted(&self.files, &group["file"]) || !wanted(&self.groups, &group["name"]) {
            return false;
        }
        let Some(rules) = group["rules"].as_array_mut() else { return false };
        // Grafana knows two kinds of rules; ours are shown to whoever asks for all.
        rules.retain(|rule| {
            self.kind.is_none_or(|kind| rule["type"] == kind)
                && wanted(&self.names, &rule["name"])
                && (self.matchers.is_empty() || self.matchers.iter().any(|set| labels_match(set, &rule["labels"])))
        });
        for rule in rules.iter_mut().filter(|_| self.without_alerts) {
            if rule.get("alerts").is_some() {
                rule["alerts"] = json!([]);
            }
        }
        let all = self.kind.is_none() && self.names.is_empty() && self.matchers.is_empty();
        all || !rules.is_empty()
    }
}

fn labels_match(matchers: &[Matcher], labels: &Value) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels[matcher.name.as_str()].as_str().unwrap_or("")))
}

/// Cuts the groups to the page that `group_limit` and `group_next_token` ask for; gives the token of the next page.
fn page(groups: &mut Vec<Value>, params: &Params) -> Result<Option<String>, ApiError> {
    let limit = params.number("group_limit")?;
    if let Some(token) = params.get("group_next_token") {
        if limit == usize::MAX {
            return Err(Params::wrong(
                "group_limit",
                "group_limit needs to be set in order to paginate over the groups",
            ));
        }
        let start = groups.iter().position(|group| token_of(group) == token).ok_or_else(|| {
            Params::wrong("group_next_token", format!("invalid group_next_token '{token}'. were rule groups changed?"))
        })?;
        groups.drain(..start);
    }
    let next = groups.get(limit).map(token_of);
    groups.truncate(limit);
    Ok(next)
}

/// Names a group. Opaque to clients.
fn token_of(group: &Value) -> String {
    let text = |key: &str| group[key].as_str().unwrap_or_default().to_owned();
    TOKEN.encode(format!("{};{}", text("file"), text("name")))
}

/// Ours, not Prometheus': the last evaluations of the rules named by `rule`, of the group named by `group` if there is one.
pub(super) async fn evaluations(State(shared): State<Shared>, params: Params) -> Answer {
    let Some(rule) = params.get("rule") else {
        return Err(ApiError::BadData("parameter \"rule\" is missing: the name of a rule".into()));
    };
    let group = params.get("group").map(str::to_owned);
    let found = shared.evaluations(group, rule.to_owned()).await.ok_or(ApiError::Unavailable)?;
    if found.is_empty() {
        return Err(ApiError::NotFound(format!("there is no rule {rule:?}")));
    }
    let rules: Vec<Value> = found.iter().map(|(id, list)| status::evaluations(id, list)).collect();
    Ok(data(&json!({ "rules": rules }).to_string()))
}

pub(super) async fn alerts(State(shared): State<Shared>) -> Answer {
    let picture = shared.picture(Listed::Alerting).await.ok_or(ApiError::Unavailable)?;
    Ok(data(&json!({ "alerts": status::alerts(&picture) }).to_string()))
}

pub(super) async fn targets(State(shared): State<Shared>, params: Params) -> Answer {
    let mut active = match params.get("state").map(str::to_lowercase).as_deref() {
        Some("dropped") => Vec::new(),
        _ => (shared.targets)(),
    };
    if let Some(pool) = params.get("scrapePool") {
        active.retain(|target| target["scrapePool"] == pool);
    }
    Ok(data(&json!({ "activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {} }).to_string()))
}

/// Without `features`: with them Grafana takes a server for another product.
pub(super) async fn build_info() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Ok(data(
        &json!({
            // Clients look at this to learn which API they can rely on.
            "version": "3.5.0",
            "revision": version,
            "branch": "brownout",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        })
        .to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(file: &str, name: &str) -> Value {
        let rule = |name: &str, kind: &str, team: &str| json!({ "name": name, "type": kind, "labels": { "team": team }, "alerts": [1] });
        json!({ "file": file, "name": name, "rules": [rule("A", "alerting", "x"), rule("R", "recording", "y")] })
    }

    /// The rules that are left of one group, with their count of alerts.
    fn kept(query: &str) -> Vec<(String, usize)> {
        let params = Params::of(query);
        let mut one = group("f", "g");
        if !Wanted::read(&params).expect(query).keep(&mut one) {
            return Vec::new();
        }
        let rules = one["rules"].as_array().expect("rules");
        rules
            .iter()
            .map(|rule| {
                (rule["name"].as_str().expect("a name").to_owned(), rule["alerts"].as_array().map_or(0, Vec::len))
            })
            .collect()
    }

    #[test]
    fn rules_are_filtered_as_prometheus_does() {
        for (query, expected) in [
            ("", &[("A", 1), ("R", 1)][..]),
            ("type=alert", &[("A", 1)]),
            ("rule_name[]=R&rule_name[]=X", &[("R", 1)]),
            ("file[]=other", &[]),
            ("rule_group[]=g&exclude_alerts=true", &[("A", 0), ("R", 0)]),
            ("match[]={team=\"y\"}", &[("R", 1)]),
            ("match[]={team=\"z\"}", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(name, alerts)| ((*name).to_owned(), *alerts)).collect();
            assert_eq!(kept(query), expected, "{query}");
        }
        for bad in ["type=x", "exclude_alerts=maybe", "match[]=up+up", "match[]={a=\"\"}"] {
            assert!(Wanted::read(&Params::of(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_come_page_by_page() {
        let (mut seen, mut query) = (Vec::new(), "group_limit=2".to_owned());
        loop {
            let mut groups: Vec<Value> = ["a", "b", "c", "d", "e"].iter().map(|name| group("f", name)).collect();
            let next = page(&mut groups, &Params::of(&query)).expect("a page");
            seen.push(
                groups.iter().map(|group| group["name"].as_str().expect("a name").to_owned()).collect::<String>(),
            );
            let Some(token) = next else { break };
            query = format!("group_limit=2&group_next_token={token}");
        }
        assert_eq!(seen, ["ab", "cd", "e"]);
        assert!(page(&mut vec![], &Params::of("group_next_token=x&group_limit=1")).is_err());
        assert!(page(&mut vec![group("f", "a")], &Params::of("group_next_token=x")).is_err());
    }
}

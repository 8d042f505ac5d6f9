//! `query_apis`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client;
use crate::config::checker::Checker;
use crate::config::query_api::QueryApi;
use crate::limits;
use crate::net::HttpSettings;
use crate::signals::query::{Rule, Settings};

/// All APIs.
pub fn settings(check: &mut Checker<'_>, apis: &[QueryApi]) -> Vec<Settings> {
    let mut names = BTreeSet::new();
    for api in apis.iter().filter(|api| !names.insert(&api.name.value)) {
        let message = format!("two of `query_apis` are named `{}`", api.name.value);
        check.error(&api.name.place, message, "give each a `name` of its own");
    }
    apis.iter().map(|api| one(check, api)).collect()
}

fn one(check: &mut Checker<'_>, api: &QueryApi) -> Settings {
    if api.name.value.trim().is_empty() {
        check.error(&api.name.place, "this name is empty", "write a name");
    }
    let (interval, timeout) = (api.interval.value.0, api.timeout.value.0);
    if interval < Duration::from_secs(1) {
        check.error(&api.interval.place, "the interval is shorter than a second", "write 15s");
    }
    if timeout > interval {
        check.error(&api.timeout.place, "the timeout is longer than the interval", "make it shorter");
    }
    if api.rules.value.is_empty() || api.rules.value.len() > limits::QUERY_API_RULES {
        let message = format!("an API is asked from 1 to {} expressions", limits::QUERY_API_RULES);
        check.error(&api.rules.place, message, "aggregate more in each, or record some of them there");
    }
    let rule = |rule: &crate::config::query_api::QueryRule| Rule {
        record: rule.record.value.clone(),
        expr: rule.expr.text.to_string(),
        labels: rule.labels.0.clone(),
    };
    Settings {
        name: api.name.value.clone(),
        url: api.url.value.0.trim_end_matches('/').to_owned(),
        http: HttpSettings { timeout: Some(timeout), ..client::client(check, &api.client) },
        interval,
        rules: api.rules.value.iter().map(rule).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FilesInMemory, load};

    fn read(yaml: &str) -> Result<Vec<Settings>, Vec<String>> {
        let files = FilesInMemory::new([("/etc/b.yaml", yaml)]);
        let loaded = load(Some("/etc/b.yaml".as_ref()), &files);
        let problems = loaded.problems.iter().map(|problem| problem.message.clone()).collect();
        loaded.checked.map(|checked| checked.queries).ok_or(problems)
    }

    #[test]
    fn an_api_is_asked_what_its_rules_say() {
        let yaml = "query_apis: [{name: c, url: \"http://c:9090/p/\", rules: [{record: \"a:b\", expr: sum(up), labels: {x: y}}]}]";
        let all = read(yaml).expect("good");
        let rule = Rule { record: "a:b".into(), expr: "sum(up)".into(), labels: vec![("x".into(), "y".into())] };
        assert_eq!((all[0].url.as_str(), &all[0].rules), ("http://c:9090/p", &vec![rule]));
        assert_eq!((all[0].interval.as_secs(), all[0].http.timeout), (15, Some(Duration::from_secs(5))));
    }

    #[test]
    fn what_cannot_work_is_said_at_once() {
        let check = |fields: &str, expected: &str| {
            let problems = read(&format!("query_apis: [{{{fields}}}]")).expect_err("a problem");
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{fields}: {problems:?}");
        };
        let rules = "rules: [{record: a, expr: up}]";
        check(&format!("url: \"http://c\", {rules}"), "name");
        check(&format!("name: c, {rules}"), "url");
        check("name: c, url: \"http://c\", rules: []", "from 1 to");
        check("name: c, url: \"http://c\", rules: [{record: a, expr: sum(}]", "");
        check("name: c, url: \"http://c\", rules: [{record: \"a b\", expr: up}]", "not a metric name");
        check(&format!("name: c, url: \"http://c\", interval: 10ms, timeout: 5ms, {rules}"), "shorter than a second");
        check(&format!("name: c, url: \"http://c\", timeout: 1m, {rules}"), "longer than the interval");
        let two = format!("name: c, url: \"http://c\", {rules}");
        check(&format!("{two}}}, {{{two}"), "two of `query_apis`");
    }
}

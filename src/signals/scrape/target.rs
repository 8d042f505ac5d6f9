//! From discovered groups to targets: Prometheus' `PopulateLabels` (`scrape/target.go`), and discovery files' text.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;

use super::settings::{Settings, TargetGroup};
use crate::model::{Labels, LabelsBuilder, Relabel, Source, relabel};
use crate::time::{format_duration, parse_duration};
use crate::yaml;

/// One thing to scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub source: Source,
    /// Before relabelling, with all `__` labels.
    pub discovered: Labels,
    /// What each of its series carries.
    pub labels: Labels,
    pub url: Url,
    pub interval: Duration,
    pub timeout: Duration,
}

/// What came out of the groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    pub targets: Vec<Target>,
    /// Dropped by relabelling: their labels before it.
    pub dropped: Vec<Labels>,
    /// Targets that cannot be used, in words.
    pub problems: Vec<String>,
}

/// Builds the targets of a job. `groups` are the static ones and those of files.
pub fn discover<'a>(
    settings: &Settings,
    steps: &[Relabel],
    groups: impl IntoIterator<Item = &'a TargetGroup>,
) -> Discovered {
    let mut found = Discovered::default();
    let mut seen = std::collections::HashSet::new();
    for group in groups {
        for address in &group.targets {
            let discovered = discovered_labels(settings, group, address);
            let mut labels = discovered.to_builder();
            if !relabel(steps, &mut labels) {
                found.dropped.push(discovered);
                continue;
            }
            match target(settings, discovered, labels) {
                Ok(target) if seen.insert((target.labels.clone(), target.url.clone())) => found.targets.push(target),
                Ok(_) => {}
                Err(problem) => {
                    found.problems.push(format!("job {}, target {address:?}: {problem}", settings.job_name))
                }
            }
        }
    }
    name_apart(&mut found.targets);
    found
}

fn discovered_labels(settings: &Settings, group: &TargetGroup, address: &str) -> Labels {
    let mut labels = LabelsBuilder::new();
    for (name, value) in &group.labels {
        labels.set(name, value);
    }
    labels.set("__address__", address);
    let defaults = [
        ("job", settings.job_name.clone()),
        ("__scrape_interval__", format_duration(settings.scrape_interval)),
        ("__scrape_timeout__", format_duration(settings.scrape_timeout)),
        ("__metrics_path__", settings.metrics_path.clone()),
        ("__scheme__", settings.scheme.clone()),
    ];
    for (name, value) in &defaults {
        set_default(&mut labels, name, value);
    }
    for (name, values) in &settings.params {
        if let Some(first) = values.first() {
            set_default(&mut labels, &format!("__param_{name}"), first);
        }
    }
    labels.build()
}

fn set_default(labels: &mut LabelsBuilder, name: &str, value: &str) {
    if labels.value(name).is_empty() {
        labels.set(name, value);
    }
}

fn target(settings: &Settings, discovered: Labels, mut labels: LabelsBuilder) -> Result<Target, String> {
    let address = labels.value("__address__").to_owned();
    if address.is_empty() {
        return Err("there is no address: __address__ is empty after relabelling".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is no address: write host:port, without a scheme or a path"));
    }
    let span = |name: &str| match parse_duration(labels.value(name)) {
        Ok(span) if span.is_zero() => Err(format!("{name} must be greater than 0")),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("{name}: {error}")),
    };
    let (interval, timeout) = (span("__scrape_interval__")?, span("__scrape_timeout__")?);
    if timeout > interval {
        return Err("the scrape timeout is longer than the scrape interval".to_owned());
    }
    let url = url(settings, &labels, &address)?;
    set_default(&mut labels, "instance", &address);
    let labels = labels.build().filtered(|name| !name.starts_with("__"));
    let source = Source::new("scrape", &format!("{}/{}", settings.job_name, url));
    Ok(Target { source, discovered, labels, url, interval, timeout })
}

fn url(settings: &Settings, labels: &LabelsBuilder, address: &str) -> Result<Url, String> {
    let scheme = labels.value("__scheme__");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("the scheme {scheme:?} is unknown: write http or https"));
    }
    let mut url = Url::parse(&format!("{scheme}://{address}/")).map_err(|error| format!("{address:?}: {error}"))?;
    if url.host_str().is_none() || !url.username().is_empty() || url.query().is_some() {
        return Err(format!("{address:?} is no address: write host:port"));
    }
    url.set_path(labels.value("__metrics_path__"));
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &settings.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix("__param_") {
            let values = params.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    let pairs: Vec<_> =
        params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))).collect();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url)
}

/// Two targets may have one URL and different labels: each needs a source of its own.
fn name_apart(targets: &mut [Target]) {
    let mut uses = BTreeMap::<Source, usize>::new();
    for target in targets.iter() {
        *uses.entry(target.source.clone()).or_default() += 1;
    }
    for target in targets {
        if uses.get(&target.source).is_some_and(|uses| *uses > 1) {
            target.source = Source(format!("{}#{}", target.source.as_str(), target.labels.fingerprint()).into());
        }
    }
}

/// Reads the text of a discovery file: a list of `{targets, labels}`, JSON or YAML. Each group gets `__meta_filepath`.
///
/// # Errors
/// One line that says what is wrong and where.
pub fn read_groups(path: &Path, text: &str) -> Result<Vec<TargetGroup>, String> {
    let name = path.display().to_string();
    let file = yaml::SourceFile::new(name.clone(), text);
    let (groups, problems) = yaml::decode_text::<Groups>(&file);
    let mut groups = groups.ok_or_else(|| match problems.first() {
        Some(problem) => problem.one_line(),
        None => format!("{name}: the file cannot be read as a list of target groups"),
    })?;
    for group in &mut groups.0 {
        group.labels.insert("__meta_filepath".to_owned(), name.clone());
    }
    Ok(groups.0)
}

struct Groups(Vec<TargetGroup>);

impl yaml::Decode for Groups {
    fn decode(at: &mut yaml::At<'_>) -> Option<Groups> {
        at.list().map(Groups)
    }
}

impl yaml::Decode for TargetGroup {
    fn decode(at: &mut yaml::At<'_>) -> Option<TargetGroup> {
        let mut fields = at.record("target_group", "Targets that share labels.")?;
        let targets = fields.optional::<Vec<String>>("targets", "The targets, `host:port` each.");
        let labels = fields.optional::<BTreeMap<String, String>>("labels", "Labels for all of them.");
        fields.finish();
        Some(TargetGroup { targets: targets.unwrap_or_default(), labels: labels.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RelabelAction, RelabelConfig};

    fn group(targets: &[&str], labels: &[(&str, &str)]) -> TargetGroup {
        TargetGroup {
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    fn found(settings: &Settings, groups: &[TargetGroup]) -> Discovered {
        discover(settings, &Relabel::all(&settings.relabel_configs).expect("valid steps"), groups)
    }

    #[test]
    fn defaults_are_those_of_prometheus() {
        let mut settings = Settings::named("checkout");
        settings.params.insert("match[]".into(), vec!["up".into(), "a b".into()]);
        let found = found(&settings, &[group(&["127.0.0.1:8080"], &[("env", "prod"), ("__metrics_path__", "/m")])]);
        let target = &found.targets[0];
        assert_eq!(target.url.as_str(), "http://127.0.0.1:8080/m?match%5B%5D=up&match%5B%5D=a+b");
        assert_eq!(target.labels.to_string(), r#"{env="prod", instance="127.0.0.1:8080", job="checkout"}"#);
        assert_eq!(target.discovered.value("__param_match[]"), "up");
        assert_eq!(target.discovered.value("__scrape_interval__"), "1s");
        assert_eq!(target.source.as_str(), "scrape/checkout/http://127.0.0.1:8080/m?match%5B%5D=up&match%5B%5D=a+b");
    }

    #[test]
    fn relabelling_moves_drops_and_breaks_targets() {
        let mut settings = Settings::named("j");
        let step = |source: &str, regex: &str, target: &str, replacement: &str, action| RelabelConfig {
            source_labels: vec![source.into()],
            regex: regex.into(),
            target_label: target.into(),
            replacement: replacement.into(),
            action,
            ..RelabelConfig::default()
        };
        settings.relabel_configs = vec![
            step("__address__", "drop.*", "", "$1", RelabelAction::Drop),
            step("__address__", "(.*)", "__param_target", "$1", RelabelAction::Replace),
            step("__param_target", "(.*)", "instance", "$1", RelabelAction::Replace),
            step("__address__", "empty.*", "__address__", "", RelabelAction::Replace),
            step("__address__", "web.*", "__address__", "127.0.0.1:9115", RelabelAction::Replace),
        ];
        let found = found(&settings, &[group(&["drop:1", "web:80", "empty:1", "a/b"], &[("__meta_x", "1")])]);
        let urls: Vec<_> = found.targets.iter().map(|t| t.url.as_str().to_owned()).collect();
        assert_eq!(urls, ["http://127.0.0.1:9115/metrics?target=web%3A80"]);
        assert_eq!(found.targets[0].labels.to_string(), r#"{instance="web:80", job="j"}"#);
        assert_eq!(found.dropped.len(), 1);
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    }

    #[test]
    fn a_target_is_scraped_once_and_twins_have_sources_of_their_own() {
        let settings = Settings::named("j");
        let found = found(&settings, &[group(&["a:1", "a:1"], &[]), group(&["a:1"], &[("x", "1")])]);
        assert_eq!(found.targets.len(), 2);
        assert_ne!(found.targets[0].source, found.targets[1].source);
    }

    #[test]
    fn discovery_files_are_json_or_yaml() {
        let check = |name: &str, text: &str| {
            let groups = read_groups(Path::new(name), text).expect(name);
            let expected = [group(&["a:1", "b:2"], &[("x", "1"), ("__meta_filepath", name)])];
            assert_eq!(groups, expected);
        };
        check("/sd/t.json", r#"[{"targets": ["a:1", "b:2"], "labels": {"x": "1"}}]"#);
        check("/sd/t.yml", "- targets: [a:1, 'b:2']\n  labels: {x: 1}\n");
        assert_eq!(read_groups(Path::new("/sd/t.yml"), ""), Ok(vec![]));
        let error = read_groups(Path::new("/sd/t.yml"), "- target: [a]\n").expect_err("unknown key");
        assert!(error.contains("/sd/t.yml:1:3") && error.contains("target"), "{error}");
    }
}

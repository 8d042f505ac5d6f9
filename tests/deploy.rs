//! The configurations that are shipped as examples and in packages load, and do what their first lines say.

use std::path::Path;

use brownout::config::{FilesInMemory, Loaded, load};
use brownout::rules::RuleSpec;
use brownout::yaml::render_problems;

fn loaded(main: &str, others: &[&str]) -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let text = |path: &str| std::fs::read_to_string(folder.join(path)).expect("a file of deploy/");
    let installed = |path: &str| Path::new("/etc/brownout").join(path);
    let mut files = FilesInMemory::default();
    for path in others.iter().chain([&main]) {
        files.files.insert(installed(path), text(path));
    }
    load(Some(&installed(main)), &files)
}

#[test]
fn the_example_mails_posts_degrades_and_scales() {
    let loaded = loaded("brownout.yaml", &["rules/checkout.yaml"]);
    let problems = render_problems(&loaded.problems);
    let checked = loaded.checked.expect(&problems);
    assert_eq!(loaded.problems.len(), 1, "{problems}");
    assert!(problems.contains("requests to `autoscaler` are not signed"), "{problems}");
    let rules = || checked.groups.iter().flat_map(|group| &group.rules);
    let degraded: Vec<&str> = rules()
        .filter_map(|rule| match rule {
            RuleSpec::Degrade(rule) => Some(rule.switch.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(degraded, ["recommendations", "search_preview"]);
    assert!(rules().any(|rule| matches!(rule, RuleSpec::Scale(_))));
    assert_eq!((checked.probes.len(), checked.logs.len(), checked.scrapes.len()), (2, 2, 1));
    assert!(checked.webhooks.contains_key("autoscaler"));
}

#[test]
fn the_packages_configuration_watches_the_host_and_changes_nothing() {
    let loaded = loaded("deb/brownout.yaml", &[]);
    let checked = loaded.checked.expect("a good configuration");
    assert_eq!(loaded.problems, []);
    assert!(checked.system.is_some() && checked.switches.is_empty());
}

#[test]
fn every_configuration_file_of_the_package_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join("deploy/deb/conffiles")).expect("conffiles");
    let script = std::fs::read_to_string(root.join("deploy/deb/build-deb.sh")).expect("build-deb.sh");
    for line in list.lines() {
        assert!(script.contains(&format!(" {}", line.trim_start_matches('/'))), "{line} is not put into the package");
    }
}

use super::*;
use crate::model::{RelabelAction, RelabelConfig};

#[test]
fn external_labels_come_first_and_relabelling_sees_them() {
    let external = Labels::from_pairs([("zone", "z1"), ("job", "not this")]);
    let drop_b = RelabelConfig {
        source_labels: vec!["zone".into(), "job".into()],
        regex: "z1;b".into(),
        action: RelabelAction::Drop,
        ..RelabelConfig::default()
    };
    let steps = Relabel::all(&[drop_b]).expect("good steps");
    let mut names = Renamed { external: &external, steps, known: LabelsMap::default() };
    let of = |job: &str| Labels::from_pairs([("__name__", "up"), ("job", job)]);
    assert_eq!(names.of(&of("a")), Some(of("a").with("zone", "z1")));
    assert_eq!(names.of(&of("b")), None);
    assert_eq!(names.of(&of("b")), None, "the second time it is known");
}

#[test]
fn folders_of_receivers_are_plain_and_their_own() {
    let of = |name: &str| folder_of(Path::new("/q"), name);
    assert_eq!(of("central"), Path::new("/q/central-d2c322a3"));
    assert!(of("http://a/../..").to_string_lossy().starts_with("/q/httpa-"));
    assert_ne!(of("http://a"), of("http:/a"));
}

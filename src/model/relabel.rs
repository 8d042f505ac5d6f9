//! Relabelling: Prometheus' `relabel_configs` and `metric_relabel_configs` (`model/relabel/relabel.go`).
//!
//! A [`RelabelConfig`] is what the user wrote; a [`Relabel`] is that, checked and compiled. [`apply`] runs a list of them
//! over a label set, in order. Expressions are anchored at both ends, and a dot takes a newline.

use regex::Regex;

use super::LabelsBuilder;
use crate::limits;

/// What one step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RelabelAction {
    /// Sets the target label when the expression matches.
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl RelabelAction {
    /// All actions with the words that the configuration uses (in any letter case).
    pub const WORDS: [(&'static str, RelabelAction); 11] = [
        ("replace", RelabelAction::Replace),
        ("keep", RelabelAction::Keep),
        ("drop", RelabelAction::Drop),
        ("keepequal", RelabelAction::KeepEqual),
        ("dropequal", RelabelAction::DropEqual),
        ("hashmod", RelabelAction::HashMod),
        ("labelmap", RelabelAction::LabelMap),
        ("labeldrop", RelabelAction::LabelDrop),
        ("labelkeep", RelabelAction::LabelKeep),
        ("lowercase", RelabelAction::Lowercase),
        ("uppercase", RelabelAction::Uppercase),
    ];

    /// The action of a word.
    pub fn parse(word: &str) -> Option<RelabelAction> {
        Self::WORDS.iter().find(|(text, _)| text.eq_ignore_ascii_case(word)).map(|(_, action)| *action)
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, action)| *action == self).map_or("replace", |(word, _)| word)
    }
}

/// One step as it is written. [`RelabelConfig::default`] has Prometheus' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    pub source_labels: Vec<String>,
    /// Stands between the values of the source labels.
    pub separator: String,
    pub target_label: String,
    pub regex: String,
    /// For `hashmod`.
    pub modulus: u64,
    /// May use `$1` and `${name}`.
    pub replacement: String,
    pub action: RelabelAction,
}

const ANY: &str = "(.*)";

impl Default for RelabelConfig {
    fn default() -> RelabelConfig {
        RelabelConfig {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            target_label: String::new(),
            regex: ANY.to_owned(),
            modulus: 0,
            replacement: "$1".to_owned(),
            action: RelabelAction::Replace,
        }
    }
}

/// Why a step cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    #[error("the action {0} needs a target_label")]
    NoTarget(&'static str),
    #[error("the action hashmod needs a modulus greater than 0")]
    NoModulus,
    #[error("{label:?} cannot be the target_label of the action {action}: write a plain label name")]
    BadTarget { action: &'static str, label: String },
    #[error(
        "the action {0} takes only regex: leave out source_labels, target_label, separator, modulus and replacement"
    )]
    OnlyRegex(&'static str),
    #[error("the action {0} takes only source_labels, separator and target_label: leave out the rest")]
    OnlyLabels(&'static str),
    #[error("invalid regular expression {pattern:?}: {reason}")]
    Regex { pattern: String, reason: String },
}

/// One step, checked and compiled.
#[derive(Clone, Debug)]
pub struct Relabel {
    config: RelabelConfig,
    regex: Regex,
    /// Nothing in it depends on a match, and every text matches: no expression needs to run.
    constant: bool,
}

impl PartialEq for Relabel {
    fn eq(&self, other: &Relabel) -> bool {
        self.config == other.config
    }
}

impl Relabel {
    /// Checks and compiles a step.
    ///
    /// # Errors
    /// When a field is missing or does not belong to the action, or the expression is not valid.
    pub fn new(config: &RelabelConfig) -> Result<Relabel, RelabelError> {
        check(config)?;
        let regex = regex::RegexBuilder::new(&format!("^(?s:{})$", config.regex))
            .size_limit(limits::REGEX_BYTES)
            .dfa_size_limit(limits::REGEX_BYTES)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned();
                RelabelError::Regex { pattern: config.regex.clone(), reason }
            })?;
        let constant = config.regex == ANY && !config.target_label.contains('$') && !config.replacement.contains('$');
        Ok(Relabel { config: config.clone(), regex, constant })
    }

    /// Compiles a list; the error tells which step (from 0) is wrong.
    ///
    /// # Errors
    /// As [`Relabel::new`].
    pub fn all(configs: &[RelabelConfig]) -> Result<Vec<Relabel>, (usize, RelabelError)> {
        configs.iter().enumerate().map(|(index, config)| Relabel::new(config).map_err(|error| (index, error))).collect()
    }

    /// The step as it was written.
    pub fn config(&self) -> &RelabelConfig {
        &self.config
    }

    fn run(&self, labels: &mut LabelsBuilder) -> bool {
        let config = &self.config;
        let source = || {
            let values: Vec<&str> = config.source_labels.iter().map(|name| labels.value(name)).collect();
            values.join(&config.separator)
        };
        match config.action {
            RelabelAction::Keep => return self.regex.is_match(&source()),
            RelabelAction::Drop => return !self.regex.is_match(&source()),
            RelabelAction::KeepEqual => return labels.value(&config.target_label) == source(),
            RelabelAction::DropEqual => return labels.value(&config.target_label) != source(),
            RelabelAction::Replace => {
                let text = source();
                self.replace(&text, labels);
            }
            RelabelAction::Lowercase => {
                let text = source().to_lowercase();
                labels.set(&config.target_label, &text);
            }
            RelabelAction::Uppercase => {
                let text = source().to_uppercase();
                labels.set(&config.target_label, &text);
            }
            RelabelAction::HashMod => {
                let rest = md5_tail(source().as_bytes()) % config.modulus;
                labels.set(&config.target_label, &rest.to_string());
            }
            RelabelAction::LabelMap => {
                for (name, value) in self.named(labels, true) {
                    let target = self.regex.replace_all(&name, config.replacement.as_str());
                    labels.set(&target, &value);
                }
            }
            RelabelAction::LabelDrop | RelabelAction::LabelKeep => {
                for (name, _) in self.named(labels, config.action == RelabelAction::LabelDrop) {
                    labels.remove(&name);
                }
            }
        }
        true
    }

    fn replace(&self, text: &str, labels: &mut LabelsBuilder) {
        let config = &self.config;
        if self.constant {
            labels.set(&config.target_label, &config.replacement);
            return;
        }
        let Some(captures) = self.regex.captures(text) else {
            return;
        };
        let (mut target, mut value) = (String::new(), String::new());
        captures.expand(&config.target_label, &mut target);
        captures.expand(&config.replacement, &mut value);
        if !target.is_empty() {
            labels.set(&target, &value);
        }
    }

    /// The labels whose name matches (or does not).
    fn named(&self, labels: &LabelsBuilder, matching: bool) -> Vec<(String, String)> {
        let chosen = labels.iter().filter(|(name, _)| self.regex.is_match(name) == matching);
        chosen.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// Runs the steps in order. False means: the target or series is dropped (the labels are then of no use).
pub fn apply(steps: &[Relabel], labels: &mut LabelsBuilder) -> bool {
    steps.iter().all(|step| step.run(labels))
}

fn check(config: &RelabelConfig) -> Result<(), RelabelError> {
    use RelabelAction as A;
    let (action, word, default) = (config.action, config.action.as_str(), RelabelConfig::default());
    let targeted = [A::Replace, A::HashMod, A::Lowercase, A::Uppercase, A::KeepEqual, A::DropEqual];
    if targeted.contains(&action) && config.target_label.is_empty() {
        return Err(RelabelError::NoTarget(word));
    }
    if action == A::HashMod && config.modulus == 0 {
        return Err(RelabelError::NoModulus);
    }
    if targeted[1..].contains(&action) && config.target_label.contains('$') {
        return Err(RelabelError::BadTarget { action: word, label: config.target_label.clone() });
    }
    let rest = RelabelConfig { regex: config.regex.clone(), action, ..default.clone() };
    if matches!(action, A::LabelDrop | A::LabelKeep) && *config != rest {
        return Err(RelabelError::OnlyRegex(word));
    }
    let equal = |c: &RelabelConfig| (c.regex.clone(), c.modulus, c.replacement.clone());
    if matches!(action, A::KeepEqual | A::DropEqual) && equal(config) != equal(&default) {
        return Err(RelabelError::OnlyLabels(word));
    }
    Ok(())
}

/// The last eight bytes of a text's MD5 (RFC 1321) as a big-endian number, which is what `hashmod` divides.
fn md5_tail(text: &[u8]) -> u64 {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize((text.len() + 9).div_ceil(64) * 64 - 8, 0);
    padded.extend_from_slice(&(text.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[i * 4], block[i * 4 + 1], block[i * 4 + 2], block[i * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (mix, from) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let sine = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mix).wrapping_add(sine).wrapping_add(word(from));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4]));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    (u64::from(state[2].swap_bytes()) << 32) | u64::from(state[3].swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn config(action: &str, source: &[&str], regex: &str, target: &str, replacement: &str) -> RelabelConfig {
        RelabelConfig {
            source_labels: source.iter().map(|s| (*s).to_owned()).collect(),
            regex: regex.to_owned(),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action: RelabelAction::parse(action).expect(action),
            ..RelabelConfig::default()
        }
    }

    fn check(input: &[(&str, &str)], steps: &[RelabelConfig], expected: Option<&[(&str, &str)]>) {
        let steps = Relabel::all(steps).expect("valid steps");
        let mut builder = Labels::from_pairs(input.iter().copied()).to_builder();
        let kept = apply(&steps, &mut builder).then(|| builder.build());
        assert_eq!(kept, expected.map(|pairs| Labels::from_pairs(pairs.iter().copied())));
    }

    // The cases of Prometheus' relabel_test.go, in our words.
    #[test]
    fn actions_do_what_prometheus_does() {
        let abc = [("a", "foo"), ("b", "bar"), ("c", "baz")];
        check(
            &abc,
            &[config("replace", &["a"], "f(.*)", "d", "ch${1}-ch${1}")],
            Some(&[abc[0], abc[1], abc[2], ("d", "choo-choo")]),
        );
        check(
            &abc,
            &[config("replace", &["a", "b"], "f(.*);(.*)r", "a", "b${1}${2}m")],
            Some(&[("a", "boobam"), abc[1], abc[2]]),
        );
        check(&abc, &[config("drop", &["a"], ".*o.*", "", "$1"), config("replace", &["a"], "f(.*)", "d", "x")], None);
        check(&abc, &[config("drop", &["a"], "o", "", "$1")], Some(&abc));
        check(&abc, &[config("keep", &["a"], "no-match", "", "$1")], None);
        check(&abc, &[config("keep", &["a"], "f.*", "", "$1")], Some(&abc));
        check(&abc, &[config("replace", &["a"], "nope(.*)", "b", "x")], Some(&abc));
        check(&abc, &[config("replace", &["a"], "foo()", "b", "$1")], Some(&[abc[0], abc[2]]));
        check(&abc, &[config("labeldrop", &[], "[ab]", "", "$1")], Some(&[abc[2]]));
        check(&abc, &[config("labelkeep", &[], "a|c", "", "$1")], Some(&[abc[0], abc[2]]));
        check(
            &abc,
            &[config("uppercase", &["a", "b"], ANY, "u", "$1")],
            Some(&[abc[0], abc[1], abc[2], ("u", "FOO;BAR")]),
        );
        check(
            &[("__meta_sd_x", "1")],
            &[config("labelmap", &[], "__meta_sd_(.*)", "", "$1")],
            Some(&[("__meta_sd_x", "1"), ("x", "1")]),
        );
        check(
            &[("a", "x"), ("b", "x")],
            &[config("keepequal", &["a"], ANY, "b", "$1")],
            Some(&[("a", "x"), ("b", "x")]),
        );
        check(&[("a", "x"), ("b", "x")], &[config("dropequal", &["a"], ANY, "b", "$1")], None);
        check(&[("a", "x")], &[config("keepequal", &["a"], ANY, "b", "$1")], None);
        check(
            &[("a", "some-name-value")],
            &[config("replace", &["a"], "some-([^-]+)-([^,]+)", "${1}", "${2}")],
            Some(&[("a", "some-name-value"), ("name", "value")]),
        );
        check(&[], &[config("replace", &[], ANY, "env", "prod")], Some(&[("env", "prod")]));
    }

    #[test]
    fn hashmod_agrees_with_prometheus() {
        // From relabel_test.go: c="baz" modulo 1000 is 976, and "foo\nbar" is 734.
        let hashed = |source| RelabelConfig { modulus: 1000, ..config("hashmod", &[source], ANY, "d", "$1") };
        check(&[("c", "baz")], &[hashed("c")], Some(&[("c", "baz"), ("d", "976")]));
        check(&[("a", "foo\nbar")], &[hashed("a")], Some(&[("a", "foo\nbar"), ("d", "734")]));
        // MD5("") ends in e9800998ecf8427e; a text of 64 bytes needs two blocks.
        assert_eq!(md5_tail(b""), 0xe980_0998_ecf8_427e);
        assert_eq!(md5_tail(&[b'a'; 64]), 0x5a4a_0363_793f_7367);
    }

    #[test]
    fn a_step_that_cannot_work_is_refused() {
        let refused = |config: RelabelConfig| Relabel::new(&config).expect_err("must be refused");
        assert_eq!(refused(config("replace", &["a"], ANY, "", "x")), RelabelError::NoTarget("replace"));
        assert_eq!(refused(config("hashmod", &["a"], ANY, "x", "$1")), RelabelError::NoModulus);
        assert_eq!(refused(config("labeldrop", &["a"], ANY, "", "$1")), RelabelError::OnlyRegex("labeldrop"));
        assert_eq!(refused(config("keepequal", &["a"], "x", "b", "$1")), RelabelError::OnlyLabels("keepequal"));
        assert!(matches!(refused(config("lowercase", &["a"], ANY, "$1", "$1")), RelabelError::BadTarget { .. }));
        assert!(matches!(refused(config("keep", &["a"], "(", "", "$1")), RelabelError::Regex { .. }));
    }
}

//! Rule files: Prometheus' grammar (`model/rulefmt`), strict, and Brownout's own kinds of rules in the same list.
//!
//! Every problem of a file is found at once, each with its place. A file with only `record` and `alert` rules is
//! accepted exactly when promtool accepts it (label and annotation names of the UTF-8 scheme).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::action_file::{check_condition, read_degrade, read_dim, read_limit, read_rollout, read_scale};
use super::dim::RawControl;
use super::query::Query;
use super::rollout::RawRollout;
use super::spec::{
    AlertSpec, GroupSpec, LevelSpec, Mode, OnUnknown, QuorumSpec, RecordSpec, RecoverSpec, RuleFile, RuleSpec, Scope,
};
use super::text::{Known, TemplateText, Texts};
use crate::model::{NAME, Words};
use crate::yaml::{At, Decode, Fields, Problem, SourceFile, Spanned, Value, decode_text};

/// Reads a rule file: its groups when there was no error, and every problem.
pub fn parse_file(file: &Arc<SourceFile>) -> (Option<Vec<GroupSpec>>, Vec<Problem>) {
    let (rules, problems) = decode_text::<RuleFile>(file);
    (rules.map(|rules| rules.groups), problems)
}

impl Decode for RuleFile {
    fn decode(at: &mut At<'_>) -> Option<RuleFile> {
        let mut fields = at.record("a rule file", "A file of rules, as in Prometheus.")?;
        let mut groups: Vec<GroupSpec> = fields.or("groups", "[]", "the groups of rules");
        let mut seen = HashMap::new();
        for group in &groups {
            if seen.insert(group.name.value.clone(), ()).is_some() {
                let help = "rename one of them, or move its rules into the first".to_owned();
                fields.push(group.name.place.error(format!("group `{}` is there twice", group.name.value), Some(help)));
            }
        }
        warn_of_duplicates(&groups, &mut fields);
        share_texts(&mut groups);
        fields.finish();
        Some(RuleFile { groups })
    }
}

/// What many rules have in common is kept once: labels and annotations, and the names and values in expressions.
fn share_texts(groups: &mut [GroupSpec]) {
    let (mut known, mut words) = (Known::new(), Words::default());
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        match rule {
            RuleSpec::Alert(rule) => {
                if let Some(rule) = Arc::get_mut(rule) {
                    rule.labels.share(&mut known);
                    rule.annotations.share(&mut known);
                    rule.expr.share(&mut words);
                }
            }
            RuleSpec::Record(rule) => {
                if let Some(rule) = Arc::get_mut(rule) {
                    rule.expr.share(&mut words);
                }
            }
            _ => {}
        }
    }
}

/// Two rules that write the same series overwrite each other (promtool's lint "duplicate-rules").
fn warn_of_duplicates(groups: &[GroupSpec], fields: &mut Fields<'_>) {
    let mut seen: HashMap<(&str, String), usize> = HashMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let (name, labels) = match rule {
            RuleSpec::Record(rule) => (&rule.record, format!("{:?}", rule.labels)),
            RuleSpec::Alert(rule) => (&rule.alert, format!("{:?}", rule.labels)),
            _ => continue,
        };
        let times = seen.entry((name.value.as_str(), labels)).or_default();
        *times += 1;
        if *times == 2 {
            let message = format!("another rule above is also called `{}` and has the same labels", name.value);
            let help = "give them different names or labels, or their results may clash".to_owned();
            fields.push(name.place.warning(message, Some(help)));
        }
    }
}

impl Decode for GroupSpec {
    fn decode(at: &mut At<'_>) -> Option<GroupSpec> {
        let file = at.place().file.name.as_str().into();
        let mut fields = at.record(
            "a group",
            "Rules that are evaluated in this order, each one seeing the results of those before it.",
        )?;
        let name: Option<Spanned<String>> = fields.required("name", "unique in its file");
        let interval: Option<Duration> =
            fields.optional("interval", "how often the rules are evaluated; default: global.evaluation_interval");
        let query_offset = fields.optional(
            "query_offset",
            "how far in the past the rules are evaluated, for metrics that come late; default: global.rule_query_offset",
        );
        let limit = fields.or(
            "limit",
            "0",
            "the most series or alerts that one rule may give; past it the rule fails and its alerts are dropped; 0: no limit",
        );
        let labels: Option<Pairs> = fields.optional("labels", "labels for every rule; a rule's own label wins");
        let rules: Vec<RuleSpec> = fields.or("rules", "[]", "the rules");
        if name.as_ref().is_some_and(|name| name.is_empty()) {
            fields.problem("name", "the name of a group is empty", None);
        }
        let labels = labels.unwrap_or_default();
        check_label_names(&labels, "label", &mut fields);
        let rules = rules.into_iter().map(|rule| with_group_labels(rule, &labels, &mut fields)).collect();
        fields.finish();
        // Go's zero value: an interval of 0 is no interval.
        let interval = interval.filter(|interval| !interval.is_zero());
        Some(GroupSpec { file, name: name?, interval, query_offset, limit, rules })
    }
}

fn with_group_labels(mut rule: RuleSpec, labels: &Pairs, fields: &mut Fields<'_>) -> RuleSpec {
    for (name, value) in &labels.0 {
        match &mut rule {
            RuleSpec::Record(rule) => {
                let labels = &mut Arc::make_mut(rule).labels;
                labels.entry(name.value.clone()).or_insert_with(|| value.value.clone());
            }
            RuleSpec::Alert(rule) if rule.labels.get(&name.value).is_none() => {
                match TemplateText::parse(value, &value.place) {
                    Ok(text) => Arc::make_mut(rule).labels = rule.labels.with(&name.value, text),
                    Err(problem) => fields.push(problem),
                }
            }
            _ => {}
        }
    }
    rule
}

/// A mapping from free names to texts, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<(Spanned<String>, Spanned<String>)>);

impl Decode for Pairs {
    fn decode(at: &mut At<'_>) -> Option<Pairs> {
        let entries: Vec<(Spanned<String>, Spanned<Written>)> = at.entries()?;
        let text = |value: Spanned<Written>| Spanned { value: value.value.0, place: value.place };
        Some(Pairs(entries.into_iter().map(|(name, value)| (name, text(value))).collect()))
    }
}

/// A text; as in Go, nothing is the empty text.
struct Written(String);

impl Decode for Written {
    fn decode(at: &mut At<'_>) -> Option<Written> {
        if at.node().is_some_and(|node| matches!(node.value, Value::Null)) {
            return Some(Written(String::new()));
        }
        String::decode(at).map(Written)
    }
}

fn check_label_names(pairs: &Pairs, what: &str, fields: &mut Fields<'_>) {
    for (name, _) in &pairs.0 {
        if name.is_empty() {
            fields.push(name.place.error(format!("the name of a {what} is empty"), None));
        } else if name.value == NAME && what == "label" {
            let help = "to name the series, use `record`".to_owned();
            fields.push(name.place.error(format!("`{NAME}` cannot be set as a label"), Some(help)));
        }
    }
}

/// The kinds of rules that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Record,
    Alert,
    Degrade,
    Scale,
    Dim,
    Limit,
    Rollout,
}

const KINDS: [(&str, Kind, &str); 7] = [
    ("record", Kind::Record, "a recording rule"),
    ("alert", Kind::Alert, "an alerting rule"),
    ("degrade", Kind::Degrade, "a degrade rule"),
    ("scale", Kind::Scale, "a scale rule"),
    ("dim", Kind::Dim, "a dim rule"),
    ("limit", Kind::Limit, "a limit rule"),
    ("rollout", Kind::Rollout, "a rollout rule"),
];

const RULED: &[Kind] = &[Kind::Dim, Kind::Limit];

/// Which fields stand in which kinds, the naming fields left out.
const BELONGS: [(&str, &[Kind]); 51] = [
    ("expr", &[Kind::Record, Kind::Alert]),
    ("for", &[Kind::Alert, Kind::Scale]),
    ("keep_firing_for", &[Kind::Alert]),
    ("resolve_when", &[Kind::Alert]),
    ("on_unknown", &[Kind::Alert]),
    ("unknown_for", &[Kind::Alert]),
    ("labels", &[Kind::Record, Kind::Alert]),
    ("annotations", &[Kind::Alert]),
    ("levels", &[Kind::Degrade]),
    ("recover", &[Kind::Degrade]),
    ("min_hold", &[Kind::Degrade]),
    ("scope", &[Kind::Degrade, Kind::Dim, Kind::Limit]),
    ("quorum", &[Kind::Degrade, Kind::Dim, Kind::Limit]),
    ("mode", &[Kind::Degrade, Kind::Scale, Kind::Dim, Kind::Limit, Kind::Rollout]),
    ("desired", &[Kind::Scale]),
    ("min", &[Kind::Scale]),
    ("max", &[Kind::Scale]),
    ("cooldown", &[Kind::Scale]),
    ("cooldown_out", &[Kind::Scale]),
    ("cooldown_in", &[Kind::Scale]),
    ("step", &[Kind::Scale]),
    ("webhook", &[Kind::Scale]),
    ("verify", &[Kind::Scale]),
    ("verify_within", &[Kind::Scale]),
    ("beside", &[Kind::Scale]),
    ("samples", &[Kind::Degrade]),
    ("min_samples", &[Kind::Degrade, Kind::Dim, Kind::Limit]),
    ("law", &[Kind::Dim]),
    ("objective", RULED),
    ("cost_ratio", &[Kind::Dim]),
    ("target", RULED),
    ("slow_share", RULED),
    ("hold", &[Kind::Dim]),
    ("service", RULED),
    ("arrivals", RULED),
    ("full", RULED),
    ("degraded", &[Kind::Dim]),
    ("slow", RULED),
    ("utilisation", RULED),
    ("in_flight", RULED),
    ("latency", &[Kind::Dim]),
    ("pressure", &[Kind::Dim]),
    ("shares", &[Kind::Dim]),
    ("value", &[Kind::Limit]),
    ("version", &[Kind::Rollout]),
    ("steps", &[Kind::Rollout]),
    ("advance_when", &[Kind::Rollout]),
    ("abort_when", &[Kind::Rollout]),
    ("abort_for", &[Kind::Rollout]),
    ("compare", &[Kind::Rollout]),
    ("no_data_for", &[Kind::Rollout]),
];

/// Every field that may stand in a rule, of whatever kind.
pub(super) struct RawRule {
    pub record: Option<Spanned<String>>,
    pub alert: Option<Spanned<String>>,
    pub degrade: Option<Spanned<String>>,
    pub scale: Option<Spanned<String>>,
    pub expr: Option<Query>,
    pub hold: Duration,
    pub keep_firing_for: Duration,
    pub resolve_when: Option<Query>,
    pub on_unknown: OnUnknown,
    pub unknown_for: Duration,
    pub labels: Pairs,
    pub annotations: Pairs,
    pub levels: Option<Vec<LevelSpec>>,
    pub recover: RecoverSpec,
    pub min_hold: Duration,
    pub scope: Scope,
    pub quorum: Option<QuorumSpec>,
    pub mode: Option<Mode>,
    pub desired: Option<Query>,
    pub min: u32,
    pub max: Option<u32>,
    pub step: Option<u32>,
    pub cooldown: Duration,
    pub cooldown_out: Option<Duration>,
    pub cooldown_in: Option<Duration>,
    pub scale_in: bool,
    pub webhook: Option<Spanned<String>>,
    pub verify: Option<Query>,
    pub verify_within: Duration,
    pub beside: Vec<Spanned<String>>,
    pub samples: Option<Query>,
    pub dim: Option<Spanned<String>>,
    /// The name of a limit rule, or of the limit behind a dimmer.
    pub limit: Option<Spanned<String>>,
    pub rollout: Option<Spanned<String>>,
    pub control: RawControl,
    pub release: RawRollout,
}

impl RawRule {
    fn read(fields: &mut Fields<'_>) -> RawRule {
        RawRule {
            record: fields.optional("record", "the series that a recording rule writes"),
            alert: fields.optional("alert", "the name of an alert"),
            degrade: fields.optional("degrade", "the feature switch whose ladder the rule walks"),
            scale: fields.optional("scale", "what a scale rule asks more or fewer machines for"),
            expr: fields.optional("expr", "PromQL (record, alert)"),
            hold: fields.or(
                "for",
                "0s",
                "how long the expression must hold before the alert fires (alert), or another number must be wanted \
                 before it is asked for (scale)",
            ),
            keep_firing_for: fields.or(
                "keep_firing_for",
                "0s",
                "how long the alert keeps firing after the expression ceased to hold (alert)",
            ),
            resolve_when: fields.optional(
                "resolve_when",
                "PromQL; a firing alert goes on until this has a result for its labels as well (alert)",
            ),
            on_unknown: fields.or(
                "on_unknown",
                "resolve",
                "what becomes of an alert whose series are gone or whose target is down: resolve, as in Prometheus; \
                 hold: it stays as it is; alert: it stays, and NAMEUnknown fires as well (alert)",
            ),
            unknown_for: fields.or(
                "unknown_for",
                "1h",
                "with on_unknown hold or alert: for how long at the most (alert)",
            ),
            labels: fields.optional("labels", "labels to set; templates in alerts (record, alert)").unwrap_or_default(),
            annotations: fields.optional("annotations", "texts for people; templates (alert)").unwrap_or_default(),
            levels: fields.optional("levels", "when to go to which level, mildest first (degrade)"),
            recover: fields.or("recover", "{}", "when to go back, one level at a time (degrade)"),
            min_hold: fields.or("min_hold", "30s", "the shortest stay on a level before a step back (degrade)"),
            scope: fields.or("scope", "fleet", "whom the decision speaks for (degrade, dim, limit)"),
            quorum: fields
                .optional("quorum", "how many hosts must agree; default: half of those that run the rule (degrade, dim, limit)"),
            mode: fields
                .optional("mode", "observe: decide and show, change nothing; default: actions.mode (all that act)"),
            desired: fields.optional("desired", "PromQL that gives the wanted number, rounded up (scale)"),
            min: fields.or("min", "1", "never ask for fewer (scale)"),
            max: fields.optional("max", "never ask for more (scale)"),
            step: fields.optional("step", "the most that one call may change; default: no bound (scale)"),
            cooldown: fields.or("cooldown", "5m", "the shortest time between two calls (scale)"),
            cooldown_out: fields
                .optional("cooldown_out", "the same for calls that ask for more; default: cooldown (scale)"),
            cooldown_in: fields
                .optional("cooldown_in", "the same for calls that ask for fewer; default: cooldown (scale)"),
            scale_in: fields.or("in", "false", "whether the rule may ask for fewer (scale)"),
            webhook: fields.optional("webhook", "the name of the webhook to call (scale)"),
            verify: fields.optional("verify", "PromQL that gives how many there are: it must follow the calls (scale)"),
            verify_within: fields.or("verify_within", "5m", "how soon it must (scale)"),
            beside: fields.or(
                "beside",
                "[]",
                "switches that degrade first: no call for fewer while one of them is degraded (scale)",
            ),
            samples: fields.optional(
                "samples",
                "PromQL: how many requests the conditions rest on; with fewer than min_samples they say nothing (degrade)",
            ),
            dim: fields.optional("dim", "the dimmer, or the feature, that a control law rules"),
            limit: fields.optional(
                "limit",
                "the limit that a rule rules by itself (limit), or the one behind a dimmer; `none` for none (dim)",
            ),
            rollout: fields.optional("rollout", "the rollout that the rule leads"),
            control: RawControl::read(fields),
            release: RawRollout::read(fields),
        }
    }

    /// The one kind that the rule names.
    fn kind(&self, fields: &mut Fields<'_>) -> Option<Kind> {
        let behind = |kind| kind == Kind::Limit && fields.has("dim");
        let given: Vec<_> = KINDS.into_iter().filter(|(key, kind, _)| fields.has(key) && !behind(*kind)).collect();
        match given[..] {
            [(_, kind, _)] => Some(kind),
            [] => {
                let help = "add one of `record`, `alert`, `degrade`, `dim`, `limit`, `scale`, `rollout`".to_owned();
                fields.problem("", "a rule must say what it is", Some(help));
                None
            }
            [(first, ..), (second, ..), ..] => {
                let message = format!("a rule cannot be both `{first}` and `{second}`");
                fields.problem(second, message, Some("make two rules of it".into()));
                None
            }
        }
    }
}

impl Decode for RuleSpec {
    fn decode(at: &mut At<'_>) -> Option<RuleSpec> {
        let mut fields = at.record(
            "a rule",
            "One rule: a recording rule (`record`), an alert (`alert`), or an action: a feature switch (`degrade`), a \
             dimmer (`dim`), a limit (`limit`), a call for machines (`scale`) or a gray release (`rollout`).",
        )?;
        let raw = RawRule::read(&mut fields);
        let kind = raw.kind(&mut fields);
        if let Some(kind) = kind {
            refuse_strangers(kind, &raw, &mut fields);
        }
        let rule = match kind {
            Some(Kind::Record) => read_record(raw, &mut fields).map(Arc::new).map(RuleSpec::Record),
            Some(Kind::Alert) => read_alert(raw, &mut fields).map(Arc::new).map(RuleSpec::Alert),
            Some(Kind::Degrade) => read_degrade(raw, &mut fields).map(Arc::new).map(RuleSpec::Degrade),
            Some(Kind::Scale) => read_scale(raw, &mut fields).map(Arc::new).map(RuleSpec::Scale),
            Some(Kind::Dim) => read_dim(raw, &mut fields).map(Arc::new).map(RuleSpec::Dim),
            Some(Kind::Limit) => read_limit(raw, &mut fields).map(Arc::new).map(RuleSpec::Limit),
            Some(Kind::Rollout) => read_rollout(raw, &mut fields).map(Arc::new).map(RuleSpec::Rollout),
            None => None,
        };
        fields.finish();
        rule
    }
}

/// Fields that belong in another kind of rule.
fn refuse_strangers(kind: Kind, raw: &RawRule, fields: &mut Fields<'_>) {
    let (_, _, called) = KINDS[kind as usize];
    let strangers = BELONGS.into_iter().chain([("in", &[Kind::Scale][..])]);
    for (key, kinds) in strangers.filter(|(key, _)| fields.has(key)).collect::<Vec<_>>() {
        // As in Prometheus, what is written but empty is not there.
        let empty = match key {
            "for" => raw.hold.is_zero(),
            "keep_firing_for" => raw.keep_firing_for.is_zero(),
            "labels" => raw.labels.0.is_empty(),
            "annotations" => raw.annotations.0.is_empty(),
            _ => false,
        };
        if !kinds.contains(&kind) && !empty {
            let homes: Vec<&str> = kinds.iter().map(|kind| KINDS[*kind as usize].2).collect();
            let help = format!("remove it: it belongs in {}", homes.join(" or "));
            fields.problem(key, format!("`{key}` does not belong in {called}"), Some(help));
        }
    }
}

/// Reports a missing field at the key that names the rule.
pub(super) fn missing(fields: &mut Fields<'_>, kind: &str, key: &str, help: &str) {
    if !fields.has(key) {
        fields.problem(
            kind,
            format!("missing field `{key}` in this {kind} rule"),
            Some(format!("add `{key}: {help}`")),
        );
    }
}

fn named(name: Option<Spanned<String>>, key: &'static str, fields: &mut Fields<'_>) -> Option<Spanned<String>> {
    let name = name?;
    if name.is_empty() {
        fields.problem(key, format!("the name after `{key}` is empty"), None);
        return None;
    }
    Some(name)
}

/// Warns of an expression that can give nothing.
fn warn_useless(expr: Option<&Query>, fields: &mut Fields<'_>) {
    if let Some((query, why)) = expr.and_then(|query| Some((query, query.useless()?))) {
        let help = "take the last value of a range with last_over_time(), or drop the brackets".to_owned();
        fields.push(query.place.warning(why, Some(help)));
    }
    refuse_unkept(expr, fields);
}

/// Refuses an expression that reads further back than any series is kept.
pub(super) fn refuse_unkept(expr: Option<&Query>, fields: &mut Fields<'_>) {
    if let Some(problem) = expr.and_then(Query::unkept) {
        fields.push(problem);
    }
}

fn read_record(raw: RawRule, fields: &mut Fields<'_>) -> Option<RecordSpec> {
    missing(fields, "record", "expr", "<PromQL>");
    let record = named(raw.record, "record", fields);
    if let Some(record) = record.as_ref().filter(|record| record.contains(['{', '}'])) {
        let help = "write the name alone, and its labels under `labels`".to_owned();
        fields.push(record.place.error(format!("`{}` is not the name of a series", record.value), Some(help)));
    }
    check_label_names(&raw.labels, "label", fields);
    warn_useless(raw.expr.as_ref(), fields);
    let labels = raw.labels.0.into_iter().map(|(name, value)| (name.value, value.value)).collect();
    Some(RecordSpec { record: record?, expr: raw.expr?, labels })
}

fn read_alert(raw: RawRule, fields: &mut Fields<'_>) -> Option<AlertSpec> {
    missing(fields, "alert", "expr", "<PromQL>");
    let alert = named(raw.alert, "alert", fields);
    check_label_names(&raw.labels, "label", fields);
    check_label_names(&raw.annotations, "annotation", fields);
    warn_useless(raw.expr.as_ref(), fields);
    check_condition(raw.resolve_when.as_ref(), fields);
    let labels = templates(raw.labels, fields);
    let annotations = templates(raw.annotations, fields);
    Some(AlertSpec {
        alert: alert?,
        expr: raw.expr?,
        hold: raw.hold,
        keep_firing_for: raw.keep_firing_for,
        resolve_when: raw.resolve_when,
        on_unknown: raw.on_unknown,
        unknown_for: raw.unknown_for,
        labels,
        annotations,
    })
}

fn templates(pairs: Pairs, fields: &mut Fields<'_>) -> Texts {
    let parsed = pairs.0.into_iter().filter_map(|(name, value)| match TemplateText::parse(&value, &value.place) {
        Ok(text) => Some((name.value, text)),
        Err(problem) => {
            fields.push(problem);
            None
        }
    });
    parsed.collect()
}

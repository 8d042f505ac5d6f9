//! `serve.haproxy_agents`, `serve.limits` and `projections`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::switches::SwitchSettings;
use crate::config::checker::Checker;
use crate::config::delivery::{Agent, Amount, FormatWord, Limit, Projection as Written, SentinelRule as WrittenRule};
use crate::config::edges::Serve;
use crate::config::values::Entries;
use crate::limits;
use crate::model::SwitchName;
use crate::project::{Format, KeyProjection, Projection, Projections, SentinelKind, SentinelRule};
use crate::serve::{AgentSettings, Delivery, LimitSettings};
use crate::yaml::{Spanned, nearest};

type Switches = BTreeMap<SwitchName, SwitchSettings>;

/// The protocols with settings of their own.
pub fn delivery(check: &mut Checker<'_>, serve: &Serve, switches: &Switches) -> Delivery {
    let agents = serve.haproxy_agents.iter().filter_map(|agent| one_agent(check, agent, switches)).collect();
    let limits = serve.limits.0.iter().filter_map(|(name, limit)| one_limit(check, name, limit, switches)).collect();
    Delivery { agents, limits }
}

/// The switch that a name means; one that is not declared is reported.
fn known(check: &mut Checker<'_>, name: Option<&Spanned<String>>, switches: &Switches) -> Option<SwitchName> {
    let name = name?;
    let found = switches.keys().find(|known| known.as_str() == name.value).cloned();
    if found.is_none() {
        check.unknown("switch", name, switches.keys().map(SwitchName::as_str));
    }
    found
}

/// Reports levels that a switch does not have.
fn levels<T>(check: &mut Checker<'_>, levels: &Entries<T>, switch: &SwitchName, switches: &Switches) {
    let Some(declared) = switches.get(switch) else { return };
    for (level, _) in levels.0.iter().filter(|(level, _)| !declared.levels.contains(&level.value)) {
        check.unknown(&format!("level of `{switch}`"), level, declared.levels.iter().map(String::as_str));
    }
}

fn amounts(levels: &Entries<Amount>) -> BTreeMap<String, f64> {
    levels.0.iter().map(|(level, amount)| (level.value.clone(), amount.0)).collect()
}

fn one_agent(check: &mut Checker<'_>, agent: &Agent, switches: &Switches) -> Option<AgentSettings> {
    let switch = known(check, agent.switch.as_ref(), switches)?;
    levels(check, &agent.levels, &switch, switches);
    let listen = agent.listen.as_ref()?.value.to_string();
    let levels = agent.levels.0.iter().map(|(level, state)| (level.value.clone(), state.0)).collect();
    Some(AgentSettings { listen, switch, levels })
}

fn one_limit(
    check: &mut Checker<'_>,
    name: &Spanned<String>,
    limit: &Limit,
    switches: &Switches,
) -> Option<LimitSettings> {
    if let Err(error) = SwitchName::new(&name.value) {
        check.error(&name.place, error.to_string(), "rename it");
    }
    let switch = known(check, limit.switch.as_ref(), switches)?;
    levels(check, &limit.levels, &switch, switches);
    let missing = |level: &&String| limit.levels.get(level).is_none();
    let declared = switches.get(&switch).map(|declared| declared.levels.as_slice()).unwrap_or_default();
    if let Some(level) = declared.iter().find(missing) {
        let message = format!("the limit `{}` has no number for the level `{level}` of `{switch}`", name.value);
        check.error(&name.place, message, format!("add it: `levels: {{{level}: 100, ...}}`"));
    }
    let keys = limit.keys.value as usize;
    if keys > crate::limits::LIMIT_KEYS * 100 {
        check.error(&limit.keys.place, "this many keys would take too much memory", "write at most 1000000");
    }
    Some(LimitSettings {
        name: name.value.clone(),
        levels: amounts(&limit.levels),
        unit: limit.unit,
        burst: limit.burst.0,
        lease: limit.lease.0,
        keys,
        ..LimitSettings::new(switch)
    })
}

/// The files that are written.
pub fn projections(
    check: &mut Checker<'_>,
    written: &[Written],
    switches: &Switches,
    prefix: Option<&str>,
) -> Projections {
    let mut all = Projections::default();
    for one in written {
        let Some(word) = &one.format else { continue };
        let format = match word.value {
            FormatWord::Files => Format::Files,
            FormatWord::Json => Format::Json,
            FormatWord::Env => Format::Env,
            FormatWord::NginxMap => Format::NginxMap,
            FormatWord::Flagd => Format::Flagd,
            FormatWord::EnvoyRuntime => Format::EnvoyRuntime,
            FormatWord::Sentinel(kind) => {
                let rules = one.rules.iter().filter_map(|rule| one_rule(check, kind, rule, switches)).collect();
                Format::Sentinel(kind, rules)
            }
        };
        if let Some(path) = &one.path {
            let full = check.path(&path.value);
            if all.files.iter().any(|other| other.path == full) {
                let message = "two projections cannot be written to one path";
                check.error(&path.place, message, "give each a path of its own");
            }
            let (mode, owner, reload) = (one.mode.0, one.owner.clone(), one.reload.clone());
            all.files.push(Projection { path: full, format, mode, owner, reload });
        } else if let Some(key) = &one.key {
            key_is_good(check, key, prefix);
            if all.keys.iter().any(|other| other.key == key.value) {
                let message = "two projections cannot be written to one key";
                check.error(&key.place, message, "give each a key of its own");
            }
            if matches!(format, Format::Files | Format::EnvoyRuntime) {
                let help = "write it to a `path`, or use a format of one text";
                check.error(&word.place, "this format is a folder, and a key holds one text", help);
            }
            all.keys.push(KeyProjection { key: key.value.clone(), format });
        }
    }
    all
}

fn key_is_good(check: &mut Checker<'_>, key: &Spanned<String>, prefix: Option<&str>) {
    if prefix.is_none() {
        let help = "add `store: {etcd: ...}`, or write to a `path`";
        check.error(&key.place, "a key needs a shared store, and switches are kept on this host", help);
    }
    if key.value.is_empty() || key.value.len() > limits::STORE_KEY_BYTES {
        check.error(
            &key.place,
            "an empty or very long key",
            "write the key that the application reads, as /sentinel/shop/flow",
        );
    }
    let own =
        |prefix: &str| key.value.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if prefix.is_some_and(|prefix| own(prefix.trim_end_matches('/'))) {
        check.error(
            &key.place,
            "below the fleet's own prefix nobody else's keys may be",
            "write it under another prefix",
        );
    }
}

fn one_rule(
    check: &mut Checker<'_>,
    kind: SentinelKind,
    rule: &WrittenRule,
    switches: &Switches,
) -> Option<SentinelRule> {
    let name = rule.switch.as_ref()?;
    let switch = known(check, Some(name), switches)?;
    levels(check, &rule.levels, &switch, switches);
    let resource = rule.resource.clone().unwrap_or_default();
    if resource.is_empty() != (kind == SentinelKind::System) {
        let (message, help) = match kind {
            SentinelKind::System => ("a system rule has no resource", "remove `resource`"),
            _ => ("a rule needs the resource that it is about", "add `resource: ...`"),
        };
        check.error(&name.place, message, help);
    }
    let known_fields = kind.fields();
    let field = match &rule.field {
        Some(field) if kind == SentinelKind::System && !known_fields.contains_key(&field.value) => {
            check.unknown("field of a system rule", field, known_fields.keys().map(String::as_str));
            field.value.clone()
        }
        Some(field) => field.value.clone(),
        None => kind.number_field().to_owned(),
    };
    let mut with = Map::new();
    for (key, text) in &rule.with.0 {
        match known_fields.get(&key.value).map(|default| typed(default, text)) {
            Some(Some(value)) => drop(with.insert(key.value.clone(), value)),
            Some(None) => {
                let message = format!("`{text}` is no value for `{}`", key.value);
                check.error(&key.place, message, format!("its usual value is {}", known_fields[&key.value]));
            }
            None => {
                let names = known_fields.keys().map(String::as_str);
                let help = nearest(&key.value, names).map(|word| format!("did you mean `{word}`?"));
                let message = format!("Sentinel's rule has no field `{}`", key.value);
                check.error(&key.place, message, help.unwrap_or_default());
            }
        }
    }
    let of = rule.of.map_or(1.0, |of| of.0);
    Some(SentinelRule { resource, switch, levels: amounts(&rule.levels), of, field, with })
}

/// A text as a value of the same type as the default.
fn typed(default: &Json, text: &str) -> Option<Json> {
    match default {
        Json::Bool(_) => text.parse::<bool>().ok().map(|value| json!(value)),
        Json::Number(number) if number.is_f64() => text.parse::<f64>().ok().map(|value| json!(value)),
        Json::Number(_) => text.parse::<i64>().ok().map(|value| json!(value)),
        _ => Some(json!(text)),
    }
}

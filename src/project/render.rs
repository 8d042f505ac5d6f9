//! What stands in the files: from the switches to names and contents.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Format, sentinel};
use crate::serve::{Flag, Switchboard, Value, envoy_layer, number_text, percent};

/// What a projection consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    File(String),
    /// Files of a folder, by name.
    Folder(BTreeMap<String, String>),
    /// The same, swapped as a whole.
    Swapped(BTreeMap<String, String>),
}

pub(super) fn content(format: &Format, board: &Switchboard) -> Content {
    match format {
        Format::Files => Content::Folder(files(board)),
        Format::Json => Content::File(lines(&json(board))),
        Format::Env => Content::File(env(board)),
        Format::NginxMap => Content::File(nginx_map(board)),
        Format::Flagd => Content::File(format!("{}\n", board.flagd_json())),
        Format::EnvoyRuntime => Content::Swapped(runtime(board)),
        Format::Sentinel(kind, rules) => Content::File(lines(&sentinel::rules(*kind, rules, board))),
    }
}

fn lines(json: &Json) -> String {
    format!("{json:#}\n")
}

fn files(board: &Switchboard) -> BTreeMap<String, String> {
    board.flags.iter().map(|(name, flag)| (name.to_string(), format!("{}\n", flag.value.text()))).collect()
}

fn json(board: &Switchboard) -> Json {
    let switches: serde_json::Map<String, Json> =
        board.flags.iter().map(|(name, flag)| (name.to_string(), flag.to_json(name.as_str()))).collect();
    json!({ "revision": board.version, "switches": switches })
}

/// The parts of a switch that plain key-value formats have, by suffix. Keys and values are letters, digits and `_-.%`, so
/// that neither a shell nor nginx finds anything to interpret in them.
fn parts(flag: &Flag) -> Vec<(&'static str, String)> {
    let mut all = vec![("", flag.value.text())];
    match &flag.value {
        Value::Feature { depth, .. } => {
            all.push(("enabled", u8::from(*depth == 0).to_string()));
            all.push(("depth", depth.to_string()));
        }
        Value::Dimmer { share, threshold, limit } => {
            all.push(("percent", number_text(percent(*share))));
            all.extend(threshold.map(|threshold| ("threshold", number_text(threshold))));
            all.extend(limit.map(|limit| ("limit", number_text(limit.floor()))));
        }
        Value::Rollout { share } => all.push(("percent", number_text(percent(*share)))),
        Value::Limit { .. } => {}
    }
    all
}

fn env(board: &Switchboard) -> String {
    // Two names that differ only in what a variable cannot say become one: the first, which is at least always the same.
    let mut variables = BTreeMap::new();
    for (name, flag) in &board.flags {
        for (part, value) in parts(flag) {
            let part = if part.is_empty() { String::new() } else { format!("_{part}") };
            let name = format!("BROWNOUT_{name}{part}").to_ascii_uppercase();
            let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            variables.entry(name).or_insert(value);
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// `recommendations cached;`, for `map "recommendations" $recommendations { default full; include ...; }`.
fn nginx_map(board: &Switchboard) -> String {
    let mut text = String::from("# written by brownout; changes here are lost\n");
    for (name, flag) in &board.flags {
        for (part, value) in parts(flag) {
            let dot = if part.is_empty() { "" } else { "." };
            text.push_str(&format!("\"{name}{dot}{part}\" \"{value}\";\n"));
        }
    }
    text
}

fn runtime(board: &Switchboard) -> BTreeMap<String, String> {
    envoy_layer(board).into_iter().map(|(key, value)| (key, format!("{value}\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::sample;

    #[test]
    fn plain_formats_hold_every_switch() {
        let Content::File(env) = content(&Format::Env, &sample()) else { panic!("a file") };
        for line in [
            "BROWNOUT_RECS=cached",
            "BROWNOUT_RECS_ENABLED=0",
            "BROWNOUT_RECS_DEPTH=1",
            "BROWNOUT_RELATED=25%",
            "BROWNOUT_RELATED_PERCENT=25",
            "BROWNOUT_RELATED_LIMIT=40",
            "BROWNOUT_NEW_SEARCH_PERCENT=10",
            "BROWNOUT_SEARCH=2.5",
        ] {
            assert!(env.lines().any(|written| written == line), "{line} is not in\n{env}");
        }
        let Content::File(map) = content(&Format::NginxMap, &sample()) else { panic!("a file") };
        assert!(map.contains("\"recs\" \"cached\";\n") && map.contains("\"recs.depth\" \"1\";\n"), "{map}");
        let Content::Folder(files) = content(&Format::Files, &sample()) else { panic!("a folder") };
        assert_eq!((files.len(), files["recs"].as_str()), (7, "cached\n"));
        let Content::Swapped(files) = content(&Format::EnvoyRuntime, &sample()) else { panic!("a folder") };
        assert_eq!(files["brownout.recs.share"], "50\n");
        let Content::File(json) = content(&Format::Json, &sample()) else { panic!("a file") };
        let json: Json = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["switches"]["recs"]["level"], "cached");
    }
}

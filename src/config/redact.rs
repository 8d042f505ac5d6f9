//! Texts of configurations without the secrets in them, for messages and for the API that shows what is loaded.
//!
//! What is masked keeps its length, so that places in the text stay where they are.

use std::sync::Arc;

use crate::yaml::{Node, SourceFile, Value, parse};

/// Endings of keys whose values are secrets. Keys that end in `_file` name files and are shown.
const SECRET_ENDINGS: [&str; 10] = [
    "password",
    "secret",
    "secrets",
    "credentials",
    "token",
    "token_id",
    "api_key",
    "routing_key",
    "service_key",
    "user_key",
];

/// Keys whose values are addresses with secrets in their path.
const SECRET_URLS: [&str; 6] =
    ["url", "api_url", "webhook_url", "slack_api_url", "mattermost_webhook_url", "proxy_url"];

/// The same file with `*` in place of every secret. A text that is no YAML is masked as a whole after each colon.
pub fn redact(file: &Arc<SourceFile>) -> Arc<SourceFile> {
    let mut text = file.text.clone();
    match parse(file) {
        Ok(node) => {
            let mut spans = Vec::new();
            find(&node, &file.text, &mut spans);
            for span in spans {
                mask(&mut text, span);
            }
        }
        Err(_) => text = by_line(&file.text),
    }
    SourceFile::new(file.name.clone(), text)
}

fn find(node: &Node, text: &str, spans: &mut Vec<std::ops::Range<usize>>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, _, value) in entries {
                let secret = SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending)) || key == "secret_key";
                if secret && !matches!(value.value, Value::Map(_)) {
                    scalars(value, spans);
                } else if SECRET_URLS.contains(&key.as_str()) {
                    let span = value.span.clone();
                    spans.extend(
                        secret_part(&text[span.clone()]).map(|part| span.start + part.start..span.start + part.end),
                    );
                } else if key == "basic_auth_users" || key == "proxy_connect_header" {
                    scalars(value, spans);
                } else {
                    find(value, text, spans);
                }
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| find(item, text, spans)),
        Value::Null | Value::Scalar { .. } => {}
    }
}

fn scalars(node: &Node, spans: &mut Vec<std::ops::Range<usize>>) {
    match &node.value {
        Value::Scalar { .. } => spans.push(node.span.clone()),
        Value::Seq(items) => items.iter().for_each(|item| scalars(item, spans)),
        Value::Map(entries) => entries.iter().for_each(|(_, _, value)| scalars(value, spans)),
        Value::Null => {}
    }
}

/// Of an address: the user and password, or what follows the host.
fn secret_part(url: &str) -> Option<std::ops::Range<usize>> {
    let start = url.find("://")? + 3;
    let end = url.trim_end_matches(['"', '\'', '\n', ' ']).len();
    let host_end = url[start..end].find('/').map_or(end, |at| start + at);
    match url[start..host_end].rfind('@') {
        Some(at) => Some(start..start + at),
        None => (host_end + 1 < end).then_some(host_end + 1..end),
    }
}

fn mask(text: &mut String, span: std::ops::Range<usize>) {
    let masked: String = text[span.clone()]
        .chars()
        .map(|c| if c == '\n' || c == ' ' || c == '\t' { c.to_string() } else { "*".repeat(c.len_utf8()) })
        .collect();
    text.replace_range(span, &masked);
}

fn by_line(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_lowercase();
        let secret = SECRET_ENDINGS.iter().chain(&SECRET_URLS).any(|word| lower.contains(word));
        match line.find(':').filter(|_| secret) {
            Some(colon) => {
                let mut line = line.to_owned();
                let end = line.len();
                mask(&mut line, colon + 1..end);
                masked.push_str(&line);
            }
            None => masked.push_str(line),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let file = SourceFile::new("t", text);
        let redacted = redact(&file);
        assert_eq!(redacted.text, expected);
        assert_eq!(redacted.text.len(), text.len());
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        check("password: hunter2\nusername: joe\n", "password: *******\nusername: joe\n");
        check("a: {auth_secret: 'é x', b: 1}\n", "a: {auth_secret: *** **, b: 1}\n");
        check("credentials_file: /run/x\n", "credentials_file: /run/x\n");
        check("x:\n  secrets: [aa, bb]\n", "x:\n  secrets: [**, **]\n");
        check("bot_token: |\n  abc\n", "bot_token: |\n  ***\n");
    }

    #[test]
    fn addresses_keep_their_host() {
        check("url: https://h.example/T0/B0\n", "url: https://h.example/*****\n");
        check("url: \"https://u:p@h/x\"\n", "url: \"https://***@h/x\"\n");
        check("url: https://h\n", "url: https://h\n");
        check("target_url_label: x\n", "target_url_label: x\n");
    }

    #[test]
    fn a_broken_file_is_masked_by_lines() {
        check("a: [\npassword: x y\n", "a: [\npassword: * *\n");
    }
}

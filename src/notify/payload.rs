//! A webhook's body as its configuration lays it out (`payload`), in the place of Alertmanager's own.
//!
//! Each text of it is a template. What labels say stays text: it adds no key, is no template again, and never becomes a number.
//! A template that ends in `toJson` gives a value of its kind instead: `"{{ .Alerts | toJson }}"` is a list,
//! `"{{ len .Alerts.Firing | toJson }}"` a number.

use serde_json::Value;

use super::deliver::Render;
use super::form::Form;
use crate::alerts::Notification;

/// The body, or which text cannot be expanded.
pub(super) fn body(tree: &Value, notification: &Notification, render: Option<&Render>) -> Result<Vec<u8>, String> {
    let render = render.ok_or("template of payload: no templates are at hand")?;
    expanded(tree, notification, render).map(|value| value.to_string().into_bytes())
}

fn expanded(tree: &Value, notification: &Notification, render: &Render) -> Result<Value, String> {
    let of = |text: &str| match text.contains("{{") {
        true => render(text, notification, Form::Text).map_err(|problem| format!("template of payload: {problem}")),
        false => Ok(text.to_owned()),
    };
    Ok(match tree {
        Value::String(text) => {
            let written = of(text)?;
            let whole = text.trim();
            let one_action = whole.starts_with("{{") && whole.matches("{{").count() == 1;
            let action = whole.trim_end_matches(['}', '-', ' ']);
            match serde_json::from_str(&written) {
                Ok(value) if one_action && whole.ends_with("}}") && action.ends_with("toJson") => value,
                _ => Value::String(written),
            }
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| expanded(item, notification, render));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((of(key)?, expanded(value, notification, render)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::notify::tests::{notification, templates};

    #[test]
    fn texts_are_templates_and_labels_stay_texts() {
        let (mut notification, render) = (notification(), templates());
        let nasty = r#"{"a": 1} {{ .Receiver }} true"#;
        for (name, value) in [("nasty", nasty), ("number", "1.10"), ("list", "[1]")] {
            notification.common_labels.insert(name.to_owned(), value.to_owned());
        }
        let check = |tree: Value, expected: Value| {
            let body = body(&tree, &notification, Some(&*render)).expect("expands");
            assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected, "{tree}");
        };
        check(
            json!({"at": "{{ .Receiver }}", "n": 7, "x": [true, null]}),
            json!({"at": "team", "n": 7, "x": [true, null]}),
        );
        check(json!({"{{ .Status }}": "plain"}), json!({"firing": "plain"}));
        check(json!("{{ .CommonLabels.nasty }}"), json!(nasty));
        check(json!(["{{ .CommonLabels.number }}", "{{ .CommonLabels.list }}"]), json!(["1.10", "[1]"]));
        check(json!("{{ .CommonLabels.list | toJson }}"), json!("[1]"));
        check(
            json!("{{ len .Alerts.Firing | toJson }}"),
            json!(notification.alerts.iter().filter(|a| a.ends_at.is_none()).count()),
        );
        check(json!("n={{ len .Alerts | toJson }}"), json!(format!("n={}", notification.alerts.len())));
        assert!(body(&json!("{{ .Nothing.At.All | bad }}"), &notification, Some(&*render)).is_err());
        assert!(body(&json!({}), &notification, None).is_err());
    }
}

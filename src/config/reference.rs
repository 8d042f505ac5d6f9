//! The JSON schemas and the reference of the configuration, made from the same declarations that read the files.

use std::fmt::Write as _;

use serde_json::Value;

use super::root::Root;
use crate::rules::RuleFile;
use crate::signals::system::collector_names;
use crate::yaml::describe;

/// The JSON schema of `brownout.yaml`, for editors.
pub fn config_schema() -> Value {
    describe::<Root>().to_json_schema("Brownout configuration")
}

/// The JSON schema of a rule file, for editors.
pub fn rules_schema() -> Value {
    describe::<RuleFile>().to_json_schema("Brownout rules")
}

const HEAD: &str = "\
# Configuration

<!-- Generated: `brownout schema --reference`. Change the documentation where the fields are declared, in src/config. -->

One file, `brownout.yaml`, and any number of rule files. Every section may be missing: without a file Brownout watches the
host it runs on with the rules it ships, serves its page on 127.0.0.1:9797, and changes nothing.

Where Prometheus, blackbox_exporter or Alertmanager have a field, this is that field: same name, same meaning, same default,
except that intervals are 1 s. What they have and this version has not is refused by name when it is used.

* A relative path begins at the directory of the file that it stands in. In patterns `*` stands for part of a name.
* A duration is written as in Prometheus: `500ms`, `10s`, `1m30s`, `1d`.
* A secret is written in the file, or better in a file of its own that a `..._file` field names. It is never printed.
* `brownout check brownout.yaml` tells every mistake at once, and what the rules would do.
* A change of any of the files is taken over at once. A configuration with an error is refused as a whole, and the one before
  stays in use.
* `deploy/brownout.schema.json` and `deploy/rules.schema.json` let editors complete and check.
";

/// The reference of all files, in Markdown.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(&describe::<Root>().to_markdown());
    text.push_str("\n# System collectors\n\nThe names that `system.collectors` knows, as in node_exporter.\n\n");
    text.push_str("| collector | by default | what it tells |\n| --- | --- | --- |\n");
    for (name, on, help) in collector_names() {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "| `{name}` | {} | {help} |", if *on { "on" } else { "off" });
    }
    text.push_str("\n# Rule files\n");
    text.push_str(&describe::<RuleFile>().to_markdown());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Schema, Shape};

    fn check_documented(schema: &Schema) {
        assert!(matches!(schema.root, Shape::Record(_)));
        for record in &schema.records {
            assert!(record.doc.ends_with('.'), "{}: {:?}", record.name, record.doc);
            assert!(!record.fields.is_empty() || record.name == "embedded store", "{} has no fields", record.name);
            for field in &record.fields {
                assert!(!field.doc.is_empty(), "{}.{} is not documented", record.name, field.key);
            }
        }
    }

    #[test]
    fn every_field_of_every_section_is_documented() {
        check_documented(&describe::<Root>());
        check_documented(&describe::<RuleFile>());
    }
}

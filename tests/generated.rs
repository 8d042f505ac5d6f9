//! What is generated from the configuration's declarations and committed: it must be what they give now.

use std::path::Path;

use brownout::cli::{SchemaKind, schema};

#[test]
fn schemas_and_reference_are_not_stale() {
    let files = [
        ("deploy/brownout.schema.json", SchemaKind::Config, "brownout schema"),
        ("deploy/rules.schema.json", SchemaKind::Rules, "brownout schema --rules"),
        ("docs/configuration.md", SchemaKind::Reference, "brownout schema --reference"),
    ];
    let write = std::env::var_os("BROWNOUT_REGENERATE").is_some();
    for (name, kind, command) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let wanted = schema(kind);
        if write {
            std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
            std::fs::write(&path, &wanted).expect(name);
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{name} is stale: run `{command} > {name}`, or all of them by BROWNOUT_REGENERATE=1 cargo test --test it generated"
        );
    }
}

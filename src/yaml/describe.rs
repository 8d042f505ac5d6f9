//! The same declarations that read a file, turned into a JSON schema and a reference.

use serde_json::{Map, Value, json};

use super::decode::{At, Decode};

/// What may stand at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A scalar; the text says of which kind.
    Text(&'static str),
    OneOf(Vec<&'static str>),
    List(Box<Shape>),
    Map(Box<Shape>),
    /// A mapping with fixed keys, by its name.
    Record(&'static str),
    Any,
}

/// A mapping with fixed keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub name: &'static str,
    pub doc: &'static str,
    pub fields: Vec<Field>,
}

/// One key of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub key: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    /// The YAML text that a missing field stands for.
    pub default: Option<&'static str>,
    pub required: bool,
}

/// Everything that can stand in a kind of file.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub root: Shape,
    /// In the order in which they are first needed.
    pub records: Vec<Record>,
}

/// Describes a type by running its declarations without input.
pub fn describe<T: Decode>() -> Schema {
    let mut describing = Describing::default();
    T::decode(&mut At::describing(&mut describing));
    Schema { root: describing.shape.unwrap_or(Shape::Any), records: describing.records }
}

#[derive(Default)]
pub(super) struct Describing {
    pub(super) shape: Option<Shape>,
    records: Vec<Record>,
}

impl Describing {
    /// Opens a record; false when it is known already.
    pub(super) fn begin(&mut self, name: &'static str, doc: &'static str) -> bool {
        let new = self.records.iter().all(|record| record.name != name);
        if new {
            self.records.push(Record { name, doc, fields: Vec::new() });
        }
        new
    }

    pub(super) fn add(&mut self, name: &'static str, field: Field) {
        if let Some(record) = self.records.iter_mut().find(|record| record.name == name) {
            record.fields.push(field);
        }
        self.shape = Some(Shape::Record(name));
    }

    pub(super) fn wrap(&mut self, outer: fn(Box<Shape>) -> Shape) {
        let inner = self.shape.take().unwrap_or(Shape::Any);
        self.shape = Some(outer(Box::new(inner)));
    }
}

impl Schema {
    /// JSON Schema (2020-12), for editors.
    pub fn to_json_schema(&self, title: &str) -> Value {
        let mut defs = Map::new();
        for record in &self.records {
            let mut properties = Map::new();
            for field in &record.fields {
                let mut schema = json_shape(&field.shape);
                if let Some(object) = schema.as_object_mut() {
                    object.insert("description".into(), field.doc.into());
                    if let Some(default) = field.default {
                        let default = serde_yaml::from_str::<Value>(default).unwrap_or_else(|_| default.into());
                        object.insert("default".into(), default);
                    }
                }
                properties.insert(field.key.into(), schema);
            }
            let required: Vec<&str> = record.fields.iter().filter(|f| f.required).map(|f| f.key).collect();
            let mut definition = json!({
                "type": ["object", "null"],
                "description": record.doc,
                "properties": properties,
                "additionalProperties": false,
            });
            if !required.is_empty() {
                definition["required"] = json!(required);
            }
            defs.insert(def_name(record.name), definition);
        }
        let mut schema = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
        if let (Some(schema), Value::Object(root)) = (schema.as_object_mut(), json_shape(&self.root)) {
            schema.extend(root);
            schema.insert("$defs".into(), Value::Object(defs));
        }
        schema
    }

    /// A reference for people, in Markdown: one section a record, one row a field.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for record in &self.records {
            text.push_str(&format!("\n## {}\n\n{}\n\n", record.name, record.doc));
            text.push_str("| field | value | default | what it does |\n| --- | --- | --- | --- |\n");
            for field in &record.fields {
                let default = match field.default {
                    Some(default) => format!("`{default}`"),
                    None if field.required => "required".into(),
                    None => "".into(),
                };
                let doc = field.doc.replace('|', "\\|");
                text.push_str(&format!("| `{}` | {} | {default} | {doc} |\n", field.key, words(&field.shape)));
            }
        }
        text
    }
}

fn def_name(name: &str) -> String {
    name.replace(' ', "_")
}

fn json_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text("true or false") => json!({ "type": "boolean" }),
        Shape::Text("a number") => json!({ "type": ["number", "string"] }),
        Shape::Text("a whole number") => json!({ "type": "integer" }),
        Shape::Text(_) => json!({ "type": ["string", "number", "boolean"] }),
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::List(item) => json!({ "type": ["array", "null"], "items": json_shape(item) }),
        Shape::Map(item) => json!({ "type": ["object", "null"], "additionalProperties": json_shape(item) }),
        Shape::Record(name) => json!({ "$ref": format!("#/$defs/{}", def_name(name)) }),
        Shape::Any => json!({}),
    }
}

fn words(shape: &Shape) -> String {
    match shape {
        Shape::Text(format) => (*format).to_owned(),
        Shape::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::List(item) => format!("list of {}", words(item)),
        Shape::Map(item) => format!("mapping to {}", words(item)),
        Shape::Record(name) => format!("[{name}](#{})", name.replace(' ', "-")),
        Shape::Any => "anything".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        _name: String,
    }

    impl Decode for Tree {
        fn decode(at: &mut At<'_>) -> Option<Tree> {
            let mut fields = at.record("a tree", "A tree.")?;
            let name = fields.required("name", "its name");
            let _: u32 = fields.or("height", "3", "in metres");
            let _: Option<Vec<Tree>> = fields.optional("branches", "smaller trees");
            fields.finish();
            Some(Tree { _name: name? })
        }
    }

    #[test]
    fn a_recursive_type_is_described_once() {
        let schema = describe::<Tree>();
        assert_eq!(schema.records.len(), 1);
        let json = schema.to_json_schema("Tree");
        assert_eq!(json["$ref"], "#/$defs/a_tree");
        let tree = &json["$defs"]["a_tree"];
        assert_eq!(tree["required"], json!(["name"]));
        assert_eq!(tree["properties"]["height"]["default"], 3);
        assert_eq!(tree["properties"]["branches"]["items"]["$ref"], "#/$defs/a_tree");
        let text = schema.to_markdown();
        assert!(text.contains("| `height` | a whole number | `3` | in metres |"), "{text}");
        assert!(text.contains("list of [a tree](#a-tree)"), "{text}");
    }
}

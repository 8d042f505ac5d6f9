//! `--name value` pairs.

use std::collections::BTreeMap;

/// The pairs of a command line.
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads pairs until the end.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut pairs = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is no --name"))?;
            pairs.insert(name.to_owned(), words.next().ok_or_else(|| format!("--{name} has no value"))?);
        }
        Ok(Arguments(pairs))
    }

    /// A value as it is.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number.
    pub fn number(&self, name: &str, default: f64) -> Result<f64, String> {
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| format!("--{name}: `{text}` is no number")))
    }
}

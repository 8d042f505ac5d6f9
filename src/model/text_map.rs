//! A small map from names to texts that is made once: as large as what is in it, where a tree has room for more.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// Texts by their names, in the order of the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextMap(Box<[(String, String)]>);

impl TextMap {
    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok().map(|at| &self.0[at].1)
    }

    /// Names and texts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().map(|(name, text)| (name, text))
    }

    /// The same as a map that can be changed.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.iter().cloned().collect()
    }
}

impl From<BTreeMap<String, String>> for TextMap {
    fn from(map: BTreeMap<String, String>) -> TextMap {
        TextMap(map.into_iter().map(|(name, text)| (exact(name), exact(text))).collect())
    }
}

/// Without spare room.
fn exact(mut text: String) -> String {
    text.shrink_to_fit();
    text
}

/// Of several texts of one name the last counts.
impl FromIterator<(String, String)> for TextMap {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(texts: I) -> TextMap {
        let mut texts: Vec<(String, String)> = texts.into_iter().map(|(name, text)| (name, exact(text))).collect();
        if !texts.is_sorted_by(|a, b| a.0 < b.0) {
            texts = texts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        TextMap(texts.into())
    }
}

impl fmt::Debug for TextMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for TextMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_the_last_text_of_one_counts() {
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let texts: TextMap = [pair("b", "1"), pair("a", "2"), pair("b", "3")].into_iter().collect();
        assert_eq!(format!("{texts:?}"), r#"{"a": "2", "b": "3"}"#);
        assert_eq!((texts.get("b").map(String::as_str), texts.get("c")), (Some("3"), None));
        assert_eq!(TextMap::from(texts.to_map()), texts);
        assert_eq!(serde_json::to_string(&texts).expect("JSON"), r#"{"a":"2","b":"3"}"#);
    }
}

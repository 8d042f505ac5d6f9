//! The name of a switch.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// A switch's name: letters, digits, `_`, `-` and `.`, starting with a letter, so that it is safe in a path, a key of the
/// store, a file name and a URL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwitchName(Arc<str>);

/// Why a text is no switch name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a switch name: use letters, digits, `_`, `-` and `.`, start with a letter, at most {max} characters",
    max = limits::SWITCH_NAME_BYTES
)]
pub struct SwitchNameError(pub String);

impl SwitchName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When the text is empty, too long, or has a character that is not allowed.
    pub fn new(text: &str) -> Result<SwitchName, SwitchNameError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let valid = text.len() <= limits::SWITCH_NAME_BYTES
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && text.bytes().all(good);
        if valid { Ok(SwitchName(text.into())) } else { Err(SwitchNameError(text.to_owned())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for SwitchName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// Checks the text, as [`SwitchName::new`] does.
impl<'de> Deserialize<'de> for SwitchName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SwitchName, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        SwitchName::new(&text).map_err(de::Error::custom)
    }
}

impl fmt::Display for SwitchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SwitchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_names_pass() {
        for good in ["a", "checkout.related-items_2"] {
            assert!(SwitchName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "../x", "a/b", "a b", "é", "_x", &"x".repeat(200)] {
            assert!(SwitchName::new(bad).is_err(), "{bad}");
        }
    }
}

//! Parameters of a request: flags, matchers, a regular expression for receivers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use regex::Regex;

use super::answer::ApiError;
use crate::alerts::parse_matchers;
use crate::model::{MatchOp, Matcher};

/// All parameters of the query string, in order.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, ApiError> {
        Ok(Params::of(parts.uri.query().unwrap_or("")))
    }
}

impl Params {
    /// Reads a query string.
    pub(super) fn of(query: &str) -> Params {
        let read = |mut url: reqwest::Url| {
            url.set_query(Some(query));
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
        };
        Params(reqwest::Url::parse("http://x/").map(read).unwrap_or_default())
    }

    /// All of them.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A flag; `usual` when it is not given.
    pub(super) fn flag(&self, name: &str, usual: bool) -> Result<bool, ApiError> {
        let Some((_, text)) = self.0.iter().find(|(known, value)| known == name && !value.is_empty()) else {
            return Ok(usual);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "on" | "y" | "ok" | "checked" | "selected" | "enabled" => Ok(true),
            "false" | "0" | "f" | "no" | "off" | "n" | "unchecked" | "disabled" => Ok(false),
            _ => Err(ApiError::Invalid(format!("{name} in query must be of type boolean: {text:?}"))),
        }
    }

    /// Every matcher of a parameter that may be repeated.
    pub(super) fn matchers(&self, name: &str) -> Result<Vec<Matcher>, ApiError> {
        let texts = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let mut all = Vec::new();
        for text in texts {
            let found = parse_matchers(text).map_err(|error| ApiError::Bad(format!("bad matcher format: {error}")))?;
            if found.is_empty() {
                return Err(ApiError::Bad(format!("bad matcher format: {text}")));
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// `receiver`: a regular expression, anchored at both ends.
    pub(super) fn receiver(&self) -> Result<Option<Matcher>, ApiError> {
        let Some((_, text)) = self.0.iter().find(|(known, value)| known == "receiver" && !value.is_empty()) else {
            return Ok(None);
        };
        let matcher = Matcher::new(MatchOp::Matches, "receiver", text);
        matcher.map(Some).map_err(|error| ApiError::Bad(format!("failed to parse receiver param: {error}")))
    }
}

/// Whether something with these named values passes a filter, as Alertmanager filters: a positive matcher needs the name
/// to be there, a negative one does not.
pub(super) fn passes<'a>(filter: &[Matcher], value: impl Fn(&str) -> Option<&'a str>) -> bool {
    filter.iter().all(|matcher| match (value(&matcher.name), matcher.op) {
        (Some(value), _) => matcher.matches(value),
        (None, MatchOp::NotEqual | MatchOp::NotMatches) => matcher.matches_empty(),
        (None, _) => false,
    })
}

/// Whether a text has the form of a UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    Regex::new("^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$")
        .is_ok_and(|form| form.is_match(text))
}

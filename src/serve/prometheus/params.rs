//! Parameters: from the query string and, with POST, from a form in the body.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};

use super::answer::{ApiError, Placed};
use crate::model::Matcher;
use crate::promql::{self, Expr, Kind};
use crate::time::{Timestamp, parse_duration};

/// All parameters of a request, in order; a name may come more than once.
pub(in crate::serve) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Params, ApiError> {
        let query = request.uri().query().unwrap_or("").to_owned();
        let form = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let mut pairs = Vec::new();
        if request.method() == Method::POST && is_form {
            let body = Bytes::from_request(request, state).await;
            let body = body.map_err(|error| ApiError::BadData(format!("error parsing form values: {error}")))?;
            pairs.extend(parse_form(&body));
        }
        pairs.extend(parse_form(query.as_bytes()));
        Ok(Params(pairs))
    }
}

fn parse_form(text: &[u8]) -> Vec<(String, String)> {
    reqwest::Url::parse("http://x/")
        .map(|mut url| {
            url.set_query(Some(&String::from_utf8_lossy(text)));
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
        })
        .unwrap_or_default()
}

impl Params {
    /// As from a query string.
    #[cfg(test)]
    pub(super) fn of(query: &str) -> Params {
        Params(parse_form(query.as_bytes()))
    }

    /// The first value of a parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn list<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.all(name).collect()
    }

    pub(super) fn wrong(name: &str, error: impl std::fmt::Display) -> ApiError {
        ApiError::BadData(format!("invalid parameter \"{name}\": {error}"))
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| Params::wrong(name, "it is missing"))
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.get(name).map(|text| read_time(text).ok_or_else(|| Params::wrong(name, not_a_time(text)))).transpose()
    }

    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let read = |text: &str| {
            let seconds = text.parse::<f64>().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
            seconds
                .or_else(|| parse_duration(text).ok())
                .ok_or_else(|| Params::wrong(name, format!("cannot parse {text:?} to a valid duration")))
        };
        self.get(name).map(read).transpose()
    }

    /// `limit`; 0 and nothing are no limit.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        self.number("limit")
    }

    /// A number of things; 0, nothing and less are no limit.
    pub(super) fn number(&self, name: &str) -> Result<usize, ApiError> {
        let text = self.get(name).unwrap_or("0");
        let limit: i64 = text.parse().map_err(|_| Params::wrong(name, format!("{text:?} is no whole number")))?;
        Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX))
    }

    /// `true` and `false` in Go's spellings; anything else is refused.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Params::wrong(name, format!("{other:?} is neither true nor false"))),
        }
    }

    /// Every `match[]` as a selector's conditions.
    pub(in crate::serve) fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.all("match[]").map(read_selector).collect()
    }

    /// The expression of `query`, with its text.
    pub(super) fn expression(&self) -> Result<(String, Expr), ApiError> {
        let text = self.required("query")?;
        match promql::parse(text) {
            Ok(expr) => Ok((text.to_owned(), expr)),
            Err(error) => {
                let (line, column) = error.position(text);
                let message = format!("invalid parameter \"query\": {line}:{column}: parse error: {error}");
                Err(ApiError::Expression(Placed { message, span: Some(error.span), help: error.help }))
            }
        }
    }
}

fn read_selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    match promql::parse(text) {
        // Without this, one request could name every series of the host.
        Ok(Expr { kind: Kind::Selector(selector), .. }) if selector.matchers.iter().all(Matcher::matches_empty) => {
            Err(Params::wrong("match[]", "match[] must contain at least one non-empty matcher"))
        }
        Ok(Expr { kind: Kind::Selector(selector), .. }) => Ok(selector.matchers.to_vec()),
        Ok(_) => Err(Params::wrong("match[]", format!("{text:?} is no selector such as up{{job=\"node\"}}"))),
        Err(error) => Err(Params::wrong("match[]", error)),
    }
}

fn not_a_time(text: &str) -> String {
    format!("cannot parse {text:?} to a valid timestamp: write seconds since the epoch or RFC 3339")
}

fn read_time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(secs) if secs.is_finite() && secs.abs() < 9e12 => Some(Timestamp::from_secs_f64(secs)),
        Ok(_) => None,
        Err(_) => Timestamp::from_rfc3339(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_read_in_both_forms() {
        let params = Params(parse_form(b"a=1.5&b=2023-11-14T22:13:20Z&c=x&d=15&e=1m&f=&g=a%26b+c&a=9"));
        assert_eq!(params.time("a").expect("a"), Some(Timestamp::from_millis(1_500)));
        assert_eq!(params.time("b").expect("b"), Some(Timestamp::from_millis(1_700_000_000_000)));
        assert!(params.time("c").is_err());
        assert_eq!(params.duration("d").expect("d"), Some(Duration::from_secs(15)));
        assert_eq!(params.duration("e").expect("e"), Some(Duration::from_secs(60)));
        assert_eq!(params.time("f").expect("f"), None, "an empty one is none");
        assert_eq!(params.get("g"), Some("a&b c"));
    }
}

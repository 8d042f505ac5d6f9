//! Secrets that do not print themselves, and texts without the secrets in them.

use std::fmt;
use std::path::PathBuf;

use super::NetError;

/// A password, token or key. Printing it in any way gives `<secret>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: only for the place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

/// Where a secret comes from: the configuration itself, or a file that is read when the secret is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Inline(Secret),
    File(PathBuf),
}

impl SecretSource {
    /// The secret; surrounding white space of a file is not part of it (as in Prometheus).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Secret, NetError> {
        match self {
            SecretSource::Inline(secret) => Ok(secret.clone()),
            SecretSource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim())),
                Err(source) => Err(NetError::File { what: "the secret file", path: path.clone(), source }),
            },
        }
    }
}

const SECRET_WORDS: [&str; 10] =
    ["token", "key", "secret", "pass", "auth", "sign", "sig", "credential", "code", "session"];

/// A URL for messages: without user, password, and the values of query parameters whose names sound secret.
/// What is no URL is replaced as a whole.
pub fn redact_url(text: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(text) else {
        return "<unreadable url>".to_owned();
    };
    if !url.username().is_empty() {
        let _ = url.set_username("redacted");
    }
    if url.password().is_some() {
        let _ = url.set_password(Some("redacted"));
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            let lower = name.to_lowercase();
            let secret = SECRET_WORDS.iter().any(|word| lower.contains(word));
            query.append_pair(name, if secret { "redacted" } else { value });
        }
    }
    url.set_fragment(None);
    url.into()
}

/// Scheme, host and port of a URL: for messages about receivers whose path is itself a secret.
pub fn origin(text: &str) -> String {
    match reqwest::Url::parse(text) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => "<unreadable url>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", SecretSource::Inline(secret.clone())), {
            "<secret> <secret> Inline(<secret>)"
        });
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn urls_lose_their_secrets() {
        let check = |url: &str, expected: &str| assert_eq!(redact_url(url), expected);
        check("http://h/p?a=1", "http://h/p?a=1");
        check("http://h:80/p", "http://h/p");
        check("http://joe:pw@h/p", "http://redacted:redacted@h/p");
        check("https://h/robot/send?access_token=abc&x=1&sign=q", {
            "https://h/robot/send?access_token=redacted&x=1&sign=redacted"
        });
        check("https://h/?API_KEY=abc#frag", "https://h/?API_KEY=redacted");
        check("no url: pw", "<unreadable url>");
        assert_eq!(origin("https://u:p@hooks.example.com:8443/services/T0/B0/xyz"), "https://hooks.example.com:8443");
    }

    #[test]
    fn a_secret_file_is_trimmed_and_a_missing_one_is_named() {
        let path = std::env::temp_dir().join(format!("brownout-secret-{}", std::process::id()));
        std::fs::write(&path, "  s3cret\n").unwrap();
        assert_eq!(SecretSource::File(path.clone()).read().unwrap().expose(), "s3cret");
        std::fs::remove_file(&path).unwrap();
        let error = SecretSource::File(path.clone()).read().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

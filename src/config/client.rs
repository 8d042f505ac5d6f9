//! The HTTP client that a job or a receiver brings along: Prometheus' `http_config`, `tls_config`, `basic_auth` and
//! `authorization`, field by field.
//!
//! What Prometheus knows and this version cannot do is kept as a refusal, so that the grammar itself says what Prometheus
//! says.

use super::values::{Entries, at_most_one, known_key, pass_over, refuse};
use crate::net::{Secret, TlsVersion};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// A text in the file, or the path of a file with the text.
#[derive(Clone, Debug, Default)]
pub struct SecretField {
    pub inline: Option<Spanned<Secret>>,
    pub file: Option<Spanned<String>>,
}

impl SecretField {
    /// Reads `key` and `key_file`, of which at most one may be there.
    pub fn read(
        fields: &mut Fields<'_>,
        key: &'static str,
        file_key: &'static str,
        docs: [&'static str; 2],
    ) -> SecretField {
        at_most_one(fields, &[key, file_key]);
        let inline: Option<Spanned<Secret>> = fields.optional(key, docs[0]);
        let file: Option<Spanned<String>> = fields.optional(file_key, docs[1]);
        SecretField {
            inline: inline.filter(|secret| !secret.value.expose().is_empty()),
            file: file.filter(|file| !file.value.is_empty()),
        }
    }

    /// Neither of the two.
    pub fn is_empty(&self) -> bool {
        self.inline.is_none() && self.file.is_none()
    }

    /// This one, or where it is empty the other.
    pub fn or(&self, other: &SecretField) -> SecretField {
        if self.is_empty() { other.clone() } else { self.clone() }
    }
}

/// Prometheus' `basic_auth`.
#[derive(Clone, Debug)]
pub struct BasicAuth {
    pub username: String,
    pub password: SecretField,
}

impl Decode for BasicAuth {
    fn decode(at: &mut At<'_>) -> Option<BasicAuth> {
        let mut fields = at.record("basic auth", "A user name and a password, sent with every request.")?;
        at_most_one(&mut fields, &["username", "username_file"]);
        let username: Option<String> = fields.optional("username", "the user");
        if let Some(place) = known_key(&mut fields, "username_file") {
            let help = Some("write the name in `username`; `password_file` keeps the password out".to_owned());
            fields.push(place.error("`username_file` is not supported", help));
        }
        let docs = ["the password", "a file that holds the password; it is read when it is used"];
        let password = SecretField::read(&mut fields, "password", "password_file", docs);
        fields.finish();
        Some(BasicAuth { username: username.unwrap_or_default(), password })
    }
}

/// Prometheus' `authorization`.
#[derive(Clone, Debug)]
pub struct Authorization {
    pub kind: String,
    pub credentials: SecretField,
}

impl Decode for Authorization {
    fn decode(at: &mut At<'_>) -> Option<Authorization> {
        let mut fields = at.record("authorization", "The header `Authorization: <type> <credentials>`.")?;
        let kind: Spanned<String> = fields.or("type", "Bearer", "the scheme");
        if kind.value.eq_ignore_ascii_case("basic") {
            let help = Some("write `basic_auth: {username: ..., password: ...}`".to_owned());
            fields.push(kind.place.error("`type: Basic` has a section of its own", help));
        }
        let docs = ["the token", "a file that holds the token; it is read when it is used"];
        let credentials = SecretField::read(&mut fields, "credentials", "credentials_file", docs);
        fields.finish();
        Some(Authorization { kind: kind.value, credentials })
    }
}

/// A header: Prometheus' `http_headers`.
#[derive(Clone, Debug, Default)]
pub struct HeaderValues {
    pub values: Vec<String>,
    pub secrets: Vec<Secret>,
    pub files: Vec<Spanned<String>>,
}

impl Decode for HeaderValues {
    fn decode(at: &mut At<'_>) -> Option<HeaderValues> {
        let mut fields = at.record("header values", "The values of one header; each is sent.")?;
        let values = fields.or("values", "[]", "values, shown in messages");
        let secrets = fields.or("secrets", "[]", "values that are never shown");
        let files = fields.or("files", "[]", "files that hold one value each");
        fields.finish();
        Some(HeaderValues { values, secrets, files })
    }
}

/// A TLS version, by Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsWord(pub TlsVersion);

impl Decode for TlsWord {
    fn decode(at: &mut At<'_>) -> Option<TlsWord> {
        let words = ["TLS10", "TLS11", "TLS12", "TLS13"];
        let words = words.map(|word| (word, TlsVersion::parse(word).unwrap_or(TlsVersion::Tls12)));
        at.one_of(&words).map(TlsWord)
    }
}

/// Prometheus' `tls_config`.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    pub ca_file: Option<Spanned<String>>,
    pub cert_file: Option<Spanned<String>>,
    pub key_file: Option<Spanned<String>>,
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsWord>,
    pub max_version: Option<TlsWord>,
    pub refused: Vec<Problem>,
}

impl Decode for Tls {
    fn decode(at: &mut At<'_>) -> Option<Tls> {
        let mut fields = at.record("tls config", "How a TLS connection is made and checked.")?;
        let ca_file = fields.optional("ca_file", "the authorities to trust (PEM), instead of the system's");
        let cert_file = fields.optional("cert_file", "our certificate (PEM); goes with `key_file`");
        let key_file = fields.optional("key_file", "the key of `cert_file` (PEM)");
        let server_name = fields.optional("server_name", "the name that the certificate must have, if not the host's");
        let insecure_skip_verify = fields.or(
            "insecure_skip_verify",
            "false",
            "true: accept any certificate; then anybody can be the other end",
        );
        let min_version = fields.optional("min_version", "the oldest TLS to speak; older than TLS12 is never spoken");
        let max_version = fields.optional("max_version", "the newest TLS to speak");
        if fields.has("cert_file") != fields.has("key_file") {
            let (there, missing) =
                if fields.has("cert_file") { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
            let help = Some(format!("add `{missing}`, or remove `{there}`"));
            fields.problem(there, format!("`{there}` without `{missing}`"), help);
        }
        let mut refused = Vec::new();
        let help = "put the PEM text in a file and name it with `ca_file`, `cert_file` or `key_file`";
        refuse(
            &mut fields,
            &["ca", "cert", "key"],
            "`{}` inside the configuration is not supported",
            help,
            &mut refused,
        );
        fields.finish();
        Some(Tls { ca_file, cert_file, key_file, server_name, insecure_skip_verify, min_version, max_version, refused })
    }
}

/// Prometheus' `oauth2`: the grant of client credentials.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: SecretField,
    pub scopes: Vec<String>,
    pub token_url: Spanned<String>,
    pub endpoint_params: Entries<String>,
    pub proxy_url: Option<Spanned<Secret>>,
    pub tls: Tls,
    pub refused: Vec<Problem>,
}

impl Decode for OAuth2 {
    fn decode(at: &mut At<'_>) -> Option<OAuth2> {
        let mut fields = at
            .record("oauth2", "Tokens by OAuth 2.0's client credentials; each is used until shortly before its end.")?;
        let client_id = fields.required("client_id", "who we are");
        let docs = ["the client's secret", "a file that holds the secret; it is read for each token"];
        let client_secret = SecretField::read(&mut fields, "client_secret", "client_secret_file", docs);
        let scopes = fields.or("scopes", "[]", "what the token is to be good for");
        let token_url = fields.required("token_url", "where tokens are");
        let endpoint_params = fields.or("endpoint_params", "{}", "further fields of the form that asks for a token");
        let proxy_url = fields.optional("proxy_url", "the proxy for these requests");
        let tls: Option<Tls> = fields.optional("tls_config", "TLS to the server of tokens");
        let mut refused = Vec::new();
        refuse_proxies(&mut fields, &mut refused);
        fields.finish();
        let tls = tls.unwrap_or_default();
        Some(OAuth2 {
            client_id: client_id?,
            client_secret,
            scopes,
            token_url: token_url?,
            endpoint_params,
            proxy_url,
            tls,
            refused,
        })
    }
}

fn refuse_proxies(fields: &mut Fields<'_>, refused: &mut Vec<Problem>) {
    let help = "give `proxy_url` to the jobs that need a proxy";
    let keys = ["no_proxy", "proxy_from_environment"];
    refuse(fields, &keys, "`{}` is not supported in this version", help, refused);
}

/// Prometheus' HTTP client settings: a section `http_config`, or fields of a job itself.
#[derive(Clone, Debug)]
pub struct Client {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<Spanned<OAuth2>>,
    pub bearer: SecretField,
    pub follow_redirects: bool,
    pub proxy_url: Option<Spanned<Secret>>,
    pub proxy_connect_header: Entries<Vec<Secret>>,
    pub headers: Entries<HeaderValues>,
    pub tls: Tls,
    pub refused: Vec<Problem>,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer: SecretField::default(),
            follow_redirects: true,
            proxy_url: None,
            proxy_connect_header: Entries::default(),
            headers: Entries::default(),
            tls: Tls::default(),
            refused: Vec::new(),
        }
    }
}

impl Client {
    /// Reads the fields of a client among the others of a section.
    pub fn read(fields: &mut Fields<'_>) -> Client {
        at_most_one(fields, &["basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"]);
        let basic_auth = fields.optional("basic_auth", "a user name and a password");
        let authorization = fields.optional("authorization", "a token");
        let oauth2 = fields.optional("oauth2", "tokens that a server gives for a name and a secret");
        let docs = ["older spelling of `authorization`", "older spelling of `authorization` with `credentials_file`"];
        let bearer = SecretField {
            inline: fields.optional("bearer_token", docs[0]),
            file: fields.optional("bearer_token_file", docs[1]),
        };
        let follow_redirects = fields.or("follow_redirects", "true", "whether redirects (3xx) are followed");
        pass_over(fields, &["enable_http2"]);
        let proxy_url = fields.optional("proxy_url", "the proxy for all requests; the environment's is never used");
        let proxy_connect_header = fields.or(
            "proxy_connect_header",
            "{}",
            "headers for the proxy's CONNECT, each with its values; only for probes",
        );
        let headers = fields.or("http_headers", "{}", "further headers");
        let tls: Option<Tls> = fields.optional("tls_config", "TLS");
        let mut refused = Vec::new();
        refuse_proxies(fields, &mut refused);
        Client {
            basic_auth,
            authorization,
            oauth2,
            bearer,
            follow_redirects,
            proxy_url,
            proxy_connect_header,
            headers,
            tls: tls.unwrap_or_default(),
            refused,
        }
    }
}

impl Decode for Client {
    fn decode(at: &mut At<'_>) -> Option<Client> {
        let mut fields = at.record("http config", "How requests are made.")?;
        let client = Client::read(&mut fields);
        fields.finish();
        Some(client)
    }
}

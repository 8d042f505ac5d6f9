//! One HTTP exchange with a service: a request, and what became of it.
//!
//! The client is kept while it works, and built anew after a failure, so that changed certificates and passwords are read;
//! but not more often than every [`limits::CLIENT_AGE`] ([`limits::CLIENT_AGE_WITHOUT_FILES`] where the settings name no
//! file), and one at a time in the whole process: it reads the system's authorities, which takes the time of many messages, and
//! others must not wait for a hundred failures. A status alone often decides; where a service answers 200 with an error in the body, the body is read too, up to a limit.
//! Messages about failures show a URL's origin only: with most services the path is the secret.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use super::outcome::Outcome;
use super::render;
use crate::limits;
use crate::net::{self, HttpSettings, SecretSource};
use crate::time::{Stopwatch, Timestamp};

/// How long an error's body is waited for: it only makes the message better.
const BODY_TIME: Duration = Duration::from_secs(2);

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Statuses that mean "later" with this service alone, besides 408, 425, 429 and 5xx.
    pub later: &'static [u16],
}

impl Request {
    /// A POST of JSON.
    pub fn json(url: impl Into<String>, body: &serde_json::Value) -> Request {
        Request {
            method: Method::POST,
            url: url.into(),
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            later: &[],
        }
    }

    /// A POST of a form.
    pub fn form(url: impl Into<String>, fields: &[(impl AsRef<str>, impl AsRef<str>)]) -> Request {
        // The one encoder of forms at hand is that of a URL's query.
        let encoded = Url::parse_with_params("http://form.invalid/", fields).ok();
        let encoded = encoded.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default();
        Request {
            method: Method::POST,
            url: url.into(),
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: encoded.into_bytes(),
            later: &[],
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Request {
        Request { method: Method::GET, url: url.into(), headers: Vec::new(), body: Vec::new(), later: &[] }
    }

    /// The same with another method.
    pub fn by(mut self, method: Method) -> Request {
        self.method = method;
        self
    }

    /// With a further header; control characters do not get into it.
    pub fn header(mut self, name: &'static str, value: &str) -> Request {
        self.headers.push((name, render::one_line(value)));
        self
    }
}

/// A successful answer with its body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub body: Vec<u8>,
    pub is_json: bool,
}

impl Answer {
    /// The body as JSON; what is none is tried again later, as something else than the service has answered.
    pub fn json(&self) -> Result<serde_json::Value, Outcome> {
        serde_json::from_slice(&self.body).map_err(|_| Outcome::retry(format!("answered {:?}, not JSON", self.said())))
    }

    /// The beginning of the body, for messages.
    pub fn said(&self) -> String {
        said(&self.body)
    }
}

fn said(body: &[u8]) -> String {
    render::shortened(&render::one_line(&String::from_utf8_lossy(body)), limits::REPLY_CHARS)
}

/// Where requests of one integration go through.
#[derive(Debug)]
pub(super) struct Exchange {
    http: HttpSettings,
    /// How old a client is at least when it is built anew.
    age: Duration,
    client: Mutex<Option<Kept>>,
}

/// A client and its age.
#[derive(Debug)]
struct Kept {
    client: net::Client,
    built: Stopwatch,
    /// A request failed since: its files may have changed.
    failed: bool,
}

/// Clients are built one at a time.
static BUILDING: Semaphore = Semaphore::const_new(1);

impl Exchange {
    /// `timeout` is for one request with its answer, and never more than [`limits::DELIVERY_TIME`].
    pub fn new(http: &HttpSettings, timeout: Option<Duration>) -> Exchange {
        let mut http = http.clone();
        let most = timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(limits::DELIVERY_TIME);
        http.timeout = Some(most.min(limits::DELIVERY_TIME));
        let age = if names_files(&http) { limits::CLIENT_AGE } else { limits::CLIENT_AGE_WITHOUT_FILES };
        Exchange { http, age, client: Mutex::new(None) }
    }

    /// Sends; a 2xx counts as soon as its head is there.
    pub async fn post(&self, request: Request, now: Timestamp) -> Result<(), Outcome> {
        self.head(request, now).await.map(drop)
    }

    /// Sends and reads the answer's body.
    pub async fn ask(&self, request: Request, now: Timestamp) -> Result<Answer, Outcome> {
        let response = self.head(request, now).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|text| text.to_str().ok());
        let is_json = content_type.is_some_and(|text| text.starts_with("application/json"));
        match net::read_capped(response, limits::WEBHOOK_REPLY_BYTES).await {
            Ok(body) => Ok(Answer { body: body.to_vec(), is_json }),
            Err(error) => {
                self.forget();
                Err(Outcome::retry(format!("answered 200, and whether it took the message is not known: {error}")))
            }
        }
    }

    /// After a failure: a later request builds the client from files as they are then.
    fn forget(&self) {
        if let Some(kept) = self.kept().as_mut() {
            kept.failed = true;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, unless it failed and is old enough to be built anew.
    fn usable(&self) -> Option<net::Client> {
        let kept = self.kept();
        let kept = kept.as_ref().filter(|kept| !kept.failed || kept.built.elapsed() < self.age)?;
        Some(kept.client.clone())
    }

    async fn head(&self, request: Request, now: Timestamp) -> Result<Response, Outcome> {
        let later = request.later;
        let response = match self.send(request).await {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) => response,
            Err(outcome) => {
                self.forget();
                return Err(outcome);
            }
        };
        self.forget();
        Err(judge(response, later, now).await)
    }

    async fn send(&self, request: Request) -> Result<Response, Outcome> {
        let url = self.destination(&request.url)?;
        let client = self.client().await.map_err(|error| Outcome::retry(error.to_string()))?;
        let sent = client.send(|client| {
            let builder = client.request(request.method, url).body(request.body);
            request.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value))
        });
        sent.await.map_err(|problem| Outcome::retry(format!("post to {}: {problem}", net::origin(&request.url))))
    }

    fn destination(&self, text: &str) -> Result<Url, Outcome> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| Outcome::retry("the URL is none: write http:// or https:// and a host"))?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let local = host.parse::<IpAddr>().is_ok_and(net::is_link_local);
        if local && self.http.refuse_link_local {
            return Err(Outcome::refused(format!("{host} is a link-local address, which is refused")));
        }
        Ok(url)
    }

    async fn client(&self) -> Result<net::Client, net::NetError> {
        if let Some(client) = self.usable() {
            return Ok(client);
        }
        let broken = || net::NetError::Setting("the HTTP client's set-up broke off".to_owned());
        let _turn = BUILDING.acquire().await.map_err(|_| broken())?;
        // Another delivery may have built it meanwhile.
        if let Some(client) = self.usable() {
            return Ok(client);
        }
        let settings = self.http.clone();
        let client = tokio::task::spawn_blocking(move || net::client(&settings)).await.map_err(|_| broken())??;
        *self.kept() = Some(Kept { client: client.clone(), built: Stopwatch::start(), failed: false });
        Ok(client)
    }
}

/// Whether a client built anew could read something else.
fn names_files(http: &HttpSettings) -> bool {
    let is_file = |source: &SecretSource| matches!(source, SecretSource::File(_));
    let tls = &http.tls;
    tls.ca_file.is_some()
        || tls.cert_file.is_some()
        || http.basic_auth.as_ref().is_some_and(|basic| basic.password.as_ref().is_some_and(is_file))
        || http.authorization.as_ref().is_some_and(|given| is_file(&given.credentials))
        || http.oauth2.as_ref().is_some_and(|oauth2| oauth2.tls.ca_file.is_some() || oauth2.tls.cert_file.is_some())
        || http.headers.iter().any(|(_, value)| is_file(value))
}

async fn judge(response: Response, further: &[u16], now: Timestamp) -> Outcome {
    let status = response.status();
    let after = retry_after(response.headers(), now);
    let body = tokio::time::timeout(BODY_TIME, net::read_capped(response, limits::WEBHOOK_REPLY_BYTES)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    // Telegram and Discord say it in the body alone.
    let after = after.or_else(|| retry_after_in(&body));
    let said = said(&body);
    let reason = if said.is_empty() { format!("answered {status}") } else { format!("answered {status}: {said}") };
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || later.contains(&status) || further.contains(&status.as_u16()) {
        return Outcome::retry_code(reason, status.as_u16(), after);
    }
    if status.is_redirection() {
        return Outcome::refused(format!("{reason} (redirects are not followed: write the final URL)"));
    }
    Outcome::refused(reason)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()).since(now))
}

/// `retry_after` (seconds) in a JSON body, at the top (Discord) or in `parameters` (Telegram).
fn retry_after_in(body: &[u8]) -> Option<Duration> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let seconds = value["retry_after"].as_f64().or_else(|| value["parameters"]["retry_after"].as_f64())?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_reads_files_is_built_anew_sooner() {
        let check = |change: &dyn Fn(&mut HttpSettings), expected: bool| {
            let mut http = HttpSettings::default();
            change(&mut http);
            assert_eq!(names_files(&http), expected, "{http:?}");
            let age = Exchange::new(&http, None).age;
            assert_eq!(age == limits::CLIENT_AGE, expected);
        };
        let file = || SecretSource::File("/x".into());
        check(&|_| {}, false);
        check(&|http| http.headers = vec![("a".to_owned(), SecretSource::Inline("b".into()))], false);
        check(&|http| http.headers = vec![("a".to_owned(), file())], true);
        check(&|http| http.tls.ca_file = Some("/x".into()), true);
        check(&|http| http.tls.cert_file = Some("/x".into()), true);
        check(&|http| http.basic_auth = Some(net::BasicAuth { username: String::new(), password: Some(file()) }), true);
        let bearer = || Some(net::Authorization { kind: "Bearer".to_owned(), credentials: file() });
        check(&|http| http.authorization = bearer(), true);
    }

    #[test]
    fn the_wait_that_is_asked_for_can_be_in_the_body() {
        let check = |body: &str, millis: Option<u64>| {
            assert_eq!(retry_after_in(body.as_bytes()), millis.map(Duration::from_millis), "{body}");
        };
        check(r#"{"message":"rate limited","retry_after":1.5,"global":false}"#, Some(1_500));
        check(r#"{"ok":false,"error_code":429,"parameters":{"retry_after":7}}"#, Some(7_000));
        check(r#"{"retry_after":-1}"#, None);
        check("oh", None);
    }
}

//! The daemon, asked over HTTP.

use std::time::Duration;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::env;
use super::events::Events;
use super::failure::Failure;
use crate::limits;
use crate::net::{self, HttpSettings};
use crate::promql::{ParseError, Span};

/// Where a daemon listens when nobody says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:9797";

/// Which daemon to ask.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServerArgs {
    /// The daemon to ask: its address, by default http://127.0.0.1:9797 or $BROWNOUT_SERVER
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// A daemon.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    base: Url,
    http: reqwest::Client,
}

/// What a daemon answered.
struct Answered {
    code: u16,
    body: String,
}

impl Daemon {
    /// The daemon that the arguments or the environment name.
    pub(super) fn of(args: &ServerArgs) -> Result<Daemon, Failure> {
        let server = args.server.clone().or_else(env::server).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        Daemon::at(&server)
    }

    /// The daemon at this address; `http://` may be left out.
    pub(super) fn at(server: &str) -> Result<Daemon, Failure> {
        let whole = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let wrong = || Failure::Usage(format!("{server:?} is no address of a daemon: write it as {DEFAULT_SERVER}"));
        let base = Url::parse(&whole).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong());
        }
        let http = net::plain_client(&HttpSettings::default()).map_err(|error| Failure::said(error.to_string()))?;
        Ok(Daemon { base, http })
    }

    /// The address, for people: without a password in it.
    pub(super) fn address(&self) -> String {
        net::origin(self.base.as_str())
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answered, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let code = response.status().as_u16();
        let body = net::read_capped(response, limits::CLI_ANSWER_BYTES).await;
        let body = body.map_err(|error| Failure::said(format!("the answer of {}: {error}", self.address())))?;
        Ok(Answered { code, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let address = self.address();
        if error.is_timeout() {
            return Failure::said(format!("{address} does not answer: it took the connection and then said nothing"));
        }
        let why = causes(error);
        if !error.is_connect() {
            return Failure::said(format!("{address} breaks off: {why}"));
        }
        let hint = "start it with `brownout run`, or say where it is with --server or $BROWNOUT_SERVER";
        if why.contains("refused") {
            return Failure::said(format!("nothing answers at {address}: {hint}"));
        }
        Failure::said(format!("nothing answers at {address} ({why}): {hint}"))
    }

    /// A call's answer as it is: the whole JSON.
    pub(super) async fn json(&self, path: &[&str], parameters: &[(&str, String)]) -> Result<String, Failure> {
        let mut url = self.url(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let answered = self.send(self.http.get(url)).await?;
        self.checked(answered)
    }

    /// The same as a form in the body, for parameters that can be long.
    pub(super) async fn json_of_form(&self, path: &[&str], form: &[(&str, String)]) -> Result<String, Failure> {
        let answered = self.send(self.http.post(self.url(path)).form(form)).await?;
        self.checked(answered)
    }

    /// The same for a question about an expression: an error about a part of it shows that part.
    pub(super) async fn json_of_query(
        &self,
        path: &[&str],
        form: &[(&str, String)],
        expr: &str,
    ) -> Result<String, Failure> {
        let answered = self.send(self.http.post(self.url(path)).form(form)).await?;
        match placed(&answered, expr) {
            Some(shown) => Err(Failure::said(shown)),
            None => self.checked(answered),
        }
    }

    /// What is in the envelope of a call's answer.
    pub(super) async fn data<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<T, Failure> {
        let text = self.json(path, parameters).await?;
        self.read::<Envelope<T>>(&text).map(|envelope| envelope.data)
    }

    /// Everything that the status page shows.
    pub(super) async fn overview(&self) -> Result<super::wire::Overview, Failure> {
        let text = self.json(&["api", "v1", "status", "overview"], &[]).await?;
        self.read(&text)
    }

    /// Wants something changed.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &[&str],
        parameters: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<(), Failure> {
        let mut url = self.url(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answered = self.send(request).await?;
        self.checked(answered).map(drop)
    }

    /// Posts JSON; gives the answer as it is.
    pub(super) async fn post(&self, path: &[&str], body: Value) -> Result<String, Failure> {
        let answered = self.send(self.http.post(self.url(path)).json(&body)).await?;
        self.checked(answered)
    }

    /// A stream of events, after the one with this id.
    pub(super) async fn events(&self, path: &[&str], after: Option<&str>) -> Result<Events, Failure> {
        // It lasts as long as both sides want.
        let mut request = self.http.get(self.url(path)).timeout(Duration::from_secs(365 * 24 * 3600));
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().as_u16() != 200 {
            let code = response.status().as_u16();
            return Err(Failure::said(format!("{} answers with code {code}", self.address())));
        }
        Ok(Events::of(response))
    }

    /// A plain text; `None` when there is nothing of that name.
    pub(super) async fn text(&self, path: &[&str]) -> Result<Option<String>, Failure> {
        let answered = self.send(self.http.get(self.url(path))).await?;
        match answered.code {
            404 => Ok(None),
            200 => Ok(Some(answered.body)),
            _ => self.checked(answered).map(Some),
        }
    }

    fn checked(&self, answered: Answered) -> Result<String, Failure> {
        if (200..300).contains(&answered.code) {
            return Ok(answered.body);
        }
        let said = serde_json::from_str::<Value>(&answered.body).ok();
        // Alertmanager's API says it as a text alone, or in a field of its own.
        let said = said.and_then(|body| {
            let said = body.as_str().or_else(|| body.get("error")?.as_str()).or_else(|| body.get("message")?.as_str());
            said.map(str::to_owned)
        });
        Err(Failure::said(match said {
            Some(message) => message,
            None if answered.body.trim().is_empty() || answered.body.trim_start().starts_with('<') => {
                format!("{} answers with code {}: is it a brownout daemon?", self.address(), answered.code)
            }
            None => {
                let beginning: String = answered.body.trim().chars().take(300).collect();
                format!("{} answers with code {}: {beginning}", self.address(), answered.code)
            }
        }))
    }

    /// Reads JSON of a daemon.
    pub(super) fn read<T: DeserializeOwned>(&self, json: &str) -> Result<T, Failure> {
        serde_json::from_str(json).map_err(|error| {
            Failure::said(format!("cannot read the answer of {}, is it a brownout daemon? {error}", self.address()))
        })
    }
}

/// An error with a place in the expression, as several lines with a caret. Other servers than ours give no place.
fn placed(answered: &Answered, expr: &str) -> Option<String> {
    let body: Value = serde_json::from_str(&answered.body).ok()?;
    let offset = |key: &str| body["position"][key].as_u64().and_then(|at| u32::try_from(at).ok());
    let span = Span { start: offset("start")?, end: offset("end")? };
    let message = body["error"].as_str()?.to_owned();
    let help = body["help"].as_str().map(str::to_owned);
    let error = ParseError { span, message, help };
    Some(format!("the expression cannot be evaluated\n{}", error.render(expr)))
}

#[derive(serde::Deserialize)]
struct Envelope<T> {
    data: T,
}

/// Why a request failed. The outermost error only repeats the URL, which may hold a password.
fn causes(error: &reqwest::Error) -> String {
    std::error::Error::source(error).map_or_else(|| "the request failed".to_owned(), net::describe)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    /// A server that gives one answer to the first request.
    fn answering(answer: &'static str) -> (Daemon, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let daemon = Daemon::at(&listener.local_addr().expect("an address").to_string()).expect("an address");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 4096];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("sent");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (daemon, served)
    }

    #[test]
    fn a_daemon_that_is_not_there_is_said_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let daemon = Daemon::at(&format!("http://me:secret@{address}")).expect("an address");
        let error = block_on(daemon.overview()).expect_err("nothing there").to_string();
        assert_eq!(
            error,
            format!(
                "nothing answers at http://{address}: start it with `brownout run`, or say where it is with --server \
                 or $BROWNOUT_SERVER"
            )
        );
    }

    #[test]
    fn addresses_are_taken_without_a_scheme_and_refused_without_a_host() {
        for (text, shown) in [("10.0.0.1:9797", "http://10.0.0.1:9797"), ("https://x/", "https://x")] {
            assert_eq!(Daemon::at(text).expect(text).address(), shown);
        }
        for text in ["", "ftp://x", "http://", "a b"] {
            assert!(matches!(Daemon::at(text), Err(Failure::Usage(_))), "{text}");
        }
    }

    #[test]
    fn names_are_escaped_in_paths_and_errors_of_the_daemon_are_shown() {
        let (daemon, served) = answering(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 56\r\n\r\n{\"status\":\"error\",\"error\":\"there is no switch `a/b ?`\"}  ",
        );
        let error = block_on(daemon.data::<Value>(&["api", "v1", "switches", "a/b ?"], &[])).expect_err("not found");
        assert_eq!(error.to_string(), "there is no switch `a/b ?`");
        let request = served.join().expect("served");
        assert!(request.starts_with("GET /api/v1/switches/a%2Fb%20%3F HTTP/1.1"), "{request}");
    }

    #[test]
    fn an_error_of_the_evaluation_shows_its_place() {
        let body = r#"{"status":"error","errorType":"execution","error":"it is wrong","position":{"start":4,"end":6}}"#;
        let answered = Answered { code: 422, body: body.to_owned() };
        let shown = placed(&answered, "a + bc").expect("a place");
        assert!(shown.ends_with("1:5: it is wrong\n  |\n1 | a + bc\n  |     ^^"), "{shown}");
        let elsewhere = Answered { code: 422, body: r#"{"status":"error","error":"it is wrong"}"#.to_owned() };
        assert_eq!(placed(&elsewhere, "a + bc"), None);
    }

    #[test]
    fn another_kind_of_server_is_noticed() {
        let (daemon, served) = answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>");
        let error = block_on(daemon.overview()).expect_err("no daemon").to_string();
        assert!(error.contains("is it a brownout daemon?"), "{error}");
        served.join().expect("served");
    }
}

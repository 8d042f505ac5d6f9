//! The `http` prober: its own path (look up, connect, TLS, request, body), because it is the phases that are asked for.
//!
//! As blackbox_exporter: the first request goes to the one chosen address; redirects are followed, each hop adding to
//! the phases; the checks look at the last answer.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, SET_COOKIE, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::task::JoinSet;

use super::certs;
use super::check::{ReadyHeader, ReadyHttp};
use super::dial::{Stream, Tools, connect};
use super::proxy;
use super::settings::{Compression, ProbeTarget};
use super::sheet::{Failed, Sheet};
use crate::limits;
use crate::net::{self, SecretSource};

mod body;

const PHASES: &str = "probe_http_duration_seconds";

/// Everything that stays the same from hop to hop.
struct Probe<'a> {
    tools: &'a Tools,
    http: &'a ReadyHttp,
    /// The target's host, which credentials are for.
    origin: String,
    host_header: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the next request is.
struct Hop {
    url: Url,
    method: Method,
    body: Bytes,
    first: bool,
}

/// An answer whose body is not read yet, with the connection that carries it.
struct Answer {
    response: Response<Incoming>,
    /// When the head was there, on the clock's monotonic scale, in seconds.
    head_at: f64,
    _driver: JoinSet<()>,
}

pub(super) async fn probe_http(
    tools: &Tools,
    http: &ReadyHttp,
    target: &ProbeTarget,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    for phase in ["connect", "processing", "resolve", "tls", "transfer"] {
        sheet.set_with(PHASES, &[("phase", phase)], 0.0);
    }
    for family in [
        "probe_http_content_length",
        "probe_http_uncompressed_body_length",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_version",
        "probe_failed_due_to_regex",
    ] {
        sheet.set(family, 0.0);
    }
    let address = &target.address;
    let has_scheme = address.starts_with("http://") || address.starts_with("https://");
    let text = if has_scheme { address.clone() } else { format!("http://{address}") };
    let url = Url::parse(&text).ok().filter(Url::has_host);
    let url = url.ok_or_else(|| sheet.fail(format!("{:?} is no URL", net::redact_url(&text))))?;
    let probe = Probe::new(tools, http, &url, target, sheet)?;
    let body = match &http.settings.body_file {
        Some(path) => match std::fs::read(path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return Err(sheet.fail(format!("cannot read the body file {}: {error}", path.display()))),
        },
        None => Bytes::from(http.settings.body.clone()),
    };
    let hop = Hop { url, method: http.method.clone(), body, first: true };
    probe.follow(hop, sheet).await
}

impl<'a> Probe<'a> {
    fn new(
        tools: &'a Tools,
        http: &'a ReadyHttp,
        url: &Url,
        target: &ProbeTarget,
        sheet: &mut Sheet,
    ) -> Result<Probe<'a>, Failed> {
        let secret = |text: &str, sheet: &mut Sheet| {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| sheet.fail("a secret header has characters that a header cannot have"))
        };
        let credentials = net::credentials(&http.settings.client).map_err(|error| sheet.fail(error.to_string()))?;
        let authorization = credentials.map(|text| secret(text.expose(), sheet)).transpose()?;
        let mut headers = http.headers.clone();
        for (name, source) in &http.settings.client.headers {
            let text = SecretSource::read(source).map_err(|error| sheet.fail(error.to_string()))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| sheet.fail("a header's name is wrong"))?;
            headers.push((name, secret(text.expose(), sheet)?));
        }
        let host = headers.iter().find(|(name, _)| name == HOST).map(|(_, value)| value.clone());
        let host_header = match &target.hostname {
            Some(name) => HeaderValue::from_str(name).ok().or(host),
            None => host,
        };
        headers.retain(|(name, _)| name != HOST);
        let origin = url.host_str().unwrap_or_default().to_owned();
        Ok(Probe { tools, http, origin, host_header, authorization, headers })
    }

    /// Sends requests until an answer is none that leads on, then checks that answer.
    async fn follow(&self, mut hop: Hop, sheet: &mut Sheet) -> Result<(), Failed> {
        let mut redirects = 0;
        let mut cookies = Vec::new();
        loop {
            let secure = hop.url.scheme() == "https";
            let answer = self.request(&hop, &cookies, sheet).await?;
            let Some(location) = next_location(&hop.url, &answer.response) else {
                return self.judge(answer, secure, true, sheet).await;
            };
            redirects += 1;
            sheet.set("probe_http_redirects", f64::from(redirects));
            let follows = self.http.settings.client.follow_redirects && redirects <= limits::PROBE_REDIRECTS as u32;
            if !follows {
                sheet.say("the redirect is not followed");
                return self.judge(answer, secure, false, sheet).await;
            }
            let location = location.map_err(|text| sheet.fail(format!("redirect to {text:?}, which is no URL")))?;
            if location.scheme() != "http" && location.scheme() != "https" {
                return Err(sheet.fail(format!("redirect to the scheme {}", location.scheme())));
            }
            keep_cookies(&hop.url, &answer.response, &mut cookies);
            let status = answer.response.status().as_u16();
            let (method, body) = match status {
                307 | 308 => (hop.method, hop.body),
                _ if hop.method == Method::HEAD => (Method::HEAD, Bytes::new()),
                _ => (Method::GET, Bytes::new()),
            };
            sheet.say(format!("redirect {status} to {}", net::redact_url(location.as_str())));
            hop = Hop { url: location, method, body, first: false };
        }
    }

    async fn request(&self, hop: &Hop, cookies: &[Cookie], sheet: &mut Sheet) -> Result<Answer, Failed> {
        let now = || self.tools.clock.elapsed().as_secs_f64();
        let phase = |sheet: &mut Sheet, name: &str, amount: f64| sheet.add_with(PHASES, &[("phase", name)], amount);
        let host = hop.url.host_str().unwrap_or_default().to_owned();
        let port = hop.url.port_or_known_default().unwrap_or(80);
        let address = self.address(hop, &host, sheet).await?;
        let start = now();
        let (stream, relative) = self.open(hop, &host, address, port, sheet).await?;
        phase(sheet, "connect", now() - start);
        let stream: Box<dyn Stream> = if hop.url.scheme() == "https" {
            let start = now();
            let tls = &self.http.settings.client.tls;
            let own = tls.server_name.clone().or_else(|| self.host_name()).filter(|_| hop.first);
            let secure = self.tools.start_tls(tls, own.as_deref().unwrap_or(&host), stream, sheet).await?;
            phase(sheet, "tls", now() - start);
            certs::note(secure.get_ref().1, !tls.insecure_skip_verify, true, sheet);
            Box::new(secure)
        } else {
            Box::new(stream)
        };
        let start = now();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| sheet.fail(net::describe(&error)))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // The request reports what goes wrong with the connection.
            let _ = connection.await;
        });
        let request = self.build(hop, &host, relative, cookies).map_err(|problem| sheet.fail(problem))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| sheet.fail(format!("request: {}", net::describe(&error))))?;
        phase(sheet, "processing", now() - start);
        sheet.say(format!("received {:?} {}", response.version(), response.status()));
        Ok(Answer { response, head_at: now(), _driver: driver })
    }

    /// The address of the hop's host; the first one is noted as blackbox_exporter does.
    async fn address(&self, hop: &Hop, host: &str, sheet: &mut Sheet) -> Result<Option<std::net::IpAddr>, Failed> {
        let settings = &self.http.settings;
        if self.http.proxy.is_some() && settings.skip_resolve_phase_with_proxy {
            return Ok(None);
        }
        if hop.first {
            let (ip, took) = self.tools.choose(settings.ip, host, sheet).await?;
            sheet.add_with(PHASES, &[("phase", "resolve")], took);
            return Ok(Some(ip));
        }
        let start = self.tools.clock.elapsed();
        let found = self.tools.lookup(settings.ip, host).await;
        let took = (self.tools.clock.elapsed() - start).as_secs_f64();
        sheet.add_with(PHASES, &[("phase", "resolve")], took);
        found.map(Some).map_err(|problem| sheet.fail(problem))
    }

    /// A connection to the host or the proxy, and whether requests on it name the path only.
    async fn open(
        &self,
        hop: &Hop,
        host: &str,
        address: Option<std::net::IpAddr>,
        port: u16,
        sheet: &mut Sheet,
    ) -> Result<(tokio::net::TcpStream, bool), Failed> {
        let Some(through) = &self.http.proxy else {
            let Some(address) = address else { return Err(sheet.fail("the host was not looked up")) };
            return Ok((connect(SocketAddr::new(address, port), None, sheet).await?, true));
        };
        let proxy_host = through.host().unwrap_or_default();
        let found = self.tools.lookup(self.http.settings.ip, proxy_host).await;
        let ip = found.map_err(|problem| sheet.fail(problem))?;
        let mut stream = connect(SocketAddr::new(ip, through.port_u16().unwrap_or(80)), None, sheet).await?;
        if hop.url.scheme() == "http" {
            return Ok((stream, false));
        }
        let authority = match address {
            Some(ip) => SocketAddr::new(ip, port).to_string(),
            None => format!("{host}:{port}"),
        };
        let headers = &self.http.settings.proxy_connect_header;
        let credentials = proxy::credentials(through);
        proxy::tunnel(&mut stream, &authority, headers, credentials.as_deref(), sheet).await?;
        Ok((stream, true))
    }

    /// The name in the `Host` header that is set, without a port: TLS is for that name then.
    fn host_name(&self) -> Option<String> {
        let host = self.host_header.as_ref()?.to_str().ok()?;
        Some(host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned())
    }

    fn build(&self, hop: &Hop, host: &str, relative: bool, cookies: &[Cookie]) -> Result<Request<Full<Bytes>>, String> {
        let path = path_and_query(&hop.url);
        let authority = match hop.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let uri = if relative { path } else { format!("http://{authority}{path}") };
        let mut request = Request::builder().method(hop.method.clone()).uri(uri);
        let own_host = self.host_header.clone().filter(|_| hop.first);
        let host_value = match own_host {
            Some(value) => value,
            None => HeaderValue::from_str(&authority).map_err(|error| error.to_string())?,
        };
        request = request.header(HOST, host_value).header(CONNECTION, "close");
        if !self.headers.iter().any(|(name, _)| name == USER_AGENT) {
            request = request.header(USER_AGENT, net::USER_AGENT);
        }
        // What another host must not learn stays behind on a redirect.
        let same_host = host == self.origin;
        let private = |name: &HeaderName| *name == AUTHORIZATION || *name == COOKIE;
        for (name, value) in self.headers.iter().filter(|(name, _)| same_host || !private(name)) {
            request = request.header(name, value);
        }
        if let Some(value) = self.authorization.as_ref().filter(|_| same_host) {
            request = request.header(AUTHORIZATION, value);
        }
        if !relative && let Some(value) = self.http.proxy.as_ref().and_then(proxy::credentials) {
            request = request.header("proxy-authorization", value);
        }
        let mine: Vec<String> = cookies.iter().filter(|it| it.host == host).map(|it| it.pair.clone()).collect();
        if !mine.is_empty() {
            request = request.header(COOKIE, mine.join("; "));
        }
        request.body(Full::new(hop.body.clone())).map_err(|error| error.to_string())
    }

    /// Checks the last answer and reads its body (not that of a redirect that is not followed).
    async fn judge(&self, answer: Answer, secure: bool, read: bool, sheet: &mut Sheet) -> Result<(), Failed> {
        let settings = &self.http.settings;
        let Answer { response, head_at, _driver } = answer;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let length = head.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
        let no_body = if body.is_end_stream() { 0.0 } else { -1.0 };
        sheet.set("probe_http_status_code", f64::from(status));
        sheet.set("probe_http_content_length", length.unwrap_or(no_body));
        sheet.set("probe_http_ssl", f64::from(u8::from(secure)));
        sheet.set("probe_http_version", if head.version == hyper::Version::HTTP_10 { 1.0 } else { 1.1 });
        if let Some(at) = head.headers.get("last-modified").and_then(|value| http_date(value.to_str().ok()?)) {
            sheet.set("probe_http_last_modified_timestamp_seconds", at);
        }
        let codes = &settings.valid_status_codes;
        let mut good = if codes.is_empty() { head.status.is_success() } else { codes.contains(&status) };
        if !good {
            sheet.say(format!("the status {status} is not one of the valid ones"));
        }
        if good && !self.headers_good(&head.headers, sheet) {
            sheet.set("probe_failed_due_to_regex", 1.0);
            good = false;
        }
        if read {
            let whole = body::read(body, self.http, good, sheet).await;
            let took = self.tools.clock.elapsed().as_secs_f64() - head_at;
            sheet.add_with(PHASES, &[("phase", "transfer")], took);
            good &= whole.is_ok();
        }
        let version = format!("{:?}", head.version);
        if !settings.valid_http_versions.is_empty() && !settings.valid_http_versions.contains(&version) {
            sheet.say(format!("{version} is not one of the valid versions"));
            good = false;
        }
        if secure && settings.fail_if_ssl {
            sheet.say("the final request went over TLS");
            good = false;
        }
        if !secure && settings.fail_if_not_ssl {
            sheet.say("the final request did not go over TLS");
            good = false;
        }
        if good { Ok(()) } else { Err(Failed) }
    }

    fn headers_good(&self, headers: &hyper::HeaderMap, sheet: &mut Sheet) -> bool {
        let values = |check: &ReadyHeader| headers.get_all(&check.name).iter().map(HeaderValue::as_bytes).collect();
        for check in &self.http.header_bad {
            let values: Vec<&[u8]> = values(check);
            if values.is_empty() && !check.allow_missing {
                sheet.say(format!("the header {} is missing", check.name));
                return false;
            }
            if values.iter().any(|value| check.regex.is_match(value)) {
                sheet.say(format!("the header {} matches {}", check.name, check.regex));
                return false;
            }
        }
        for check in &self.http.header_good {
            let values: Vec<&[u8]> = values(check);
            if values.is_empty() && !check.allow_missing {
                sheet.say(format!("the header {} is missing", check.name));
                return false;
            }
            if !values.is_empty() && !values.iter().any(|value| check.regex.is_match(value)) {
                sheet.say(format!("the header {} does not match {}", check.name, check.regex));
                return false;
            }
        }
        true
    }
}

/// A cookie of an earlier hop; it goes back to its host only.
struct Cookie {
    host: String,
    pair: String,
}

fn keep_cookies(url: &Url, response: &Response<Incoming>, cookies: &mut Vec<Cookie>) {
    let host = url.host_str().unwrap_or_default();
    for value in response.headers().get_all(SET_COOKIE) {
        let pair = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        let Some((name, _)) = pair.split_once('=') else { continue };
        let prefix = format!("{name}=");
        cookies.retain(|old| old.host != host || !old.pair.starts_with(&prefix));
        if cookies.len() < limits::PROBE_REDIRECTS * 4 {
            cookies.push(Cookie { host: host.to_owned(), pair: pair.to_owned() });
        }
    }
}

/// Where an answer leads on to: `None` when it does not, an error when its `Location` is no URL.
fn next_location(from: &Url, response: &Response<Incoming>) -> Option<Result<Url, String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let text = String::from_utf8_lossy(location.as_bytes()).into_owned();
    let next = from.join(&text).ok().filter(Url::has_host);
    Some(next.ok_or(text))
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Reads a date header, as seconds since the epoch.
fn http_date(text: &str) -> Option<f64> {
    let stamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(stamp.as_second() as f64)
}

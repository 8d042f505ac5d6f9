//! What every request passes first: who may ask, and what every answer says to browsers.
//!
//! A page of another site must be able neither to read nor to change anything: the `Host` must be one of ours (against
//! DNS rebinding), and a request that changes something must come from our own page or from no page at all. A browser
//! form cannot send the header that changing calls need.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Shared, act};

/// The header that a changing call from a browser must carry; other clients may leave it out.
pub(super) const CHANGE_HEADER: &str = "x-brownout-request";

pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if let Err(refusal) =
        admit(request.method(), request.uri().path(), request.headers(), &shared.about.borrow().allowed_hosts)
    {
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn admit(method: &Method, path: &str, headers: &HeaderMap, allowed: &[String]) -> Result<(), String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    if !host_allowed(host, allowed) {
        let shown: String = host.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(format!(
            "the Host header {shown:?} is not one that this daemon answers to; add it to serve.allowed_hosts\n"
        ));
    }
    // A read is safe, and so are the POSTs that only ask: Prometheus' queries and OFREP.
    // A link of a message carries its own permission, which no other page knows.
    let asks = path.starts_with("/ofrep/")
        || path.starts_with(act::PATH)
        || matches!(
            path,
            "/api/v1/query"
                | "/api/v1/query_range"
                | "/api/v1/query_exemplars"
                | "/api/v1/format_query"
                | "/api/v1/parse_query"
                | "/api/v1/series"
                | "/api/v1/labels"
        );
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || asks {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else { return Ok(()) };
    let own = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if own && headers.contains_key(CHANGE_HEADER) {
        return Ok(());
    }
    Err(format!("a page of another origin may not change anything here (or the header {CHANGE_HEADER} is missing)\n"))
}

/// Loopback names and addresses, any literal IP address, and what the configuration names.
fn host_allowed(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name),
    };
    name.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok()
        || allowed.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, headers: &[(&'static str, &str)], admitted: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = admit(&method, path, &map, &["mon.example".to_owned()]);
        assert_eq!(answer.is_ok(), admitted, "{method} {path} {headers:?}: {answer:?}");
    }

    #[test]
    fn only_hosts_of_ours_are_answered() {
        for (host, admitted) in [
            ("127.0.0.1:9797", true),
            ("localhost:9797", true),
            ("LOCALHOST", true),
            ("[::1]:9797", true),
            ("10.1.2.3", true),
            ("mon.example:9797", true),
            ("evil.example", false),
            ("evil.example:9797", false),
            ("127.0.0.1.evil.example", false),
        ] {
            check("GET", "/", &[("host", host)], admitted);
        }
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let pin = "/api/v1/switches/a/pin";
        let host = ("host", "localhost:1");
        check("POST", pin, &[host], true);
        check("POST", pin, &[host, ("origin", "http://evil.example")], false);
        check("POST", pin, &[host, ("origin", "http://localhost:1")], false);
        check("POST", pin, &[host, ("origin", "http://localhost:1"), (CHANGE_HEADER, "1")], true);
        check("POST", pin, &[host, ("origin", "null"), (CHANGE_HEADER, "1")], false);
        check("POST", "/act/token", &[host, ("origin", "null")], true);
        check("POST", "/act/token", &[("host", "evil.example")], false);
        check("POST", "/api/v1/query", &[host, ("origin", "http://grafana.example")], true);
    }
}

//! From a module's settings to what a probe works with: compiled expressions, valid names. What does not fit is said
//! before the first probe, with the field that is wrong.

use std::str::FromStr as _;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};
use regex::bytes::{Regex, RegexBuilder};

use super::settings::{
    Compression, DnsProbe, HeaderMatch, HttpProbe, IcmpProbe, Module, Prober, RecordChecks, Step, TcpProbe, UnixProbe,
};
use crate::limits;

/// A module that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ModuleError {
    /// The field of the module, for example `http.fail_if_body_matches_regexp`.
    pub field: &'static str,
    pub problem: String,
}

impl Module {
    /// Tells whether the module can work, without probing anything.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), ModuleError> {
        prepare(self).map(drop)
    }
}

/// A module that can work.
#[derive(Debug)]
pub(super) enum Ready {
    Http(Box<ReadyHttp>),
    Tcp(TcpProbe, Vec<ReadyStep>),
    Unix(UnixProbe, Vec<ReadyStep>),
    Icmp(IcmpProbe),
    Dns(Box<ReadyDns>),
}

#[derive(Debug)]
pub(super) struct ReadyHttp {
    pub settings: HttpProbe,
    pub method: Method,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body_bad: Vec<Regex>,
    pub body_good: Vec<Regex>,
    pub header_bad: Vec<ReadyHeader>,
    pub header_good: Vec<ReadyHeader>,
    pub proxy: Option<Uri>,
}

#[derive(Debug)]
pub(super) struct ReadyHeader {
    pub name: HeaderName,
    pub regex: Regex,
    pub allow_missing: bool,
}

#[derive(Debug)]
pub(super) struct ReadyStep {
    pub step: Step,
    pub expect: Option<Regex>,
}

#[derive(Debug)]
pub(super) struct ReadyDns {
    pub settings: DnsProbe,
    pub query: super::dns::Question,
    pub rcodes: Vec<u8>,
    /// Answer, authority, additional.
    pub sections: [ReadySection; 3],
}

#[derive(Debug)]
pub(super) struct ReadySection {
    pub if_matches: Vec<Regex>,
    pub if_all_match: Vec<Regex>,
    pub if_not_matches: Vec<Regex>,
    pub if_none_matches: Vec<Regex>,
}

pub(super) fn prepare(module: &Module) -> Result<Ready, ModuleError> {
    match &module.prober {
        Prober::Http(http) => Ok(Ready::Http(Box::new(prepare_http(http)?))),
        Prober::Tcp(tcp) => Ok(Ready::Tcp(tcp.clone(), steps("tcp.query_response", &tcp.query_response)?)),
        Prober::Unix(unix) => Ok(Ready::Unix(unix.clone(), steps("unix.query_response", &unix.query_response)?)),
        Prober::Icmp(icmp) => Ok(Ready::Icmp(icmp.clone())),
        Prober::Dns(dns) => Ok(Ready::Dns(Box::new(prepare_dns(dns)?))),
    }
}

fn wrong(field: &'static str, problem: impl Into<String>) -> ModuleError {
    ModuleError { field, problem: problem.into() }
}

fn compile(field: &'static str, pattern: &str) -> Result<Regex, ModuleError> {
    let built = RegexBuilder::new(pattern).size_limit(limits::REGEX_BYTES).dfa_size_limit(limits::REGEX_BYTES).build();
    built.map_err(|error| wrong(field, format!("{pattern:?} is no regular expression: {error}")))
}

fn compile_all(field: &'static str, patterns: &[String]) -> Result<Vec<Regex>, ModuleError> {
    patterns.iter().map(|pattern| compile(field, pattern)).collect()
}

fn prepare_http(http: &HttpProbe) -> Result<ReadyHttp, ModuleError> {
    let method = if http.method.is_empty() { "GET" } else { &http.method };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("http.method", "is no HTTP method"))?;
    let spoken = |version: &String| version == "HTTP/1.1" || version == "HTTP/1.0";
    if !http.valid_http_versions.is_empty() && !http.valid_http_versions.iter().any(spoken) {
        return Err(wrong("http.valid_http_versions", "this prober speaks HTTP/1.1 only: add \"HTTP/1.1\""));
    }
    if http.body_file.is_some() && !http.body.is_empty() {
        return Err(wrong("http.body_file", "body and body_file exclude each other: give one"));
    }
    let mut headers = Vec::new();
    for (name, value) in &http.headers {
        headers.push(header("http.headers", name, value)?);
    }
    for (name, value) in &http.proxy_connect_header {
        header("http.proxy_connect_header", name, value)?;
    }
    check_compression(http)?;
    let proxy = match &http.client.proxy_url {
        None => None,
        Some(url) => {
            let uri = Uri::from_str(url.expose()).ok();
            let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
            Some(
                uri.ok_or_else(|| wrong("http.proxy_url", "write http://host:port (only such proxies are spoken to)"))?,
            )
        }
    };
    let headers_matched = |field, matches: &[HeaderMatch]| -> Result<Vec<ReadyHeader>, ModuleError> {
        let ready = |one: &HeaderMatch| {
            let name = HeaderName::from_str(&one.header).map_err(|_| wrong(field, "header is no name of a header"))?;
            Ok(ReadyHeader { name, regex: compile(field, &one.regexp)?, allow_missing: one.allow_missing })
        };
        matches.iter().map(ready).collect()
    };
    Ok(ReadyHttp {
        method,
        headers,
        body_bad: compile_all("http.fail_if_body_matches_regexp", &http.fail_if_body_matches_regexp)?,
        body_good: compile_all("http.fail_if_body_not_matches_regexp", &http.fail_if_body_not_matches_regexp)?,
        header_bad: headers_matched("http.fail_if_header_matches", &http.fail_if_header_matches)?,
        header_good: headers_matched("http.fail_if_header_not_matches", &http.fail_if_header_not_matches)?,
        proxy,
        settings: http.clone(),
    })
}

fn header(field: &'static str, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ModuleError> {
    let key = HeaderName::from_str(name).map_err(|_| wrong(field, format!("{name:?} is no name of a header")))?;
    let value = HeaderValue::from_str(value);
    Ok((key, value.map_err(|_| wrong(field, format!("{name} has a value that a header cannot have")))?))
}

/// As blackbox_exporter: what the request asks for must be what the check expects.
fn check_compression(http: &HttpProbe) -> Result<(), ModuleError> {
    let word = match http.compression {
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Deflate) => "deflate",
        Some(Compression::Identity) | None => return Ok(()),
    };
    let asked = http.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    let accepts = |list: &str| {
        list.split(',').any(|part| {
            let (coding, quality) = part.split_once(';').unwrap_or((part, ""));
            let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
            (coding.trim().eq_ignore_ascii_case(word) || coding.trim() == "*") && !refused
        })
    };
    match asked {
        Some((_, list)) if !accepts(list) => {
            Err(wrong("http.compression", format!("is {word}, but the header Accept-Encoding does not ask for it")))
        }
        _ => Ok(()),
    }
}

fn steps(field: &'static str, steps: &[Step]) -> Result<Vec<ReadyStep>, ModuleError> {
    let ready = |step: &Step| {
        let expect = step.expect.as_deref().map(|pattern| compile(field, pattern)).transpose()?;
        if let Some((name, _)) = step.labels.iter().find(|(name, _)| !crate::model::is_label_name(name)) {
            return Err(wrong(field, format!("{name:?} is no label name")));
        }
        Ok(ReadyStep { step: step.clone(), expect })
    };
    steps.iter().map(ready).collect()
}

fn prepare_dns(dns: &DnsProbe) -> Result<ReadyDns, ModuleError> {
    let query = super::dns::Question::parse(dns).map_err(|(field, problem)| wrong(field, problem))?;
    let mut rcodes = Vec::new();
    for word in &dns.valid_rcodes {
        let unknown = || wrong("dns.valid_rcodes", format!("{word:?} is no response code, for example NXDOMAIN"));
        rcodes.push(super::dns::rcode(word).ok_or_else(unknown)?);
    }
    if rcodes.is_empty() {
        rcodes.push(0);
    }
    let section = |field, checks: &RecordChecks| {
        Ok::<_, ModuleError>(ReadySection {
            if_matches: compile_all(field, &checks.fail_if_matches_regexp)?,
            if_all_match: compile_all(field, &checks.fail_if_all_match_regexp)?,
            if_not_matches: compile_all(field, &checks.fail_if_not_matches_regexp)?,
            if_none_matches: compile_all(field, &checks.fail_if_none_matches_regexp)?,
        })
    };
    let sections = [
        section("dns.validate_answer_rrs", &dns.validate_answer_rrs)?,
        section("dns.validate_authority_rrs", &dns.validate_authority_rrs)?,
        section("dns.validate_additional_rrs", &dns.validate_additional_rrs)?,
    ];
    Ok(ReadyDns { query, rcodes, sections, settings: dns.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_cannot_work_names_its_field() {
        let http = |change: &dyn Fn(&mut HttpProbe)| {
            let mut http = HttpProbe::default();
            change(&mut http);
            Prober::Http(Box::new(http))
        };
        let check = |prober: Prober, expected: &str| {
            let error = Module { prober, timeout: None }.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(http(&|it| it.method = "G T".to_owned()), "http.method: is no HTTP method");
        check(http(&|it| it.valid_http_versions = vec!["HTTP/2.0".to_owned()]), "http.valid_http_versions");
        check(http(&|it| it.fail_if_body_matches_regexp = vec!["(".to_owned()]), "http.fail_if_body_matches_regexp");
        check(http(&|it| it.headers = vec![("a b".to_owned(), String::new())]), "http.headers");
        check(http(&|it| it.client.proxy_url = Some("socks5://h:1".into())), "http.proxy_url");
        let both = |it: &mut HttpProbe| (it.body, it.body_file) = ("x".to_owned(), Some("/x".into()));
        check(http(&both), "http.body_file");
        let gzip = |it: &mut HttpProbe| {
            it.compression = Some(Compression::Gzip);
            it.headers = vec![("Accept-Encoding".to_owned(), "deflate, gzip;q=0".to_owned())];
        };
        check(http(&gzip), "http.compression: is gzip");
        let step = Step { expect: Some(":[".to_owned()), ..Step::default() };
        check(Prober::Tcp(TcpProbe { query_response: vec![step], ..TcpProbe::default() }), "tcp.query_response");
        check(Prober::Dns(Box::default()), "dns.query_name");
        let class = DnsProbe { query_name: "a".to_owned(), query_class: "X".to_owned(), ..DnsProbe::default() };
        check(Prober::Dns(Box::new(class)), "dns.query_class");
        let rcode = DnsProbe { query_name: "a".to_owned(), valid_rcodes: vec!["X".to_owned()], ..DnsProbe::default() };
        check(Prober::Dns(Box::new(rcode)), "dns.valid_rcodes");
    }

    #[test]
    fn defaults_work() {
        for prober in [
            Prober::Http(Box::default()),
            Prober::Tcp(TcpProbe::default()),
            Prober::Unix(UnixProbe::default()),
            Prober::Icmp(IcmpProbe::default()),
        ] {
            assert_eq!(Module { prober, timeout: None }.check(), Ok(()));
        }
    }
}

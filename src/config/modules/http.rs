//! The prober `http`.

use super::IpProtocol;
use crate::config::client::Client;
use crate::config::values::{ByteCount, Entries, Pattern, at_most_one, pass_over, refuse};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Brotli,
    Deflate,
    Identity,
}

impl Compression {
    /// The word of `Accept-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Brotli => "br",
            Compression::Deflate => "deflate",
            Compression::Identity => "identity",
        }
    }
}

impl Decode for Compression {
    fn decode(at: &mut At<'_>) -> Option<Compression> {
        let all = [Compression::Gzip, Compression::Brotli, Compression::Deflate, Compression::Identity];
        at.one_of(&all.map(|one| (one.as_str(), one)))
    }
}

/// A check of one header of the answer.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    pub header: String,
    pub regexp: Pattern,
    pub allow_missing: bool,
}

impl Decode for HeaderMatch {
    fn decode(at: &mut At<'_>) -> Option<HeaderMatch> {
        let mut fields = at.record("header match", "A check of one header of the answer.")?;
        let header = fields.required("header", "the header's name");
        let regexp = fields.required("regexp", "the expression that its value is held against");
        let allow_missing = fields.or("allow_missing", "false", "true: an answer without the header is good");
        fields.finish();
        Some(HeaderMatch { header: header?, regexp: regexp?, allow_missing })
    }
}

/// `http`.
#[derive(Clone, Debug)]
pub struct Http {
    pub ip: IpProtocol,
    pub valid_status_codes: Vec<Spanned<u16>>,
    pub valid_http_versions: Vec<String>,
    pub method: String,
    pub headers: Entries<String>,
    pub body: Option<String>,
    pub body_file: Option<Spanned<String>>,
    pub body_size_limit: Option<ByteCount>,
    pub compression: Option<Compression>,
    pub fail_if_ssl: bool,
    pub fail_if_not_ssl: bool,
    pub fail_if_body_matches_regexp: Vec<Pattern>,
    pub fail_if_body_not_matches_regexp: Vec<Pattern>,
    pub fail_if_header_matches: Vec<HeaderMatch>,
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    pub skip_resolve_phase_with_proxy: bool,
    pub client: Client,
    pub refused: Vec<Problem>,
}

impl Decode for Http {
    fn decode(at: &mut At<'_>) -> Option<Http> {
        let mut fields = at.record("http probe", "A request, and what its answer must be.")?;
        let ip = IpProtocol::read(&mut fields);
        let valid_status_codes: Vec<Spanned<u16>> =
            fields.or("valid_status_codes", "[]", "good codes; if empty 200 to 299");
        for code in valid_status_codes.iter().filter(|code| !(100..=599).contains(&code.value)) {
            fields.push(code.place.error(format!("{} is no status code of HTTP", code.value), None));
        }
        let valid_http_versions =
            fields.or("valid_http_versions", "[]", "good versions, for example HTTP/1.1; if empty any");
        let method = fields.or("method", "GET", "the request's method");
        let headers: Entries<String> =
            fields.or("headers", "{}", "the request's headers; `Host` replaces the target's");
        at_most_one(&mut fields, &["body", "body_file"]);
        let body = fields.optional("body", "the request's body");
        let body_file = fields.optional("body_file", "a file with the request's body");
        let body_size_limit = fields.optional("body_size_limit", "a larger body fails the probe, after decompression");
        let compression: Option<Compression> = fields.optional("compression", "how the answer's body must be packed");
        let fail_if_ssl = fields.or("fail_if_ssl", "false", "an answer over TLS fails");
        let fail_if_not_ssl = fields.or("fail_if_not_ssl", "false", "an answer without TLS fails");
        if fail_if_ssl && fail_if_not_ssl {
            let help = Some("remove one of `fail_if_ssl` and `fail_if_not_ssl`".to_owned());
            fields.problem("fail_if_not_ssl", "with both `fail_if_ssl` and `fail_if_not_ssl` every probe fails", help);
        }
        let fail_if_body_matches_regexp =
            fields.or("fail_if_body_matches_regexp", "[]", "a body that matches one fails");
        let fail_if_body_not_matches_regexp =
            fields.or("fail_if_body_not_matches_regexp", "[]", "a body that does not match one fails");
        let fail_if_header_matches = fields.or("fail_if_header_matches", "[]", "a header that matches one fails");
        let fail_if_header_not_matches =
            fields.or("fail_if_header_not_matches", "[]", "a header that does not match one fails");
        let skip_resolve_phase_with_proxy = fields.or(
            "skip_resolve_phase_with_proxy",
            "false",
            "true: with a proxy, the target's name is not looked up",
        );
        for (header, value) in &headers.0 {
            if let Some(compression) = compression
                && header.value.eq_ignore_ascii_case("accept-encoding")
                && !accepts(compression.as_str(), value)
            {
                let message = format!("this header does not ask for `compression: {}`", compression.as_str());
                fields
                    .push(header.place.error(message, Some("remove the header, or list the compression in it".into())));
            }
        }
        let mut refused = http3(&mut fields);
        let no_follow: Option<bool> =
            fields.optional("no_follow_redirects", "older spelling of `follow_redirects`, reversed");
        let mut client = Client::read(&mut fields);
        client.follow_redirects = no_follow.map_or(client.follow_redirects, |no| !no);
        let help = "use `fail_if_body_not_matches_regexp`";
        let keys = ["fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel"];
        refuse(&mut fields, &keys, "`{}`: CEL is not supported in this version", help, &mut refused);
        if let Some(place) = compression.filter(|c| *c == Compression::Brotli).map(|_| fields.place_of("compression")) {
            refused.push(place.error("`br` is not supported in this version", Some("use gzip or deflate".into())));
        }
        fields.finish();
        Some(Http {
            ip,
            valid_status_codes,
            valid_http_versions,
            method,
            headers,
            body,
            body_file,
            body_size_limit,
            compression,
            fail_if_ssl,
            fail_if_not_ssl,
            fail_if_body_matches_regexp,
            fail_if_body_not_matches_regexp,
            fail_if_header_matches,
            fail_if_header_not_matches,
            skip_resolve_phase_with_proxy,
            client,
            refused,
        })
    }
}

/// HTTP/3 has rules of its own upstream, and is refused here.
fn http3(fields: &mut Fields<'_>) -> Vec<Problem> {
    let http2: bool = fields.or("enable_http2", "true", "read for compatibility; this version speaks HTTP/1.1");
    let http3: bool = fields.or("enable_http3", "false", "read for compatibility; this version speaks HTTP/1.1");
    pass_over(fields, &["use_proxy_dns"]);
    if !http3 {
        return Vec::new();
    }
    if http2 {
        let help = Some("write `enable_http2: false` beside it".to_owned());
        fields.problem("enable_http3", "`enable_http3` needs `enable_http2: false`", help);
    }
    if !fields.has("valid_http_versions") {
        let help = Some("write `valid_http_versions: [\"HTTP/3.0\"]` beside it".to_owned());
        fields.problem("enable_http3", "`enable_http3` needs `valid_http_versions`", help);
    }
    let help = Some("remove it: the probe then speaks HTTP/1.1".to_owned());
    vec![fields.place_of("enable_http3").error("HTTP/3 is not supported in this version", help)]
}

/// Whether the value of `Accept-Encoding` asks for this encoding: the one of the highest quality that names it or `*`.
fn accepts(encoding: &str, header: &str) -> bool {
    let mut best: Option<f32> = None;
    for part in header.split(',').filter(|_| !header.is_empty()) {
        let (name, quality) = match part.rsplit_once(';') {
            Some((name, q)) => (name, q.trim().trim_start_matches("q=").parse().unwrap_or(0.0)),
            None => (part, 1.0),
        };
        if [encoding, "*"].contains(&name.trim()) && best.is_none_or(|best| quality > best) {
            best = Some(quality);
        }
    }
    header.is_empty() || best.is_some_and(|best| best > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compression_must_be_among_the_accepted_encodings() {
        let check = |encoding: &str, header: &str, expected: bool| {
            assert_eq!(accepts(encoding, header), expected, "{encoding} {header}");
        };
        check("gzip", "gzip", true);
        check("gzip", "", true);
        check("gzip", "compress, gzip", true);
        check("br", "gzip, compress", false);
        check("br", "gzip, compress, *;q=0.1", true);
        check("br", "gzip, compress, br;q=0.0", false);
        check("gzip", "*;q=0.0", false);
        check("br", "*;q=0.0, compress;q=0.5, br;q=0.1, gzip;q=1.0", true);
        check("br", " gzip;q=1.0, compress; q=0.5, br;q=0.1, *; q=0.0 ", true);
    }
}

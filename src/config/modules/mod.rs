//! `modules`: blackbox_exporter's grammar (its `CONFIGURATION.md`), all of it; what this version does not probe is
//! refused apart from the grammar.

mod dns;
mod http;
mod tcp;

pub use dns::{Dns, RecordChecks, Transport};
pub use http::{Compression, HeaderMatch, Http};
pub use tcp::{Icmp, Step, Tcp, Unix};

use super::values::{GoDuration, pass_over};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// blackbox_exporter's probers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prober {
    Http,
    Tcp,
    Dns,
    Icmp,
    Unix,
    Grpc,
    Websocket,
}

impl Decode for Prober {
    fn decode(at: &mut At<'_>) -> Option<Prober> {
        at.one_of(&[
            ("http", Prober::Http),
            ("tcp", Prober::Tcp),
            ("dns", Prober::Dns),
            ("icmp", Prober::Icmp),
            ("unix", Prober::Unix),
            ("grpc", Prober::Grpc),
            ("websocket", Prober::Websocket),
        ])
    }
}

/// One of `modules`.
#[derive(Clone, Debug)]
pub struct Module {
    pub prober: Spanned<Prober>,
    pub timeout: Option<GoDuration>,
    pub http: Option<Http>,
    pub tcp: Option<Tcp>,
    pub dns: Option<Dns>,
    pub icmp: Option<Icmp>,
    pub unix: Option<Unix>,
    pub refused: Vec<Problem>,
}

impl Decode for Module {
    fn decode(at: &mut At<'_>) -> Option<Module> {
        let mut fields = at.record("module", "How something is probed; blackbox_exporter's grammar.")?;
        let prober: Option<Spanned<Prober>> = fields.required("prober", "what kind of probe");
        let timeout = fields.optional("timeout", "how long a probe may take; the job's `scrape_timeout` also holds");
        let http = fields.optional("http", "for the prober `http`");
        let tcp = fields.optional("tcp", "for the prober `tcp`");
        let dns = fields.optional("dns", "for the prober `dns`");
        let icmp = fields.optional("icmp", "for the prober `icmp`");
        let unix = fields.optional("unix", "for the prober `unix`");
        pass_over(&mut fields, &["grpc", "websocket"]);
        let mut refused = Vec::new();
        if prober.as_ref().is_some_and(|prober| prober.value == Prober::Dns) && !fields.has("dns") {
            let help = Some("add `dns: {query_name: ...}`".to_owned());
            let message = "the prober `dns` needs a section `dns` with a `query_name`";
            refused.push(fields.place_of("prober").error(message, help));
        }
        if let Some(prober) = &prober {
            let name = match prober.value {
                Prober::Grpc => Some("grpc"),
                Prober::Websocket => Some("websocket"),
                _ => None,
            };
            if let Some(name) = name {
                let help = "use `tcp` or `http` for this target, or leave it to a blackbox_exporter that is scraped";
                let message = format!("this version probes http, tcp, unix, icmp and dns, not {name}");
                refused.push(prober.place.error(message, Some(help.to_owned())));
            }
        }
        fields.finish();
        Some(Module { prober: prober?, timeout, http, tcp, dns, icmp, unix, refused })
    }
}

/// `ip4` or `ip6` first, and whether the other one will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpProtocol {
    pub prefer_ip4: bool,
    pub fallback: bool,
}

impl Default for IpProtocol {
    fn default() -> IpProtocol {
        IpProtocol { prefer_ip4: false, fallback: true }
    }
}

#[derive(Clone, Copy, PartialEq)]
struct PrefersIp4(bool);

impl Decode for PrefersIp4 {
    fn decode(at: &mut At<'_>) -> Option<PrefersIp4> {
        at.one_of(&[("ip4", PrefersIp4(true)), ("ip6", PrefersIp4(false))])
    }
}

impl IpProtocol {
    fn read(fields: &mut Fields<'_>) -> IpProtocol {
        let prefer: PrefersIp4 =
            fields.or("preferred_ip_protocol", "ip6", "the kind of address that is asked for first");
        let fallback = fields.or("ip_protocol_fallback", "true", "whether the other kind will do");
        IpProtocol { prefer_ip4: prefer.0, fallback }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::root::Root;
    use crate::yaml::{SourceFile, decode_text};

    /// `None` when the file loads, or its first message.
    fn verdict(text: &str) -> Option<String> {
        let (value, problems) = decode_text::<Root>(&SourceFile::new("t", text));
        assert_eq!(value.is_none(), !problems.is_empty(), "{problems:?}");
        problems.first().map(Problem::one_line)
    }

    #[test]
    fn upstreams_files_get_upstreams_verdicts() {
        let Some(folder) = std::env::var_os("BROWNOUT_CONFORMANCE") else {
            eprintln!("skipped: BROWNOUT_CONFORMANCE is not set");
            return;
        };
        let folder = std::path::Path::new(&folder).join("blackbox");
        if !folder.is_dir() {
            eprintln!("skipped: there is no folder {}", folder.display());
            return;
        }
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            if !name.ends_with(".yml") {
                continue;
            }
            seen += 1;
            let expected = !(name.starts_with("invalid-") || name.starts_with("blackbox-bad"));
            let found = verdict(&std::fs::read_to_string(&path).expect("text"));
            assert_eq!(found.is_none(), expected, "{name}: {found:?}");
        }
        assert!(seen >= 18, "{seen}");
    }

    #[test]
    fn rules_between_fields() {
        let check = |module: &str, expected: Option<&str>| {
            let found = verdict(&format!("modules:\n  m: {module}\n"));
            match (expected, &found) {
                (None, None) => {}
                (Some(part), Some(message)) if message.contains(part) => {}
                _ => panic!("{module}: {found:?}"),
            }
        };
        check("{prober: http}", None);
        check("{prober: htp}", Some("did you mean `http`?"));
        check("{timeout: 5s}", Some("missing field `prober`"));
        check("{prober: http, timeout: 1.5s}", None);
        check("{prober: http, http: {valid_status_codes: [200, 2000]}}", Some("2000"));
        check("{prober: http, http: {preferred_ip_protocol: ip5}}", Some("did you mean `ip4`?"));
        check("{prober: http, http: {fail_if_ssl: true, fail_if_not_ssl: true}}", Some("fail_if_not_ssl"));
        check("{prober: icmp, icmp: {ttl: 256}}", Some("256"));
        check("{prober: dns, dns: {query_name: a, query_type: X}}", Some("query_type"));
        check("{prober: dns, dns: {}}", Some("missing field `query_name`"));
        check("{prober: tcp, tcp: {query_response: [{expect: '('}]}}", Some("not a regular expression"));
        check("{prober: tcp, tcp: {query_response: [{expects: 'a'}]}}", Some("did you mean `expect`?"));
    }
}

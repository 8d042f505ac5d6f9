//! The settings of probes: plain data, blackbox_exporter's words and defaults.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Labels;
use crate::net::{HttpSettings, TlsSettings};

/// What `modules` names: a prober with its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    pub prober: Prober,
    /// The most time one probe may take; the job's own limits also hold.
    pub timeout: Option<Duration>,
}

/// The kinds of probes.
#[derive(Clone, Debug, PartialEq)]
pub enum Prober {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
    Unix(UnixProbe),
    Icmp(IcmpProbe),
    Dns(Box<DnsProbe>),
}

/// Which kind of address a name is first asked for, and whether the other kind will do. Blackbox's default is IPv6 with
/// fallback.
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

/// `http`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    pub ip: IpProtocol,
    /// Empty means 2xx.
    pub valid_status_codes: Vec<u16>,
    /// For example `HTTP/1.1`; empty means any. This prober speaks HTTP/1.1 only.
    pub valid_http_versions: Vec<String>,
    /// Empty means `GET`.
    pub method: String,
    /// `Host` among them replaces the target's.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub body_file: Option<PathBuf>,
    /// The largest body that is still good, in bytes, after decompression; `None` means any.
    pub body_size_limit: Option<u64>,
    pub compression: Option<Compression>,
    pub fail_if_ssl: bool,
    pub fail_if_not_ssl: bool,
    pub fail_if_body_matches_regexp: Vec<String>,
    pub fail_if_body_not_matches_regexp: Vec<String>,
    pub fail_if_header_matches: Vec<HeaderMatch>,
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    /// TLS, credentials, secret headers, proxy, redirects (followed by default here).
    pub client: HttpSettings,
    pub proxy_connect_header: Vec<(String, String)>,
    pub skip_resolve_phase_with_proxy: bool,
}

impl Default for HttpProbe {
    fn default() -> HttpProbe {
        HttpProbe {
            ip: IpProtocol::default(),
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            method: String::new(),
            headers: Vec::new(),
            body: String::new(),
            body_file: None,
            body_size_limit: None,
            compression: None,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches_regexp: Vec::new(),
            fail_if_body_not_matches_regexp: Vec::new(),
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            client: HttpSettings { follow_redirects: true, ..HttpSettings::default() },
            proxy_connect_header: Vec::new(),
            skip_resolve_phase_with_proxy: false,
        }
    }
}

/// How the answer's body must be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Deflate,
    Identity,
}

/// One entry of `fail_if_header_(not_)matches`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    pub header: String,
    pub regexp: String,
    pub allow_missing: bool,
}

/// `tcp`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpProbe {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    pub tls: bool,
    pub tls_config: TlsSettings,
    pub query_response: QueryResponse,
}

/// `unix`: the target is a socket's path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnixProbe {
    pub tls: bool,
    pub tls_config: TlsSettings,
    pub query_response: QueryResponse,
}

/// The dialogue of `tcp` and `unix`.
pub type QueryResponse = Vec<Step>;

/// One step of a dialogue. What is set is done in this order: expect, expect bytes, send, start TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Reads lines until one matches.
    pub expect: Option<String>,
    /// Reads as many bytes and compares.
    pub expect_bytes: Vec<u8>,
    /// Sent with a line feed after it; `${1}` and the like come from `expect`.
    pub send: Vec<u8>,
    pub starttls: bool,
    /// Labels of `probe_expect_info`: name, and value with `${1}` and the like.
    pub labels: Vec<(String, String)>,
}

/// `icmp`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IcmpProbe {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    /// Bytes of payload; 36 when 0, as in blackbox_exporter.
    pub payload_size: u16,
    /// The hop limit; the system's default when `None`.
    pub ttl: Option<u8>,
}

/// `dns`: the target is the name server.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsProbe {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    pub transport: DnsTransport,
    pub query_name: String,
    /// For example `A`, `SOA`; blackbox's default is `ANY`.
    pub query_type: String,
    pub query_class: String,
    pub recursion_desired: bool,
    /// Empty means `NOERROR`.
    pub valid_rcodes: Vec<String>,
    pub validate_answer_rrs: RecordChecks,
    pub validate_authority_rrs: RecordChecks,
    pub validate_additional_rrs: RecordChecks,
}

impl Default for DnsProbe {
    fn default() -> DnsProbe {
        DnsProbe {
            ip: IpProtocol::default(),
            source_ip_address: None,
            transport: DnsTransport::Udp,
            query_name: String::new(),
            query_type: "ANY".to_owned(),
            query_class: "IN".to_owned(),
            recursion_desired: true,
            valid_rcodes: Vec::new(),
            validate_answer_rrs: RecordChecks::default(),
            validate_authority_rrs: RecordChecks::default(),
            validate_additional_rrs: RecordChecks::default(),
        }
    }
}

/// How a DNS query travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    Udp,
    Tcp,
    /// DNS over TLS.
    Tls(TlsSettings),
}

/// Checks of one section's records, each written as zone files do, with tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordChecks {
    pub fail_if_matches_regexp: Vec<String>,
    pub fail_if_all_match_regexp: Vec<String>,
    pub fail_if_not_matches_regexp: Vec<String>,
    pub fail_if_none_matches_regexp: Vec<String>,
}

/// One job: a module at work on its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeJob {
    pub job_name: String,
    pub module_name: String,
    pub module: Module,
    pub scrape_interval: Duration,
    pub scrape_timeout: Duration,
    pub targets: Vec<ProbeTarget>,
}

/// One target, relabelled already.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeTarget {
    /// What is probed: a URL, `host:port`, a host, or a path, by the prober.
    pub address: String,
    /// Labels of every series; `job` and `instance` are filled in where they are missing.
    pub labels: Labels,
    /// blackbox's `hostname` parameter: the `Host` header of `http`, the TLS server name of `tcp`.
    pub hostname: Option<String>,
}

//! Link probes as in blackbox_exporter: `probe_*`.
//!
//! The modules, their options and the metrics are those of blackbox_exporter
//! (<https://github.com/prometheus/blackbox_exporter/blob/master/CONFIGURATION.md>). One task a target probes in aligned
//! slots; a target that hangs delays nobody. Not done: HTTP/2 and HTTP/3, CEL, OAuth 2, gRPC, WebSocket, brotli.

mod certs;
mod check;
mod dial;
mod dialogue;
mod dns;
mod http;
mod icmp;
mod job;
mod proxy;
mod settings;
mod sheet;
mod tcp;

pub use check::ModuleError;
pub use job::{probe_once, run, sources};
pub use settings::{
    Compression, DnsProbe, DnsTransport, HeaderMatch, HttpProbe, IcmpProbe, IpProtocol, Module, ProbeJob, ProbeTarget,
    Prober, QueryResponse, RecordChecks, Step, TcpProbe, UnixProbe,
};
pub use sheet::{ProbeResult, ProbeSample};

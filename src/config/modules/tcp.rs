//! The probers `tcp`, `unix` and `icmp`.

use std::net::IpAddr;

use super::IpProtocol;
use crate::config::client::Tls;
use crate::config::values::Pattern;
use crate::yaml::{At, Decode, Fields, Problem, Value};

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddress(pub IpAddr);

impl Decode for SourceAddress {
    fn decode(at: &mut At<'_>) -> Option<SourceAddress> {
        at.scalar("an IP address", |text| {
            text.parse().map(SourceAddress).map_err(|_| format!("`{text}` is no IP address"))
        })
    }
}

pub(super) fn source_address(fields: &mut Fields<'_>) -> Option<IpAddr> {
    let address: Option<SourceAddress> =
        fields.optional("source_ip_address", "the address of this host that the probe comes from");
    address.map(|address| address.0)
}

/// Bytes: a text, or `!!binary` with base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Decode for Bytes {
    fn decode(at: &mut At<'_>) -> Option<Bytes> {
        // The parser decodes `!!binary`, which may leave no valid text: the source says what was written.
        if let Some(node) = at.node()
            && let Value::Scalar { .. } = node.value
        {
            let place = at.place();
            let before = place.file.text[..place.span.start].trim_end();
            let written = place.file.text[place.span.clone()].trim();
            let tagged = written.strip_prefix("!!binary").or_else(|| before.ends_with("!!binary").then_some(written));
            if let Some(text) = tagged {
                use base64::Engine as _;
                let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
                return match base64::engine::general_purpose::STANDARD.decode(text) {
                    Ok(bytes) => Some(Bytes(bytes)),
                    Err(error) => {
                        at.problem(format!("not base64: {error}"), Some("write base64 after `!!binary`".into()));
                        None
                    }
                };
            }
        }
        at.scalar("a text or `!!binary` with base64", |text| Ok(Bytes(text.as_bytes().to_vec())))
    }
}

/// A label of `probe_expect_info`.
#[derive(Clone, Debug)]
pub struct InfoLabel {
    pub name: String,
    pub value: String,
}

impl Decode for InfoLabel {
    fn decode(at: &mut At<'_>) -> Option<InfoLabel> {
        let mut fields = at.record("info label", "A label of `probe_expect_info`, from what was expected.")?;
        let name: Option<crate::config::values::LabelName> = fields.required("name", "the label");
        let value = fields.or("value", "''", "its value; `${1}` is the first group of `expect`");
        fields.finish();
        Some(InfoLabel { name: name?.0, value })
    }
}

/// One step of a dialogue.
#[derive(Clone, Debug)]
pub struct Step {
    pub expect: Option<Pattern>,
    pub expect_bytes: Option<Bytes>,
    pub send: Option<Bytes>,
    pub starttls: bool,
    pub labels: Vec<InfoLabel>,
}

/// A dialogue.
pub type Dialogue = Vec<Step>;

impl Decode for Step {
    fn decode(at: &mut At<'_>) -> Option<Step> {
        let doc = "One step of a dialogue; what is set is done in the order expect, expect_bytes, send, starttls.";
        let mut fields = at.record("dialogue step", doc)?;
        let expect = fields.optional("expect", "lines are read until one matches this expression");
        let expect_bytes = fields.optional("expect_bytes", "as many bytes are read and compared");
        let send = fields.optional("send", "sent, with a line feed after it; `${1}` is the first group of `expect`");
        let starttls = fields.or("starttls", "false", "true: go on with TLS");
        let labels = fields.or("labels", "[]", "labels of `probe_expect_info`");
        fields.finish();
        Some(Step { expect, expect_bytes, send, starttls, labels })
    }
}

/// `tcp`.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    pub tls: bool,
    pub tls_config: Tls,
    pub query_response: Dialogue,
}

impl Decode for Tcp {
    fn decode(at: &mut At<'_>) -> Option<Tcp> {
        let mut fields = at.record("tcp probe", "A connection, and the dialogue on it.")?;
        let ip = IpProtocol::read(&mut fields);
        let source_ip_address = source_address(&mut fields);
        let tls = fields.or("tls", "false", "true: TLS from the start");
        let tls_config: Option<Tls> = fields.optional("tls_config", "TLS");
        let query_response = fields.or("query_response", "[]", "the dialogue");
        fields.finish();
        Some(Tcp { ip, source_ip_address, tls, tls_config: tls_config.unwrap_or_default(), query_response })
    }
}

/// `unix`.
#[derive(Clone, Debug, Default)]
pub struct Unix {
    pub tls: bool,
    pub tls_config: Tls,
    pub query_response: Dialogue,
}

impl Decode for Unix {
    fn decode(at: &mut At<'_>) -> Option<Unix> {
        let mut fields = at.record("unix probe", "A connection to a socket of this host; the target is its path.")?;
        let tls = fields.or("tls", "false", "true: TLS from the start");
        let tls_config: Option<Tls> = fields.optional("tls_config", "TLS");
        let query_response = fields.or("query_response", "[]", "the dialogue");
        fields.finish();
        Some(Unix { tls, tls_config: tls_config.unwrap_or_default(), query_response })
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Ttl(u8);

impl Decode for Ttl {
    fn decode(at: &mut At<'_>) -> Option<Ttl> {
        at.scalar("a whole number", |text| {
            text.parse().map(Ttl).map_err(|_| format!("expected a number of hops from 0 to 255, found `{text}`"))
        })
    }
}

/// `icmp`.
#[derive(Clone, Debug, Default)]
pub struct Icmp {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    pub payload_size: u16,
    /// 0 for the system's.
    pub ttl: u8,
    pub refused: Vec<Problem>,
}

impl Decode for Icmp {
    fn decode(at: &mut At<'_>) -> Option<Icmp> {
        let mut fields = at.record("icmp probe", "An echo request.")?;
        let ip = IpProtocol::read(&mut fields);
        let source_ip_address = source_address(&mut fields);
        let payload_size = fields.or("payload_size", "0", "bytes of payload; 0 for the usual size");
        let ttl: Ttl = fields.or("ttl", "0", "the hop limit; 0 for the system's");
        let dont_fragment: bool = fields.or("dont_fragment", "false", "not supported: it needs a raw socket");
        let mut refused = Vec::new();
        if dont_fragment {
            let help = Some("remove it".to_owned());
            refused
                .push(fields.place_of("dont_fragment").error("`dont_fragment` is not supported in this version", help));
        }
        fields.finish();
        Some(Icmp { ip, source_ip_address, payload_size, ttl: ttl.0, refused })
    }
}

//! The prober `dns`.

use std::net::IpAddr;

use super::IpProtocol;
use super::tcp::source_address;
use crate::config::client::Tls;
use crate::config::values::Pattern;
use crate::yaml::{At, Decode};

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Decode for Transport {
    fn decode(at: &mut At<'_>) -> Option<Transport> {
        at.one_of(&[("udp", Transport::Udp), ("tcp", Transport::Tcp)])
    }
}

/// Checks of the records in one section of the answer.
#[derive(Clone, Debug, Default)]
pub struct RecordChecks {
    pub fail_if_matches_regexp: Vec<Pattern>,
    pub fail_if_all_match_regexp: Vec<Pattern>,
    pub fail_if_not_matches_regexp: Vec<Pattern>,
    pub fail_if_none_matches_regexp: Vec<Pattern>,
}

impl Decode for RecordChecks {
    fn decode(at: &mut At<'_>) -> Option<RecordChecks> {
        let doc = "Checks of the records in one section of the answer, each written as zone files do, with tabs.";
        let mut fields = at.record("dns record checks", doc)?;
        let checks = RecordChecks {
            fail_if_matches_regexp: fields.or("fail_if_matches_regexp", "[]", "fails when any record matches one"),
            fail_if_all_match_regexp: fields.or("fail_if_all_match_regexp", "[]", "fails when all records match one"),
            fail_if_not_matches_regexp: fields.or(
                "fail_if_not_matches_regexp",
                "[]",
                "fails when any record does not match one",
            ),
            fail_if_none_matches_regexp: fields.or(
                "fail_if_none_matches_regexp",
                "[]",
                "fails when no record matches one",
            ),
        };
        fields.finish();
        Some(checks)
    }
}

const CLASSES: [&str; 6] = ["IN", "CS", "CH", "HS", "NONE", "ANY"];

const TYPES: [&str; 43] = [
    "ANY",
    "A",
    "AAAA",
    "AFSDB",
    "APL",
    "CAA",
    "CDNSKEY",
    "CDS",
    "CERT",
    "CNAME",
    "CSYNC",
    "DHCID",
    "DLV",
    "DNAME",
    "DNSKEY",
    "DS",
    "HINFO",
    "HTTPS",
    "IPSECKEY",
    "KEY",
    "KX",
    "LOC",
    "MB",
    "MINFO",
    "MX",
    "NAPTR",
    "NS",
    "NSEC",
    "NSEC3",
    "NSEC3PARAM",
    "NULL",
    "OPENPGPKEY",
    "PTR",
    "RP",
    "RRSIG",
    "SMIMEA",
    "SOA",
    "SPF",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
];

/// `dns`.
#[derive(Clone, Debug)]
pub struct Dns {
    pub ip: IpProtocol,
    pub source_ip_address: Option<IpAddr>,
    pub transport: Transport,
    pub dns_over_tls: bool,
    pub tls_config: Tls,
    pub query_name: String,
    pub query_type: String,
    pub query_class: String,
    pub recursion_desired: bool,
    pub valid_rcodes: Vec<String>,
    pub answer: RecordChecks,
    pub authority: RecordChecks,
    pub additional: RecordChecks,
}

impl Decode for Dns {
    fn decode(at: &mut At<'_>) -> Option<Dns> {
        let mut fields = at.record("dns probe", "A query; the target is the name server.")?;
        let ip = IpProtocol::read(&mut fields);
        let source_ip_address = source_address(&mut fields);
        let transport = fields.or("transport_protocol", "udp", "how the query travels");
        let dns_over_tls = fields.or("dns_over_tls", "false", "true: over TLS");
        let tls_config: Option<Tls> = fields.optional("tls_config", "TLS");
        let query_name: Option<String> = fields.required("query_name", "the name that is asked for");
        let query_type: String = fields.or("query_type", "ANY", "the kind of record that is asked for");
        let query_class: String = fields.or("query_class", "IN", "the class of the query");
        for (key, value, known) in
            [("query_type", &query_type, &TYPES[..]), ("query_class", &query_class, &CLASSES[..])]
        {
            if !known.contains(&value.as_str()) {
                let help = crate::yaml::nearest(value, known.iter().copied())
                    .map_or_else(|| format!("known: {}", known.join(", ")), |word| format!("did you mean `{word}`?"));
                fields.problem(key, format!("`{key}: {value}` is not known"), Some(help));
            }
        }
        let recursion_desired = fields.or("recursion_desired", "true", "whether the server may ask others");
        let valid_rcodes = fields.or("valid_rcodes", "[NOERROR]", "good codes of the answer");
        let answer: Option<RecordChecks> = fields.optional("validate_answer_rrs", "checks of the answers");
        let authority: Option<RecordChecks> = fields.optional("validate_authority_rrs", "checks of the authorities");
        let additional: Option<RecordChecks> =
            fields.optional("validate_additional_rrs", "checks of the additional records");
        fields.finish();
        Some(Dns {
            ip,
            source_ip_address,
            transport,
            dns_over_tls,
            tls_config: tls_config.unwrap_or_default(),
            query_name: query_name?,
            query_type,
            query_class,
            recursion_desired,
            valid_rcodes,
            answer: answer.unwrap_or_default(),
            authority: authority.unwrap_or_default(),
            additional: additional.unwrap_or_default(),
        })
    }
}

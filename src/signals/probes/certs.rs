//! What a TLS connection tells about itself and its certificates, in the words of blackbox_exporter (that is, of Go).

use std::fmt::Write as _;

use rustls::client::ClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use super::sheet::Sheet;

/// Go's zero time: there is no verified chain.
const NO_CHAIN: f64 = -62_135_596_800.0;

/// Notes expiry, certificate and version. `verified` is false when the certificate was not checked.
pub(super) fn note(connection: &ClientConnection, verified: bool, with_cipher: bool, sheet: &mut Sheet) {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "unknown",
    };
    sheet.set_with("probe_tls_version_info", &[("version", version)], 1.0);
    if let Some(suite) = connection.negotiated_cipher_suite().filter(|_| with_cipher) {
        sheet.set_with("probe_tls_cipher_info", &[("cipher", &cipher(suite.suite()))], 1.0);
    }
    note_chain(connection.peer_certificates().unwrap_or_default(), verified, sheet);
}

fn cipher(suite: CipherSuite) -> String {
    format!("{suite:?}").replace("TLS13_", "TLS_")
}

fn note_chain(chain: &[CertificateDer<'_>], verified: bool, sheet: &mut Sheet) {
    let parsed: Vec<_> =
        chain.iter().filter_map(|der| Some(x509_parser::parse_x509_certificate(der).ok()?.1)).collect();
    let ends = parsed.iter().map(|cert| cert.validity().not_after.timestamp());
    sheet.set("probe_ssl_earliest_cert_expiry", ends.min().map_or(NO_CHAIN, |end| end as f64));
    let chain_end = if verified { chain_expiry(&parsed) } else { None };
    sheet.set("probe_ssl_last_chain_expiry_timestamp_seconds", chain_end.map_or(NO_CHAIN, |end| end as f64));
    if let (Some(leaf), Some(der)) = (parsed.first(), chain.first()) {
        let labels = [
            ("fingerprint_sha256", hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref())),
            ("issuer", name(leaf.issuer())),
            ("serialnumber", serial(leaf)),
            ("subject", name(leaf.subject())),
            ("subjectalternative", dns_names(leaf)),
        ];
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sheet.set_with("probe_ssl_last_chain_info", &labels, 1.0);
    }
}

/// The first expiry along the path from the leaf through the issuers that the server sent. The root is usually not sent
/// and then does not count; certificates beside the path do not count either.
fn chain_expiry(chain: &[X509Certificate<'_>]) -> Option<i64> {
    let mut cert = chain.first()?;
    let mut end = cert.validity().not_after.timestamp();
    for _ in 0..chain.len() {
        let is_issuer = |other: &&X509Certificate<'_>| other.subject().as_raw() == cert.issuer().as_raw();
        let Some(issuer) = chain.iter().find(is_issuer) else { break };
        end = end.min(issuer.validity().not_after.timestamp());
        cert = issuer;
    }
    Some(end)
}

fn serial(cert: &X509Certificate<'_>) -> String {
    let bytes = cert.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    hex(&bytes[zeros..])
}

fn dns_names(cert: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = cert.subject_alternative_name() else {
        return String::new();
    };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    names.collect::<Vec<_>>().join(",")
}

/// The attributes that Go knows, in the order in which it writes them.
const ATTRIBUTES: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.6", "C"),
];

/// A distinguished name as Go's `pkix.Name.String` writes it: RFC 2253 with a fixed order.
fn name(name: &X509Name<'_>) -> String {
    let found: Vec<(String, &str)> = name
        .iter_attributes()
        .filter_map(|attribute| Some((attribute.attr_type().to_id_string(), attribute.as_str().ok()?)))
        .collect();
    let mut parts = Vec::new();
    for (oid, word) in ATTRIBUTES {
        let mut values = found.iter().filter(|(id, _)| id == oid).map(|(_, value)| *value);
        let single = word == "CN" || word == "SERIALNUMBER";
        let values: Vec<&str> = if single { values.next_back().into_iter().collect() } else { values.collect() };
        let values: Vec<String> = values.iter().map(|value| format!("{word}={}", escape(value))).collect();
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    for (oid, value) in found.iter().rev().filter(|(id, _)| ATTRIBUTES.iter().all(|(known, _)| id != known)) {
        parts.push(format!("{oid}=#{}", der_hex(value)));
    }
    parts.join(",")
}

fn escape(value: &str) -> String {
    let mut text = String::new();
    for (at, c) in value.char_indices() {
        let edge = at == 0 || at + c.len_utf8() == value.len();
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || (c == ' ' && edge) || (c == '#' && at == 0) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// A text as DER: PrintableString where it can be, else UTF8String.
fn der_hex(value: &str) -> String {
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag = if value.bytes().all(printable) { 0x13 } else { 0x0c };
    let mut der = vec![tag];
    match value.len() {
        short @ 0..=0x7f => der.push(short as u8),
        medium @ 0x80..=0xff => der.extend([0x81, medium as u8]),
        long => der.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    der.extend_from_slice(value.as_bytes());
    hex(&der)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};

    #[test]
    fn a_certificate_is_described_as_go_does() {
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0, 0x8a, 0x01]));
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        for (kind, value) in [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "A, B+C"),
            (DnType::CommonName, " x "),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let mut sheet = Sheet::default();
        note_chain(&[cert.der().clone()], true, &mut sheet);
        let info = sheet.samples.iter().find(|sample| sample.family == "probe_ssl_last_chain_info").unwrap();
        let label = |wanted: &str| info.labels.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        assert_eq!(label("subject"), "CN=\\ x\\ ,O=A\\, B\\+C,C=DE,1.2.840.113549.1.9.1=#0c03614062");
        assert_eq!(label("subject"), label("issuer"));
        assert_eq!(label("subjectalternative"), "a.test,b.test");
        assert_eq!(label("serialnumber"), "8a01");
        assert_eq!(label("fingerprint_sha256").len(), 64);
        assert_eq!(sheet.samples[0].value, 1_893_456_000.0);
    }

    #[test]
    fn the_chain_expires_with_its_first_certificate_and_strangers_do_not_count() {
        let made = |name: &str, year: i32, ca: bool, issuer: Option<&Issuer<'_, KeyPair>>| {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
            let key = KeyPair::generate().unwrap();
            let cert = match issuer {
                Some(issuer) => params.signed_by(&key, issuer).unwrap(),
                None => params.self_signed(&key).unwrap(),
            };
            (cert.der().clone(), Issuer::new(params, key))
        };
        let (ca, issuer) = made("ca", 2031, true, None);
        let (leaf, _) = made("leaf", 2032, false, Some(&issuer));
        let (stranger, _) = made("stranger", 2029, false, None);
        let mut sheet = Sheet::default();
        note_chain(&[leaf, stranger, ca], true, &mut sheet);
        assert_eq!((sheet.samples[0].value, sheet.samples[1].value), (1_861_920_000.0, 1_924_992_000.0));
        let mut sheet = Sheet::default();
        note_chain(&[], false, &mut sheet);
        assert_eq!((sheet.samples[0].value, sheet.samples[1].value), (NO_CHAIN, NO_CHAIN));
    }
}

//! DNS messages (RFC 1035): one question out, one answer in. Records are written as zone files do, for the checks.
//!
//! The answer is foreign: every read is bounded by the message, and compressed names may only point backwards.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::signals::probes::settings::DnsProbe;

const TYPES: [(&str, u16); 19] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("CAA", 257),
    ("ANY", 255),
];
const CLASSES: [(&str, u16); 5] = [("IN", 1), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

/// The number of a response code.
pub(in super::super) fn rcode(word: &str) -> Option<u8> {
    RCODES.iter().position(|name| *name == word).map(|at| at as u8)
}

pub(super) fn rcode_name(code: u8) -> String {
    RCODES.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Question {
    /// The name as it travels: length and label, ended by a zero.
    name: Vec<u8>,
    kind: u16,
    class: u16,
    recursion: bool,
}

impl Question {
    /// Reads the question out of the settings; an error names the field.
    pub fn parse(dns: &DnsProbe) -> Result<Question, (&'static str, String)> {
        let number =
            |table: &[(&str, u16)], word: &str| table.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        if dns.query_name.is_empty() {
            return Err(("dns.query_name", "is missing".to_owned()));
        }
        let mut name = Vec::new();
        for label in dns.query_name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
            if label.len() > 63 || !label.is_ascii() {
                return Err(("dns.query_name", format!("{label:?} is no label of a domain name")));
            }
            name.push(label.len() as u8);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        if name.len() > 255 {
            return Err(("dns.query_name", "is longer than a domain name can be".to_owned()));
        }
        let unknown = |word: &str| format!("{word:?} is not known");
        let kind = number(&TYPES, &dns.query_type).ok_or_else(|| ("dns.query_type", unknown(&dns.query_type)))?;
        let class = number(&CLASSES, &dns.query_class).ok_or_else(|| ("dns.query_class", unknown(&dns.query_class)))?;
        Ok(Question { name, kind, class, recursion: dns.recursion_desired })
    }

    pub fn is_soa(&self) -> bool {
        self.kind == 6
    }

    pub fn to_bytes(&self, id: u16) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([u8::from(self.recursion), 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.name);
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        bytes
    }
}

/// One record.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// `name.\tttl\tclass\ttype\tdata`.
    pub text: String,
    /// Of a SOA record.
    pub serial: Option<u32>,
}

/// The answer: its code, and the records of answer, authority, additional.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub rcode: u8,
    pub sections: [Vec<Record>; 3],
}

impl Reply {
    pub fn parse(bytes: &[u8], id: u16) -> Result<Reply, &'static str> {
        let mut at = Cursor { whole: bytes, at: 0 };
        let cut = "is cut off";
        if at.u16().ok_or(cut)? != id {
            return Err("has another identifier");
        }
        let flags = at.u16().ok_or(cut)?;
        if flags & 0x8000 == 0 {
            return Err("is a query");
        }
        let counts = [at.u16(), at.u16(), at.u16(), at.u16()];
        for _ in 0..counts[0].ok_or(cut)? {
            at.name().ok_or(cut)?;
            at.take(4).ok_or(cut)?;
        }
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (section, count) in sections.iter_mut().zip(&counts[1..]) {
            for _ in 0..count.ok_or(cut)? {
                section.push(at.record().ok_or("has a broken record")?);
            }
        }
        Ok(Reply { rcode: (flags & 0xf) as u8, sections })
    }
}

struct Cursor<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.whole.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(part)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A name with its final dot. A pointer must lead to before where the name began, so that none goes in circles.
    fn name(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut resume = None;
        let mut floor = self.at;
        loop {
            let length = usize::from(self.u8()?);
            match length {
                0 => break,
                1..=63 => {
                    for byte in self.take(length)? {
                        match byte {
                            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                                let _ = write!(text, "\\{}", char::from(*byte));
                            }
                            0x21..=0x7e => text.push(char::from(*byte)),
                            _ => {
                                let _ = write!(text, "\\{byte:03}");
                            }
                        }
                    }
                    text.push('.');
                    if text.len() > 1024 {
                        return None;
                    }
                }
                0xc0.. => {
                    let to = (length & 0x3f) << 8 | usize::from(self.u8()?);
                    resume.get_or_insert(self.at);
                    if to >= floor {
                        return None;
                    }
                    (self.at, floor) = (to, to);
                }
                _ => return None,
            }
        }
        self.at = resume.unwrap_or(self.at);
        if text.is_empty() {
            text.push('.');
        }
        Some(text)
    }

    fn record(&mut self) -> Option<Record> {
        let name = self.name()?;
        let (kind, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.whole.len())?;
        let data_at = self.at;
        let word = |table: &[(&str, u16)], prefix: &str, number: u16| {
            let known = table.iter().find(|(_, other)| *other == number);
            known.map_or_else(|| format!("{prefix}{number}"), |(name, _)| (*name).to_owned())
        };
        let serial = if kind == 6 { Cursor { whole: self.whole, at: data_at }.soa_serial() } else { None };
        let data = self.data(kind, end).filter(|_| self.at == end);
        let data = match data {
            Some(data) => data,
            None => unknown_data(&self.whole[data_at..end]),
        };
        self.at = end;
        let (class, kind) = (word(&CLASSES, "CLASS", class), word(&TYPES, "TYPE", kind));
        Some(Record { text: format!("{name}\t{ttl}\t{class}\t{kind}\t{data}"), serial })
    }

    fn soa_serial(&mut self) -> Option<u32> {
        self.name()?;
        self.name()?;
        self.u32()
    }

    fn data(&mut self, kind: u16, end: usize) -> Option<String> {
        match kind {
            1 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?).to_string()),
            28 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).to_string()),
            2 | 5 | 12 => self.name(),
            15 => Some(format!("{} {}", self.u16()?, self.name()?)),
            33 => Some(format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?)),
            6 => {
                let mut text = format!("{} {}", self.name()?, self.name()?);
                for _ in 0..5 {
                    let _ = write!(text, " {}", self.u32()?);
                }
                Some(text)
            }
            13 | 16 => {
                let mut parts = Vec::new();
                while self.at < end {
                    let length = usize::from(self.u8()?);
                    parts.push(quoted(self.take(length)?));
                }
                Some(parts.join(" "))
            }
            257 => {
                let (flags, length) = (self.u8()?, usize::from(self.u8()?));
                let tag = String::from_utf8_lossy(self.take(length)?).into_owned();
                let value = self.take(end.checked_sub(self.at)?)?;
                Some(format!("{flags} {tag} {}", quoted(value)))
            }
            _ => None,
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                let _ = write!(text, "\\{}", char::from(*byte));
            }
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text.push('"');
    text
}

/// Data of a type that has no form of its own here: RFC 3597.
fn unknown_data(bytes: &[u8]) -> String {
    let mut text = format!("\\# {}", bytes.len());
    if !bytes.is_empty() {
        text.push(' ');
    }
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        bytes.extend_from_slice(b"\x07example\x03org\x00\x00\x01\x00\x01");
        for (name, kind, data) in records {
            bytes.extend_from_slice(name);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 1, 0x2c]);
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn records_are_written_as_zone_files_do() {
        let check = |kind: u16, data: &[u8], expected: &str| {
            let parsed = Reply::parse(&reply(&[(b"\xc0\x0c", kind, data)]), 7).unwrap();
            assert_eq!(parsed.sections[0][0].text, format!("example.org.\t300\tIN\t{expected}"));
        };
        check(1, &[127, 0, 0, 1], "A\t127.0.0.1");
        check(28, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "AAAA\t::1");
        check(5, b"\x03www\xc0\x0c", "CNAME\twww.example.org.");
        check(15, b"\x00\x0a\x02mx\xc0\x0c", "MX\t10 mx.example.org.");
        check(16, b"\x03a\"b\x01\xff", "TXT\t\"a\\\"b\" \"\\255\"");
        check(33, b"\x00\x01\x00\x02\x00\x50\x00", "SRV\t1 2 80 .");
        check(257, b"\x00\x05issueca", "CAA\t0 issue \"ca\"");
        check(1, &[1, 2], "A\t\\# 2 0102");
        check(999, &[], "TYPE999\t\\# 0");
        let soa = b"\x02ns\xc0\x0c\x02hm\xc0\x0c\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04";
        check(6, soa, "SOA\tns.example.org. hm.example.org. 5 1 2 3 4");
        assert_eq!(Reply::parse(&reply(&[(b"\xc0\x0c", 6, soa)]), 7).unwrap().sections[0][0].serial, Some(5));
    }

    #[test]
    fn broken_answers_are_refused() {
        let check = |bytes: &[u8], id: u16, expected: &str| assert_eq!(Reply::parse(bytes, id), Err(expected));
        check(&reply(&[]), 8, "has another identifier");
        check(&reply(&[])[..20], 7, "is cut off");
        check(&[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 7, "is a query");
        check(&reply(&[(b"\xc0\x1d", 1, &[1, 2, 3, 4])]), 7, "has a broken record");
        let mut short = reply(&[(b"\xc0\x0c", 1, &[1, 2, 3, 4])]);
        short.truncate(short.len() - 1);
        check(&short, 7, "has a broken record");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut framed = vec![0, 7, 0x80, 0, 0, 1, 0, 9, 0, 9, 0, 9];
            framed.extend(bytes);
            let _ = Reply::parse(&framed, 7);
        }
    }
}

//! IP, TCP, UDP and ICMP counters, from `/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6`.

use super::prelude::*;

pub(crate) struct Netstat {
    pairs: [Reader; 2],
    snmp6: Reader,
    wanted: Wanted,
}

impl Netstat {
    pub(crate) fn new(checked: &Checked) -> Netstat {
        Netstat {
            pairs: [Reader::new(checked.proc("net/netstat")), Reader::new(checked.proc("net/snmp"))],
            snmp6: Reader::new(checked.proc("net/snmp6")),
            wanted: Wanted { fields: Answers::new(Some(&checked.netstat_fields)), key: Vec::new() },
        }
    }
}

impl Collector for Netstat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for file in &mut self.pairs {
            parse_pairs(file.read()?, &mut self.wanted, sink)?;
        }
        // Without IPv6 this one is not there.
        match self.snmp6.read_if_there()? {
            Some(data) => parse_snmp6(data, &mut self.wanted, sink),
            None => Ok(()),
        }
    }
}

/// Which `Protocol_Name` is shown.
struct Wanted {
    fields: Answers,
    key: Vec<u8>,
}

impl Wanted {
    fn has(&mut self, protocol: &[u8], name: &[u8]) -> bool {
        self.key.clear();
        self.key.extend_from_slice(protocol);
        self.key.push(b'_');
        self.key.extend_from_slice(name);
        self.fields.is_match(&self.key)
    }

    fn put(&mut self, protocol: &[u8], name: &[u8], value: &[u8], sink: &mut Sink) -> Result<(), Failure> {
        if self.has(protocol, name) {
            let value = number(value).ok_or(Failure::malformed("a network counter"))?;
            let (protocol, name) = (&*text(protocol), &*text(name));
            let help = &["Statistic ", protocol, name, "."];
            sink.put_as(&["node_netstat_", protocol, "_", name], MetricKind::Unknown, help, &[], value);
        }
        Ok(())
    }
}

/// Two lines a protocol: `Tcp: names`, `Tcp: numbers`.
fn parse_pairs(data: &[u8], wanted: &mut Wanted, sink: &mut Sink) -> Result<(), Failure> {
    let mut all = lines(data);
    while let (Some(heading), Some(numbers)) = (all.next(), all.next()) {
        let (mut names, mut values) = (fields(heading), fields(numbers));
        let (protocol, same) = (names.next(), values.next());
        let protocol = protocol.filter(|_| protocol == same).and_then(|name| name.strip_suffix(b":"));
        let protocol = protocol.ok_or(Failure::malformed("a network counter's heading"))?;
        for (name, value) in names.zip(values) {
            wanted.put(protocol, name, value, sink)?;
        }
    }
    Ok(())
}

/// One line a counter: `Ip6InOctets 460`; the protocol ends with the first 6.
fn parse_snmp6(data: &[u8], wanted: &mut Wanted, sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data) {
        let mut parts = fields(line);
        let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let Some(six) = memchr::memchr(b'6', key) {
            let (protocol, name) = key.split_at(six + 1);
            wanted.put(protocol, name, value, sink)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_counters_are_shown() {
        let fields = regex::Regex::new("^(Tcp_CurrEstab|Ip6_InOctets)$").unwrap();
        let wanted = &mut Wanted { fields: Answers::new(Some(&fields)), key: Vec::new() };
        let lines = lines_of(|sink| {
            parse_pairs(b"Tcp: MaxConn CurrEstab\nTcp: -1 7\n", wanted, sink).unwrap();
            parse_snmp6(b"Ip6InReceives  7\nIp6InOctets      460\n", wanted, sink).unwrap();
            assert!(parse_pairs(b"Tcp: A\nUdp: 1\n", wanted, sink).is_err());
        });
        assert_eq!(lines, ["node_netstat_Tcp_CurrEstab 7", "node_netstat_Ip6_InOctets 460"]);
    }
}

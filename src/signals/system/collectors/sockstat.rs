//! Sockets in use, from `/proc/net/sockstat` and `/proc/net/sockstat6`.

use super::prelude::*;

const USED: Family = Family::gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.");

pub(crate) struct Sockstat([Reader; 2]);

impl Sockstat {
    pub(crate) fn new(checked: &Checked) -> Sockstat {
        Sockstat(["net/sockstat", "net/sockstat6"].map(|path| Reader::new(checked.proc(path))))
    }
}

impl Collector for Sockstat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let page = rustix::param::page_size() as f64;
        let mut any = false;
        for file in &mut self.0 {
            if let Some(data) = file.read_if_there()? {
                any = true;
                parse(data, page, sink)?;
            }
        }
        if any { Ok(()) } else { Err(Failure::NoData) }
    }
}

/// `TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1`; `mem` counts pages and is shown in bytes too.
fn parse(data: &[u8], page: f64, sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data) {
        let Some((protocol, rest)) = split_once(line, b':') else { continue };
        let protocol = &*text(protocol);
        let mut parts = fields(rest);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let value = number(value).ok_or(Failure::malformed("a socket statistic"))?;
            if protocol == "sockets" {
                sink.put(&USED, &[], value);
                continue;
            }
            put(protocol, &text(name), value, sink);
            if name == b"mem" {
                put(protocol, "mem_bytes", value * page, sink);
            }
        }
    }
    Ok(())
}

fn put(protocol: &str, name: &str, value: f64, sink: &mut Sink) {
    let help = &["Number of ", protocol, " sockets in state ", name, "."];
    sink.put_as(&["node_sockstat_", protocol, "_", name], MetricKind::Gauge, help, &[], value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_pages_and_bytes() {
        let data = b"sockets: used 229\nTCP: inuse 4 mem 2\nUDP6: inuse 9\n";
        let expected = [
            "node_sockstat_sockets_used 229",
            "node_sockstat_TCP_inuse 4",
            "node_sockstat_TCP_mem 2",
            "node_sockstat_TCP_mem_bytes 8192",
            "node_sockstat_UDP6_inuse 9",
        ];
        assert_eq!(lines_of(|sink| parse(data, 4096.0, sink).unwrap()), expected);
    }
}

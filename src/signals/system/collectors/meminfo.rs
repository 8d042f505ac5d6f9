//! Memory, all of `/proc/meminfo`: `Active(anon):  12 kB` becomes `node_memory_Active_anon_bytes`.

use super::prelude::*;

pub(crate) struct Meminfo(Reader);

impl Meminfo {
    pub(crate) fn new(checked: &Checked) -> Meminfo {
        Meminfo(Reader::new(checked.proc("meminfo")))
    }
}

impl Collector for Meminfo {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.0.read()?, sink)
    }
}

/// Keys without a unit (`HugePages_Free`) are counts and keep their name.
fn parse(data: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    let fail = || Failure::malformed("a line of /proc/meminfo");
    for line in lines(data) {
        let Some((key, rest)) = split_once(line, b':') else { continue };
        let key = std::str::from_utf8(key).map_err(|_| fail())?;
        let mut parts = fields(rest);
        let value = parts.next().and_then(number).ok_or_else(fail)?;
        let (unit, value) = if parts.next() == Some(b"kB") { ("_bytes", value * 1024.0) } else { ("", value) };
        let (stem, kind) = key.strip_suffix(')').and_then(|key| key.split_once('(')).unwrap_or((key, ""));
        let gap = if kind.is_empty() { "" } else { "_" };
        sink.put_as(
            &["node_memory_", stem, gap, kind, unit],
            MetricKind::Gauge,
            &["Memory information field ", stem, gap, kind, unit, "."],
            &[],
            value,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names_and_kilobytes_bytes() {
        let data = b"MemTotal:  2 kB\nActive(anon):  3 kB\nHugePages_Free:       1\n";
        let expected =
            ["node_memory_MemTotal_bytes 2048", "node_memory_Active_anon_bytes 3072", "node_memory_HugePages_Free 1"];
        assert_eq!(lines_of(|sink| parse(data, sink).unwrap()), expected);
        lines_of(|sink| assert!(parse(b"MemTotal: x kB\n", sink).is_err()));
    }
}

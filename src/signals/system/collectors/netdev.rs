//! Traffic of network devices, from `/proc/net/dev`, and from sysfs the one counter that is missing there.
//!
//! The kernel folds its many error counters into these columns (net/core/net-procfs.c) just as node_exporter folds
//! what it hears over netlink, so the values are the same.

use std::path::PathBuf;

use super::prelude::*;

/// The columns after the device's name: received, then sent.
const COLUMNS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];
const NOHANDLER: &str = "receive_nohandler";

pub(crate) struct Netdev {
    file: Reader,
    exclude: Answers,
}

impl Netdev {
    pub(crate) fn new(checked: &Checked) -> Netdev {
        let exclude = Answers::new(checked.net_device_exclude.as_ref());
        Netdev { file: Reader::new(checked.proc("net/dev")), exclude }
    }
}

impl Collector for Netdev {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.exclude, sink)
    }
}

/// Two heading lines, then `name: numbers`, with or without a space after the colon.
fn parse(data: &[u8], exclude: &mut Answers, sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data).skip(2) {
        // A device's name may hold a colon itself; the numbers hold none.
        let Some(colon) = memchr::memrchr(b':', line) else { continue };
        let device = trim(&line[..colon]);
        if exclude.is_match(device) {
            continue;
        }
        let device = text(device);
        for (name, field) in COLUMNS.iter().zip(fields(&line[colon + 1..])) {
            let value = number(field).ok_or(Failure::malformed("a line of /proc/net/dev"))?;
            put(name, &device, value, sink);
        }
    }
    Ok(())
}

fn put(name: &str, device: &str, value: f64, sink: &mut Sink) {
    let help = &["Network device statistic ", name, "."];
    sink.put_as(&["node_network_", name, "_total"], MetricKind::Counter, help, &[("device", device)], value);
}

/// Packets dropped because no protocol wanted them.
pub(crate) struct Nohandler {
    directory: PathBuf,
    exclude: Answers,
    small: Small,
}

impl Nohandler {
    pub(crate) fn new(checked: &Checked) -> Nohandler {
        let exclude = Answers::new(checked.net_device_exclude.as_ref());
        Nohandler { directory: checked.sys("class/net"), exclude, small: Small::default() }
    }
}

impl Collector for Nohandler {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for device in names(&self.directory)? {
            let path = self.directory.join(&device).join("statistics/rx_nohandler");
            if self.exclude.is_match(device.as_bytes()) {
                continue;
            }
            if let Some(value) = self.small.number(&path) {
                put(NOHANDLER, &device, value, sink);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_classic_names() {
        let data =
            b"Inter-|   Receive\n face |bytes\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n    lo: 0 0\nbr:1: 5\n";
        let exclude = &mut Answers::new(Some(&regex::Regex::new("^lo$").unwrap()));
        let lines = lines_of(|sink| parse(data, exclude, sink).unwrap());
        assert_eq!(lines.len(), 17);
        assert_eq!(lines[0], r#"node_network_receive_bytes_total{device="eth0"} 1"#);
        assert_eq!(lines[7], r#"node_network_receive_multicast_total{device="eth0"} 8"#);
        assert_eq!(lines[13], r#"node_network_transmit_colls_total{device="eth0"} 14"#);
        assert_eq!(lines[16], r#"node_network_receive_bytes_total{device="br:1"} 5"#);
    }
}

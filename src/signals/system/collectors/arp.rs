//! Neighbours by device, from `/proc/net/arp`: what node_exporter shows with `--no-collector.arp.netlink`.

use super::prelude::*;

const ENTRIES: Family = Family::gauge("node_arp_entries", "ARP entries by device");

pub(crate) struct Arp {
    file: Reader,
    exclude: Answers,
    counts: Vec<(Vec<u8>, u32)>,
}

impl Arp {
    pub(crate) fn new(checked: &Checked) -> Arp {
        let exclude = Answers::new(checked.arp_device_exclude.as_ref());
        Arp { file: Reader::new(checked.proc("net/arp")), exclude, counts: Vec::new() }
    }
}

impl Collector for Arp {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.exclude, &mut self.counts, sink);
        Ok(())
    }
}

/// The first line is a heading; a line's last field is the device. `counts` is kept between calls for its memory.
fn parse(data: &[u8], exclude: &mut Answers, counts: &mut Vec<(Vec<u8>, u32)>, sink: &mut Sink) {
    counts.iter_mut().for_each(|(_, count)| *count = 0);
    for device in lines(data).skip(1).filter_map(|line| fields(line).nth(5)) {
        match counts.iter_mut().find(|(known, _)| known == device) {
            Some((_, count)) => *count += 1,
            None => counts.push((device.to_vec(), 1)),
        }
    }
    counts.retain(|(_, count)| *count > 0);
    for (device, count) in counts {
        if !exclude.is_match(device) {
            sink.put(&ENTRIES, &[("device", &text(device))], f64::from(*count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_by_device_and_ended_devices_vanish() {
        let heading = "IP address HW type Flags HW address Mask Device\n";
        let mut counts = Vec::new();
        let mut check = |lines: &str, expected: &[&str]| {
            let data = format!("{heading}{lines}");
            let exclude = &mut Answers::new(Some(&regex::Regex::new("^nope").unwrap()));
            assert_eq!(lines_of(|sink| parse(data.as_bytes(), exclude, &mut counts, sink)), expected);
        };
        let line = |device: &str| format!("10.0.0.1 0x1 0x2 aa:bb:cc:dd:ee:ff * {device}\n");
        let all = [line("eth0"), line("eth1"), line("nope"), line("eth0")].concat();
        check(&all, &[r#"node_arp_entries{device="eth0"} 2"#, r#"node_arp_entries{device="eth1"} 1"#]);
        check(&line("eth1"), &[r#"node_arp_entries{device="eth1"} 1"#]);
        check("short line\n", &[]);
    }
}

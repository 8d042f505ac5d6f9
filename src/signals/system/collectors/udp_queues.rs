//! Bytes that wait in UDP sockets, from `/proc/net/udp` and `/proc/net/udp6`.

use super::prelude::*;

const QUEUES: Family =
    Family::gauge("node_udp_queues", "Number of allocated memory in the kernel for UDP datagrams in bytes.");

pub(crate) struct UdpQueues([(&'static str, Reader); 2]);

impl UdpQueues {
    pub(crate) fn new(checked: &Checked) -> UdpQueues {
        UdpQueues([("v4", "net/udp"), ("v6", "net/udp6")].map(|(ip, path)| (ip, Reader::new(checked.proc(path)))))
    }
}

impl Collector for UdpQueues {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let mut any = false;
        for (ip, file) in &mut self.0 {
            if let Some(data) = file.read_if_there()? {
                any = true;
                parse(data, ip, sink);
            }
        }
        if any { Ok(()) } else { Err(Failure::NoData) }
    }
}

/// After a heading, each line's fifth field is `sending:received`, hexadecimal.
fn parse(data: &[u8], ip: &str, sink: &mut Sink) {
    let (mut sending, mut received) = (0_u64, 0_u64);
    for queues in lines(data).skip(1).filter_map(|line| fields(line).nth(4)) {
        if let Some((tx, rx)) = split_once(queues, b':') {
            sending = sending.saturating_add(hex(tx).unwrap_or_default());
            received = received.saturating_add(hex(rx).unwrap_or_default());
        }
    }
    sink.put(&QUEUES, &[("queue", "tx"), ("ip", ip)], sending as f64);
    sink.put(&QUEUES, &[("queue", "rx"), ("ip", ip)], received as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_all_sockets_are_summed() {
        let data = b"heading\n 0: 0:16 0:0 0A 00000015:00000001 0\n 1: 0:16 0:0 0A 00000001:00000000 0\n";
        let expected = [r#"node_udp_queues{ip="v4", queue="tx"} 22"#, r#"node_udp_queues{ip="v4", queue="rx"} 1"#];
        assert_eq!(lines_of(|sink| parse(data, "v4", sink)), expected);
    }
}

//! TCP connections by state, from the text of `/proc/net/tcp` and `/proc/net/tcp6`. Off by default: the kernel walks all
//! sockets for it.

use super::prelude::*;

const STATES: Family = Family::gauge("node_tcp_connection_states", "Number of connection states.");
/// The kernel's states from 1 on (include/net/tcp_states.h).
const NAMES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

pub(crate) struct Tcpstat([Reader; 2]);

impl Tcpstat {
    pub(crate) fn new(checked: &Checked) -> Tcpstat {
        Tcpstat(["net/tcp", "net/tcp6"].map(|path| Reader::new(checked.proc(path))))
    }
}

#[derive(Default)]
struct Counts {
    states: [u32; NAMES.len()],
    sending: u64,
    received: u64,
}

impl Collector for Tcpstat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let mut counts = Counts::default();
        for file in &mut self.0 {
            if let Some(data) = file.read_if_there()? {
                parse(data, &mut counts);
            }
        }
        counts.show(sink);
        Ok(())
    }
}

/// After a heading: number, local and remote address, state, queues.
fn parse(data: &[u8], counts: &mut Counts) {
    for line in lines(data).skip(1) {
        let mut parts = fields(line).skip(3);
        let (Some(state), Some(queues)) = (parts.next().and_then(hex), parts.next()) else { continue };
        if let Some(count) = usize::try_from(state).ok().and_then(|state| counts.states.get_mut(state.checked_sub(1)?))
        {
            *count += 1;
        }
        if let Some((sending, received)) = split_once(queues, b':') {
            counts.sending = counts.sending.saturating_add(hex(sending).unwrap_or_default());
            counts.received = counts.received.saturating_add(hex(received).unwrap_or_default());
        }
    }
}

impl Counts {
    fn show(&self, sink: &mut Sink) {
        for (name, count) in NAMES.iter().zip(&self.states).filter(|(_, count)| **count > 0) {
            sink.put(&STATES, &[("state", name)], f64::from(*count));
        }
        sink.put(&STATES, &[("state", "tx_queued_bytes")], self.sending as f64);
        sink.put(&STATES, &[("state", "rx_queued_bytes")], self.received as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_by_state() {
        let line = |state: &str| format!("   0: 00000000:0016 00000000:0000 {state} 00000015:00000001 00:00000000\n");
        let data = ["heading\n".into(), line("0A"), line("01"), line("0A"), line("FF")].concat();
        let mut counts = Counts::default();
        parse(data.as_bytes(), &mut counts);
        let expected = [
            r#"node_tcp_connection_states{state="established"} 1"#,
            r#"node_tcp_connection_states{state="listen"} 2"#,
            r#"node_tcp_connection_states{state="tx_queued_bytes"} 84"#,
            r#"node_tcp_connection_states{state="rx_queued_bytes"} 4"#,
        ];
        assert_eq!(lines_of(|sink| counts.show(sink)), expected);
    }
}

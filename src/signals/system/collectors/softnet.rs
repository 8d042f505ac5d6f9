//! Packet processing of each CPU, from `/proc/net/softnet_stat`: hexadecimal columns, one line a CPU.

use super::prelude::*;

/// Column and family. Kernels before 5.14 lack the last one, which is then shown as 0.
const COLUMNS: [(usize, Family); 7] = [
    (0, Family::counter("node_softnet_processed_total", "Number of processed packets")),
    (1, Family::counter("node_softnet_dropped_total", "Number of dropped packets")),
    (2, Family::counter("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota")),
    (
        8,
        Family::counter(
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
        ),
    ),
    (9, Family::counter("node_softnet_received_rps_total", "Number of times cpu woken up received_rps")),
    (10, Family::counter("node_softnet_flow_limit_count_total", "Number of times flow limit has been reached")),
    (11, Family::gauge("node_softnet_backlog_len", "Softnet backlog status")),
];
/// The column that holds the CPU's number, where there is one.
const CPU: usize = 12;

pub(crate) struct Softnet {
    file: Reader,
    /// The texts of CPU numbers.
    numbers: Vec<String>,
}

impl Softnet {
    pub(crate) fn new(checked: &Checked) -> Softnet {
        Softnet { file: Reader::new(checked.proc("net/softnet_stat")), numbers: Vec::new() }
    }
}

impl Collector for Softnet {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.numbers, sink)
    }
}

fn parse(data: &[u8], numbers: &mut Vec<String>, sink: &mut Sink) -> Result<(), Failure> {
    for (position, line) in lines(data).enumerate() {
        let cpu = match fields(line).nth(CPU) {
            Some(field) => hex(field).filter(|cpu| *cpu < 65_536).map(|cpu| cpu as usize),
            None => Some(position),
        };
        let cpu = cpu.ok_or(Failure::malformed("a CPU's number in softnet_stat"))?;
        while numbers.len() <= cpu {
            numbers.push(numbers.len().to_string());
        }
        for (column, family) in &COLUMNS {
            let value = fields(line).nth(*column).map_or(Some(0), hex);
            let value = value.ok_or(Failure::malformed("a line of softnet_stat"))?;
            sink.put(family, &[("cpu", &numbers[cpu])], value as f64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_names_the_cpu() {
        let mut numbers = Vec::new();
        let data = b"0000000a 1 2 0 0 0 0 0 8 9 a b 00000003 0 0\n00000001 0 0 0 0 0 0 0 0 0 0\n";
        let lines = lines_of(|sink| parse(data, &mut numbers, sink).unwrap());
        assert_eq!(lines.len(), 14);
        assert_eq!(lines[0], r#"node_softnet_processed_total{cpu="3"} 10"#);
        assert_eq!(lines[6], r#"node_softnet_backlog_len{cpu="3"} 11"#);
        assert_eq!(lines[13], r#"node_softnet_backlog_len{cpu="1"} 0"#);
    }
}

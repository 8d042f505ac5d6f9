//! Pressure stall information, from `/proc/pressure` (Documentation/accounting/psi.rst): the totals, in seconds.

use super::prelude::*;

/// File, first word of the line, family.
const FAMILIES: [(usize, &[u8], Family); 6] = [
    (
        0,
        b"some",
        Family::counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        ),
    ),
    (
        1,
        b"some",
        Family::counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
    ),
    (
        1,
        b"full",
        Family::counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
    ),
    (
        2,
        b"some",
        Family::counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        ),
    ),
    (
        2,
        b"full",
        Family::counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    ),
    (
        3,
        b"full",
        Family::counter(
            "node_pressure_irq_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IRQ congestion",
        ),
    ),
];

pub(crate) struct Pressure([Reader; 4]);

impl Pressure {
    pub(crate) fn new(checked: &Checked) -> Pressure {
        Pressure(["cpu", "io", "memory", "irq"].map(|name| Reader::new(checked.proc("pressure").join(name))))
    }
}

impl Collector for Pressure {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let mut any = false;
        for (position, file) in self.0.iter_mut().enumerate() {
            // Interrupts are told of only where the kernel accounts for their time.
            if let Some(data) = file.read_if_there()? {
                any = true;
                parse(data, position, sink)?;
            }
        }
        if any { Ok(()) } else { Err(Failure::NoData) }
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781`, the total in microseconds.
fn parse(data: &[u8], position: usize, sink: &mut Sink) -> Result<(), Failure> {
    for (_, word, family) in FAMILIES.iter().filter(|(file, ..)| *file == position) {
        let line = lines(data).find(|line| line.starts_with(word));
        let Some(line) = line else { continue };
        let total = fields(line).find_map(|field| field.strip_prefix(b"total="));
        let micros = total.and_then(number).ok_or(Failure::malformed("a pressure total"))?;
        sink.put(family, &[], micros / 1000.0 / 1000.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_shown_in_seconds() {
        let data = b"some avg10=0.18 avg60=0.34 avg300=0.10 total=159886802\nfull avg10=0 avg60=0 avg300=0 total=5\n";
        let expected =
            ["node_pressure_io_waiting_seconds_total 159.886802", "node_pressure_io_stalled_seconds_total 0.000005"];
        assert_eq!(lines_of(|sink| parse(data, 1, sink).unwrap()), expected);
        lines_of(|sink| assert!(parse(b"some avg10=0.18\n", 0, sink).is_err()));
    }
}

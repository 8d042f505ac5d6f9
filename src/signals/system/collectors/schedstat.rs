//! Run queue statistics of each CPU, from `/proc/schedstat` (Documentation/scheduler/sched-stats.rst).

use super::prelude::*;

const FAMILIES: [(Family, f64); 3] = [
    (
        Family::counter("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process."),
        NANOSECONDS,
    ),
    (
        Family::counter(
            "node_schedstat_waiting_seconds_total",
            "Number of seconds spent by processing waiting for this CPU.",
        ),
        NANOSECONDS,
    ),
    (Family::counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU."), 1.0),
];
const NANOSECONDS: f64 = 1e9;

pub(crate) struct Schedstat(Reader);

impl Schedstat {
    pub(crate) fn new(checked: &Checked) -> Schedstat {
        Schedstat(Reader::new(checked.proc("schedstat")))
    }
}

impl Collector for Schedstat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.0.read()?, sink)
    }
}

/// `cpu0` and nine numbers, of which the last three are shown.
fn parse(data: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data).filter_map(|line| line.strip_prefix(b"cpu")) {
        let mut parts = fields(line);
        let Some(cpu) = parts.next() else { continue };
        for ((family, divisor), field) in FAMILIES.iter().zip(parts.skip(6)) {
            let value = number(field).ok_or(Failure::malformed("a cpu line of /proc/schedstat"))?;
            sink.put(family, &[("cpu", &text(cpu))], value / divisor);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_three_numbers_of_a_cpu_are_shown() {
        let data = b"version 15\ncpu0 1 0 3 4 5 6 7000000000 8000000000 9\ndomain0 3 1 2\n";
        let expected = [
            r#"node_schedstat_running_seconds_total{cpu="0"} 7"#,
            r#"node_schedstat_waiting_seconds_total{cpu="0"} 8"#,
            r#"node_schedstat_timeslices_total{cpu="0"} 9"#,
        ];
        assert_eq!(lines_of(|sink| parse(data, sink).unwrap()), expected);
    }
}

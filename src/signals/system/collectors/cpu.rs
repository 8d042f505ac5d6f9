//! Time of each CPU by mode, from `/proc/stat`.
//!
//! The kernel's numbers can step back a little (idle and iowait are estimates), which would look like a counter reset.
//! As node_exporter does, a mode that steps back keeps its last value; only when idle itself steps back by more than
//! three seconds the CPU was taken out and put back, and all its numbers are taken as they are.

use super::prelude::*;

const SECONDS: Family = Family::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
const GUEST: Family =
    Family::counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.");
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
const IDLE_STEP_BACK_SECONDS: f64 = 3.0;
/// Linux gives user space hundredths of a second on every architecture.
const TICKS_A_SECOND: f64 = 100.0;
/// CPUs with higher numbers are shown without the guard against steps back.
const CPUS_GUARDED: usize = 8_192;

type Times = [f64; MODES.len() + GUEST_MODES.len()];

pub(crate) struct Cpu {
    stat: Reader,
    last: Vec<Times>,
}

impl Cpu {
    pub(crate) fn new(checked: &Checked) -> Cpu {
        Cpu { stat: Reader::new(checked.proc("stat")), last: Vec::new() }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.stat.read()?, &mut self.last, sink)
    }
}

/// `last` holds each CPU's numbers of the call before.
fn parse(data: &[u8], last: &mut Vec<Times>, sink: &mut Sink) -> Result<(), Failure> {
    let fail = || Failure::malformed("a cpu line of /proc/stat");
    // The first line sums all CPUs; theirs follow at once.
    for line in lines(data).skip(1).map_while(|line| line.strip_prefix(b"cpu")) {
        let mut parts = fields(line);
        let cpu = parts.next().and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(fail)?;
        let index: usize = cpu.parse().map_err(|_| fail())?;
        let mut times = Times::default();
        for (time, field) in times.iter_mut().zip(parts) {
            *time = number(field).ok_or_else(fail)? / TICKS_A_SECOND;
        }
        if index < CPUS_GUARDED {
            if last.len() <= index {
                last.resize(index + 1, Times::default());
            }
            guard(&mut last[index], &mut times);
        }
        for (mode, value) in MODES.iter().zip(&times) {
            sink.put(&SECONDS, &[("cpu", cpu), ("mode", mode)], *value);
        }
        for (mode, value) in GUEST_MODES.iter().zip(&times[MODES.len()..]) {
            sink.put(&GUEST, &[("cpu", cpu), ("mode", mode)], *value);
        }
    }
    Ok(())
}

fn guard(last: &mut Times, times: &mut Times) {
    let replaced = last[IDLE] - times[IDLE] > IDLE_STEP_BACK_SECONDS;
    if !replaced {
        for (time, before) in times.iter_mut().zip(last.iter()) {
            *time = time.max(*before);
        }
    }
    *last = *times;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_held_and_a_replaced_cpu_starts_anew() {
        let mut last = Vec::new();
        let mut check = |idle: u32, iowait: u32, expected: [&str; 2]| {
            let data = format!("cpu 1 2 3 4\ncpu0 100 0 0 {idle} {iowait} 0 0 0 0 0\nintr 5 cpu\n");
            let lines = lines_of(|sink| parse(data.as_bytes(), &mut last, sink).unwrap());
            assert_eq!(lines.len(), 10);
            assert_eq!(lines[0], r#"node_cpu_seconds_total{cpu="0", mode="user"} 1"#);
            assert_eq!(lines[9], r#"node_cpu_guest_seconds_total{cpu="0", mode="nice"} 0"#);
            let shown = [&lines[3], &lines[4]].map(|line| line.rsplit(' ').next().unwrap());
            assert_eq!(shown, expected);
        };
        check(1000, 50, ["10", "0.5"]);
        check(990, 40, ["10", "0.5"]);
        check(2000, 60, ["20", "0.6"]);
        check(300, 1, ["3", "0.01"]);
    }

    #[test]
    fn a_line_without_numbers_is_a_failure() {
        assert!(parse(b"cpu  1\ncpu0 x\n", &mut Vec::new(), &mut Sink::new(&crate::model::Labels::empty())).is_err());
    }
}

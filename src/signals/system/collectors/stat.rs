//! Boot time, context switches, forks, interrupts and processes, from `/proc/stat`.

use super::prelude::*;

/// First word of the line, and family.
const FAMILIES: [(&[u8], Family); 6] = [
    (b"intr", Family::counter("node_intr_total", "Total number of interrupts serviced.")),
    (b"ctxt", Family::counter("node_context_switches_total", "Total number of context switches.")),
    (b"btime", Family::gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
    (b"processes", Family::counter("node_forks_total", "Total number of forks.")),
    (b"procs_running", Family::gauge("node_procs_running", "Number of processes in runnable state.")),
    (b"procs_blocked", Family::gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete.")),
];

pub(crate) struct Stat(Reader);

impl Stat {
    pub(crate) fn new(checked: &Checked) -> Stat {
        Stat(Reader::new(checked.proc("stat")))
    }
}

impl Collector for Stat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.0.read()?, sink)
    }
}

fn parse(data: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data) {
        let Some((word, rest)) = split_once(line, b' ') else { continue };
        let Some((_, family)) = FAMILIES.iter().find(|(name, _)| *name == word) else { continue };
        let value = fields(rest).next().and_then(number).ok_or(Failure::malformed("a line of /proc/stat"))?;
        sink.put(family, &[], value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_each_line_is_shown() {
        let data =
            b"cpu  1 2\nintr 88 17 0\nctxt 38\nbtime 1418183276\nprocesses 26\nprocs_running 2\nprocs_blocked 0\n";
        let lines = lines_of(|sink| parse(data, sink).unwrap());
        assert_eq!(
            lines[..3],
            ["node_intr_total 88", "node_context_switches_total 38", "node_boot_time_seconds 1418183276"]
        );
        assert_eq!(lines[3..], ["node_forks_total 26", "node_procs_running 2", "node_procs_blocked 0"]);
    }
}

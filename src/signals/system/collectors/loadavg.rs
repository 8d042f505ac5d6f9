//! Load averages, from `/proc/loadavg`.

use super::prelude::*;

const LOADS: [Family; 3] = [
    Family::gauge("node_load1", "1m load average."),
    Family::gauge("node_load5", "5m load average."),
    Family::gauge("node_load15", "15m load average."),
];

pub(crate) struct Loadavg(Reader);

impl Loadavg {
    pub(crate) fn new(checked: &Checked) -> Loadavg {
        Loadavg(Reader::new(checked.proc("loadavg")))
    }
}

impl Collector for Loadavg {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.0.read()?, sink)
    }
}

fn parse(data: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    let mut parts = fields(data);
    for family in &LOADS {
        let load = parts.next().and_then(number).ok_or(Failure::malformed("/proc/loadavg"))?;
        sink.put(family, &[], load);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_numbers_are_the_loads() {
        let lines = lines_of(|sink| parse(b"0.21 0.37 12.5 1/719 19737\n", sink).unwrap());
        assert_eq!(lines, ["node_load1 0.21", "node_load5 0.37", "node_load15 12.5"]);
        lines_of(|sink| assert!(parse(b"0.21 x", sink).is_err()));
    }
}

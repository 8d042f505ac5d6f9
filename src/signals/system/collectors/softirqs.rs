//! Soft interrupts by CPU and type, from `/proc/softirqs`. Off by default, as in node_exporter.

use super::prelude::*;

const FUNCTIONS: Family = Family::counter("node_softirqs_functions_total", "Softirq counts per CPU.");

pub(crate) struct Softirqs(Reader);

impl Softirqs {
    pub(crate) fn new(checked: &Checked) -> Softirqs {
        Softirqs(Reader::new(checked.proc("softirqs")))
    }
}

impl Collector for Softirqs {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.0.read()?, sink)
    }
}

/// A heading with the CPUs, then `TYPE:` and a number for each of them.
fn parse(data: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    let heading = lines(data).next().unwrap_or_default();
    for line in lines(data).skip(1) {
        let Some((kind, rest)) = split_once(line, b':') else { continue };
        let kind = text(trim(kind));
        for (cpu, count) in fields(heading).zip(fields(rest)) {
            let cpu = text(cpu.strip_prefix(b"CPU").unwrap_or(cpu));
            let count = number(count).ok_or(Failure::malformed("a line of /proc/softirqs"))?;
            sink.put(&FUNCTIONS, &[("cpu", &cpu), ("type", &kind)], count);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_its_count() {
        let lines = lines_of(|sink| parse(b"   CPU0  CPU1\n  HI:  7  1\n", sink).unwrap());
        let expected = [
            r#"node_softirqs_functions_total{cpu="0", type="HI"} 7"#,
            r#"node_softirqs_functions_total{cpu="1", type="HI"} 1"#,
        ];
        assert_eq!(lines, expected);
    }
}

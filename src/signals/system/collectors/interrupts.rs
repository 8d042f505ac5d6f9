//! Interrupts by CPU and type, from `/proc/interrupts`. Off by default: it is many series.

use super::prelude::*;

const INTERRUPTS: Family = Family::counter("node_interrupts_total", "Interrupt details.");

pub(crate) struct Interrupts {
    file: Reader,
    /// The texts of CPU numbers.
    numbers: Vec<String>,
}

impl Interrupts {
    pub(crate) fn new(checked: &Checked) -> Interrupts {
        Interrupts { file: Reader::new(checked.proc("interrupts")), numbers: Vec::new() }
    }
}

impl Collector for Interrupts {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.numbers, sink)
    }
}

/// A heading with a word for each CPU, then `type: numbers, controller, devices`. Lines with fewer numbers than CPUs
/// (`ERR`, `MIS`) are left out.
fn parse(data: &[u8], numbers: &mut Vec<String>, sink: &mut Sink) -> Result<(), Failure> {
    let cpus = fields(lines(data).next().unwrap_or_default()).count();
    while numbers.len() < cpus {
        numbers.push(numbers.len().to_string());
    }
    for line in lines(data).skip(1) {
        let Some((kind, rest)) = split_once(line, b':') else { continue };
        let kind = trim(kind);
        let mut about = fields(rest);
        if about.by_ref().take(cpus).count() < cpus || about.rest().is_empty() {
            continue;
        }
        let is_numbered = kind.iter().all(u8::is_ascii_digit);
        let info = if is_numbered { about.next().map(<[u8]>::to_vec).unwrap_or_default() } else { joined(&mut about) };
        let (kind, info, devices) = (text(kind), text(&info).into_owned(), joined(&mut about));
        let devices = text(&devices);
        for (cpu, field) in numbers.iter().take(cpus).zip(fields(rest)) {
            let value = number(field).ok_or(Failure::malformed("a line of /proc/interrupts"))?;
            let labels = [("cpu", cpu.as_str()), ("type", &kind), ("info", &info), ("devices", &devices)];
            sink.put(&INTERRUPTS, &labels, value);
        }
    }
    Ok(())
}

/// What is left of a line, with one space between its words.
fn joined<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    words.collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_interrupts_tell_their_devices() {
        let data = b"     CPU0  CPU1\n 16:  5 6  IO-APIC  16-fasteoi   usb1, mmc0\nNMI:  1 2  Non-maskable interrupts\nERR: 0\n";
        let lines = lines_of(|sink| parse(data, &mut Vec::new(), sink).unwrap());
        let expected = [
            r#"node_interrupts_total{cpu="0", devices="16-fasteoi usb1, mmc0", info="IO-APIC", type="16"} 5"#,
            r#"node_interrupts_total{cpu="1", devices="16-fasteoi usb1, mmc0", info="IO-APIC", type="16"} 6"#,
            r#"node_interrupts_total{cpu="0", info="Non-maskable interrupts", type="NMI"} 1"#,
            r#"node_interrupts_total{cpu="1", info="Non-maskable interrupts", type="NMI"} 2"#,
        ];
        assert_eq!(lines, expected);
    }
}

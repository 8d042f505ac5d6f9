//! Paging, swapping and out-of-memory kills: the wanted lines of `/proc/vmstat`.

use super::prelude::*;

pub(crate) struct Vmstat {
    file: Reader,
    wanted: Answers,
}

impl Vmstat {
    pub(crate) fn new(checked: &Checked) -> Vmstat {
        Vmstat { file: Reader::new(checked.proc("vmstat")), wanted: Answers::new(Some(&checked.vmstat_fields)) }
    }
}

impl Collector for Vmstat {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.wanted, sink)
    }
}

fn parse(data: &[u8], wanted: &mut Answers, sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data) {
        let Some((name, value)) = split_once(line, b' ').filter(|(name, _)| wanted.is_match(name)) else { continue };
        let value = number(trim(value)).ok_or(Failure::malformed("a line of /proc/vmstat"))?;
        let name = &*text(name);
        let help = &["/proc/vmstat information field ", name, "."];
        sink.put_as(&["node_vmstat_", name], MetricKind::Unknown, help, &[], value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_lines_are_shown() {
        let wanted = &mut Answers::new(Some(&regex::Regex::new("^pgfault$").unwrap()));
        let lines = lines_of(|sink| parse(b"nr_free_pages 1\npgfault 2320168809\n", wanted, sink).unwrap());
        assert_eq!(lines, ["node_vmstat_pgfault 2320168809"]);
    }
}

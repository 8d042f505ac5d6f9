//! The connection tracking table: `/proc/sys/net/netfilter` and the sums of `/proc/net/stat/nf_conntrack`.

use super::prelude::*;

const ENTRIES: Family =
    Family::gauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking.");
const LIMIT: Family = Family::gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.");

/// Column of the statistics file, and its family.
const STATISTICS: [(&[u8], Family); 8] = [
    (b"found", Family::gauge("node_nf_conntrack_stat_found", "Number of searched entries which were successful.")),
    (b"invalid", Family::gauge("node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked.")),
    (
        b"ignore",
        Family::gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    (b"insert", Family::gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.")),
    (
        b"insert_failed",
        Family::gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    (b"drop", Family::gauge("node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure.")),
    (
        b"early_drop",
        Family::gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        b"search_restart",
        Family::gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

pub(crate) struct Conntrack {
    count: Reader,
    max: Reader,
    statistics: Reader,
}

impl Conntrack {
    pub(crate) fn new(checked: &Checked) -> Conntrack {
        Conntrack {
            count: Reader::new(checked.proc("sys/net/netfilter/nf_conntrack_count")),
            max: Reader::new(checked.proc("sys/net/netfilter/nf_conntrack_max")),
            statistics: Reader::new(checked.proc("net/stat/nf_conntrack")),
        }
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for (family, file) in [(&ENTRIES, &mut self.count), (&LIMIT, &mut self.max)] {
            let value = number(trim(file.read()?)).ok_or(Failure::malformed("the size of the conntrack table"))?;
            sink.put(family, &[], value);
        }
        if let Some(data) = self.statistics.read_if_there()? {
            parse(data, sink);
        }
        Ok(())
    }
}

/// A heading, then a line of hexadecimal numbers for each CPU.
fn parse(data: &[u8], sink: &mut Sink) {
    let heading = lines(data).next().unwrap_or_default();
    for (name, family) in &STATISTICS {
        let Some(column) = fields(heading).position(|field| field == *name) else { continue };
        let cells = lines(data).skip(1).filter_map(|line| hex(fields(line).nth(column)?));
        sink.put(family, &[], cells.fold(0_u64, u64::saturating_add) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_summed_over_the_cpus() {
        let data = b"entries found drop\n21 0a 01\n21 05 00\n";
        let expected = ["node_nf_conntrack_stat_found 15", "node_nf_conntrack_stat_drop 1"];
        assert_eq!(lines_of(|sink| parse(data, sink)), expected);
    }
}

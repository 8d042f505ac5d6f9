//! Disk I/O, from `/proc/diskstats` (Documentation/admin-guide/iostats.rst). Sectors there are always 512 bytes.

use super::prelude::*;

/// The fields after the device's name: family and unit.
const FIELDS: [(Family, f64); 17] = [
    (Family::counter("node_disk_reads_completed_total", "The total number of reads completed successfully."), 1.0),
    (Family::counter("node_disk_reads_merged_total", "The total number of reads merged."), 1.0),
    (Family::counter("node_disk_read_bytes_total", "The total number of bytes read successfully."), SECTOR),
    (
        Family::counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads."),
        MILLISECOND,
    ),
    (Family::counter("node_disk_writes_completed_total", "The total number of writes completed successfully."), 1.0),
    (Family::counter("node_disk_writes_merged_total", "The number of writes merged."), 1.0),
    (Family::counter("node_disk_written_bytes_total", "The total number of bytes written successfully."), SECTOR),
    (
        Family::counter(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
        ),
        MILLISECOND,
    ),
    (Family::gauge("node_disk_io_now", "The number of I/Os currently in progress."), 1.0),
    (Family::counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."), MILLISECOND),
    (
        Family::counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os."),
        MILLISECOND,
    ),
    (
        Family::counter("node_disk_discards_completed_total", "The total number of discards completed successfully."),
        1.0,
    ),
    (Family::counter("node_disk_discards_merged_total", "The total number of discards merged."), 1.0),
    (Family::counter("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully."), 1.0),
    (
        Family::counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
        ),
        MILLISECOND,
    ),
    (
        Family::counter("node_disk_flush_requests_total", "The total number of flush requests completed successfully"),
        1.0,
    ),
    (
        Family::counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
        ),
        MILLISECOND,
    ),
];
const SECTOR: f64 = 512.0;
const MILLISECOND: f64 = 0.001;

pub(crate) struct Diskstats {
    file: Reader,
    exclude: Answers,
}

impl Diskstats {
    pub(crate) fn new(checked: &Checked) -> Diskstats {
        let exclude = Answers::new(checked.disk_device_exclude.as_ref());
        Diskstats { file: Reader::new(checked.proc("diskstats")), exclude }
    }
}

impl Collector for Diskstats {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(self.file.read()?, &mut self.exclude, sink)
    }
}

/// Older kernels have fewer fields; only those that are there are shown.
fn parse(data: &[u8], exclude: &mut Answers, sink: &mut Sink) -> Result<(), Failure> {
    for line in lines(data) {
        let mut parts = fields(line).skip(2);
        let Some(device) = parts.next() else { continue };
        if exclude.is_match(device) {
            continue;
        }
        let device = text(device);
        for ((family, unit), field) in FIELDS.iter().zip(parts) {
            let value = number(field).ok_or(Failure::malformed("a line of /proc/diskstats"))?;
            sink.put(family, &[("device", &device)], value * unit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_bytes_and_seconds_and_partitions_are_left_out() {
        let data = b"   8  0 sda 1 2 3 4 5 6 7 8 9 10 11\n   8  1 sda1 1 2 3 4 5 6 7 8 9 10 11\n";
        let exclude = &mut Answers::new(Some(&regex::Regex::new(r"^sd[a-z]\d+$").unwrap()));
        let lines = lines_of(|sink| parse(data, exclude, sink).unwrap());
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[2], r#"node_disk_read_bytes_total{device="sda"} 1536"#);
        assert_eq!(lines[3], r#"node_disk_read_time_seconds_total{device="sda"} 0.004"#);
        assert_eq!(lines[8], r#"node_disk_io_now{device="sda"} 9"#);
    }
}

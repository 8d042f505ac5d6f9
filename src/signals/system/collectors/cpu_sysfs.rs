//! What sysfs tells of the CPUs: thermal throttling by core and package, and which CPUs are isolated.

use std::collections::BTreeMap;

use super::prelude::*;

const CORE: Family =
    Family::counter("node_cpu_core_throttles_total", "Number of times this CPU core has been throttled.");
const PACKAGE: Family =
    Family::counter("node_cpu_package_throttles_total", "Number of times this CPU package has been throttled.");
const ISOLATED: Family = Family::gauge(
    "node_cpu_isolated",
    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
);

pub(crate) struct CpuSysfs {
    directory: std::path::PathBuf,
    small: Small,
}

impl CpuSysfs {
    pub(crate) fn new(checked: &Checked) -> CpuSysfs {
        CpuSysfs { directory: checked.sys("devices/system/cpu"), small: Small::default() }
    }
}

impl Collector for CpuSysfs {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
        for name in names(&self.directory)? {
            if !name.strip_prefix("cpu").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
                continue;
            }
            let cpu = self.directory.join(name);
            // Not every CPU has a place in the topology, nor a throttle counter.
            let (Some(package), Some(core)) = (
                self.small.text(&cpu.join("topology/physical_package_id")),
                self.small.text(&cpu.join("topology/core_id")),
            ) else {
                continue;
            };
            if let Some(count) = self.small.number(&cpu.join("thermal_throttle/package_throttle_count")) {
                packages.entry(package.clone()).or_insert(count);
            }
            if let Some(count) = self.small.number(&cpu.join("thermal_throttle/core_throttle_count")) {
                cores.entry((package, core)).or_insert(count);
            }
        }
        for (package, count) in &packages {
            sink.put(&PACKAGE, &[("package", package)], *count);
        }
        for ((package, core), count) in &cores {
            sink.put(&CORE, &[("core", core), ("package", package)], *count);
        }
        if let Some(list) = self.small.text(&self.directory.join("isolated")) {
            for cpu in ranges(&list) {
                sink.put(&ISOLATED, &[("cpu", &cpu.to_string())], 1.0);
            }
        }
        Ok(())
    }
}

/// Reads a list like `1,3-5,9`.
fn ranges(list: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for range in list.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(from), Ok(to)) = (from.trim().parse::<u32>(), to.trim().parse::<u32>()) {
            all.extend((from..=to).take(65_536));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_ranges_is_spelled_out() {
        assert_eq!(ranges("1,3-5,9"), [1, 3, 4, 5, 9]);
        assert!(ranges("").is_empty());
    }
}

//! CPU frequencies and governors, from `/sys/devices/system/cpu/cpu*/cpufreq`. The kernel counts in kilohertz.

use super::prelude::*;

const FREQUENCIES: [(&str, Family); 6] = [
    ("cpuinfo_cur_freq", Family::gauge("node_cpu_frequency_hertz", "Current CPU thread frequency in hertz.")),
    ("cpuinfo_min_freq", Family::gauge("node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz.")),
    ("cpuinfo_max_freq", Family::gauge("node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz.")),
    (
        "scaling_cur_freq",
        Family::gauge("node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
    ),
    (
        "scaling_min_freq",
        Family::gauge("node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz."),
    ),
    (
        "scaling_max_freq",
        Family::gauge("node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz."),
    ),
];
const GOVERNOR: Family = Family::gauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor.");

pub(crate) struct Cpufreq {
    directory: std::path::PathBuf,
    small: Small,
}

impl Cpufreq {
    pub(crate) fn new(checked: &Checked) -> Cpufreq {
        Cpufreq { directory: checked.sys("devices/system/cpu"), small: Small::default() }
    }
}

impl Collector for Cpufreq {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for name in names(&self.directory)? {
            let Some(cpu) = name.strip_prefix("cpu").filter(|cpu| cpu.parse::<u32>().is_ok()) else { continue };
            let directory = self.directory.join(&name).join("cpufreq");
            for (file, family) in &FREQUENCIES {
                if let Some(kilohertz) = self.small.number(&directory.join(file)) {
                    sink.put(family, &[("cpu", cpu)], kilohertz * 1000.0);
                }
            }
            let Some(current) = self.small.text(&directory.join("scaling_governor")) else { continue };
            let offered = self.small.text(&directory.join("scaling_available_governors")).unwrap_or_default();
            for governor in offered.split_ascii_whitespace() {
                let value = f64::from(governor == current);
                sink.put(&GOVERNOR, &[("cpu", cpu), ("governor", governor)], value);
            }
        }
        Ok(())
    }
}

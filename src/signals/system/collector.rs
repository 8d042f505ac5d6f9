//! What a collector is, and the one list of all of them.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::collectors::*;
use super::settings::Checked;
use super::sink::Sink;
use crate::model::PassThrough;
use crate::time::Timestamp;

/// Reads one part of the host.
pub(crate) trait Collector: Send {
    /// Puts all values of now into the sink. What was put before a failure is shown.
    fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure>;

    /// True while something that it asked for does not come back.
    fn is_stuck(&self) -> bool {
        false
    }
}

/// Why a collector gave nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("this host has no such data")]
    NoData,
    #[error("can't read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("can't understand {what}")]
    Malformed { what: &'static str },
}

impl Failure {
    pub(crate) fn read(path: &Path, source: io::Error) -> Failure {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported => Failure::NoData,
            _ => Failure::Read { path: path.to_owned(), source },
        }
    }

    pub(crate) fn malformed(what: &'static str) -> Failure {
        Failure::Malformed { what }
    }
}

/// A collector in the list.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// For the slow part of another collector: that one's name. It is switched with it and not listed.
    pub(crate) of: Option<&'static str>,
    pub(crate) on: bool,
    /// Read by the thread for what may be slow, less often.
    pub(crate) slow: bool,
    pub(crate) help: &'static str,
    pub(crate) build: fn(&Checked) -> Box<dyn Collector>,
}

const fn fast(name: &'static str, help: &'static str, build: fn(&Checked) -> Box<dyn Collector>) -> Spec {
    Spec { name, of: None, on: true, slow: false, help, build }
}

const fn slow(name: &'static str, help: &'static str, build: fn(&Checked) -> Box<dyn Collector>) -> Spec {
    Spec { slow: true, ..fast(name, help, build) }
}

const fn part(of: &'static str, name: &'static str, build: fn(&Checked) -> Box<dyn Collector>) -> Spec {
    Spec { of: Some(of), ..slow(name, "", build) }
}

const fn off(spec: Spec) -> Spec {
    Spec { on: false, ..spec }
}

/// All collectors. The names are node_exporter's.
pub(crate) static SPECS: &[Spec] = &[
    fast("arp", "neighbours by device, from /proc/net/arp", |c| Box::new(arp::Arp::new(c))),
    slow("bonding", "configured and active slaves of bonding interfaces", |c| Box::new(bonding::Bonding::new(c))),
    fast("conntrack", "the connection tracking table", |c| Box::new(conntrack::Conntrack::new(c))),
    fast("cpu", "time of each CPU by mode, from /proc/stat", |c| Box::new(cpu::Cpu::new(c))),
    part("cpu", "cpu_sysfs", |c| Box::new(cpu_sysfs::CpuSysfs::new(c))),
    slow("cpufreq", "CPU frequencies and governors", |c| Box::new(cpufreq::Cpufreq::new(c))),
    fast("diskstats", "disk I/O, from /proc/diskstats", |c| Box::new(diskstats::Diskstats::new(c))),
    part("diskstats", "disk_info", |c| Box::new(disk_info::DiskInfo::new(c))),
    slow("dmi", "the machine's make and model", |c| Box::new(dmi::Dmi::new(c))),
    slow("edac", "memory errors found by the memory controllers", |c| Box::new(edac::Edac::new(c))),
    fast("entropy", "the kernel's entropy pool", |c| Box::new(entropy::Entropy::new(c))),
    fast("filefd", "open files of the whole host", |c| Box::new(filefd::Filefd::new(c))),
    fast("filesystem", "size and free space of file systems", |c| Box::new(filesystem::Filesystem::new(c))),
    slow("hwmon", "temperatures, fans, voltages and other sensors", |c| Box::new(hwmon::Hwmon::new(c))),
    off(fast("interrupts", "interrupts by CPU and type", |c| Box::new(interrupts::Interrupts::new(c)))),
    fast("kernel_hung", "tasks that the kernel found hung", |c| Box::new(kernel_hung::KernelHung::new(c))),
    fast("loadavg", "load averages", |c| Box::new(loadavg::Loadavg::new(c))),
    slow("mdadm", "software RAID, from /proc/mdstat and sysfs", |c| Box::new(mdadm::Mdadm::new(c))),
    fast("meminfo", "memory, all of /proc/meminfo", |c| Box::new(meminfo::Meminfo::new(c))),
    slow("netclass", "properties of network devices, from /sys/class/net", |c| Box::new(netclass::Netclass::new(c))),
    fast("netdev", "traffic of network devices, from /proc/net/dev", |c| Box::new(netdev::Netdev::new(c))),
    part("netdev", "netdev_nohandler", |c| Box::new(netdev::Nohandler::new(c))),
    fast("netstat", "IP, TCP, UDP and ICMP counters", |c| Box::new(netstat::Netstat::new(c))),
    slow("os", "the distribution, from os-release", |c| Box::new(os::Os::new(c))),
    slow("powersupplyclass", "power supplies and batteries", |c| Box::new(powersupply::PowerSupply::new(c))),
    fast("pressure", "stalls for CPU, I/O, memory and interrupts", |c| Box::new(pressure::Pressure::new(c))),
    off(slow("processes", "processes by state, threads and their limits", |c| Box::new(processes::Processes::new(c)))),
    fast("schedstat", "run queue statistics of each CPU", |c| Box::new(schedstat::Schedstat::new(c))),
    fast("sockstat", "sockets in use", |c| Box::new(sockstat::Sockstat::new(c))),
    off(fast("softirqs", "soft interrupts by CPU and type", |c| Box::new(softirqs::Softirqs::new(c)))),
    fast("softnet", "packet processing of each CPU", |c| Box::new(softnet::Softnet::new(c))),
    fast("stat", "boot time, context switches, forks, interrupts, processes", |c| Box::new(stat::Stat::new(c))),
    off(slow("tcpstat", "TCP connections by state, from /proc/net/tcp", |c| Box::new(tcpstat::Tcpstat::new(c)))),
    slow("thermal_zone", "thermal zones and cooling devices", |c| Box::new(thermal::Thermal::new(c))),
    fast("time", "the clock, the time zone and the clock source", |c| Box::new(time::Time::new(c))),
    part("time", "time_sysfs", |c| Box::new(time::Sources::new(c))),
    fast("udp_queues", "bytes that wait in UDP sockets", |c| Box::new(udp_queues::UdpQueues::new(c))),
    slow("uname", "kernel and host name", |c| Box::new(uname::Uname::new(c))),
    fast("vmstat", "paging, swapping and out-of-memory kills", |c| Box::new(vmstat::Vmstat::new(c))),
];

/// The collectors that can be switched on and off: name, whether it is on by default, what it reads.
pub fn collector_names() -> &'static [(&'static str, bool, &'static str)] {
    static NAMES: LazyLock<Vec<(&'static str, bool, &'static str)>> = LazyLock::new(|| {
        SPECS.iter().filter(|spec| spec.of.is_none()).map(|spec| (spec.name, spec.on, spec.help)).collect()
    });
    &NAMES
}

/// Answers of a regular expression, remembered: the same few names are asked at each run.
pub(crate) struct Answers {
    pattern: Option<Regex>,
    known: HashMap<Box<[u8]>, bool, BuildHasherDefault<PassThrough>>,
}

/// Names remembered before starting anew.
const ANSWERS: usize = 10_000;

impl Answers {
    /// Of this expression; without one nothing matches.
    pub(crate) fn new(pattern: Option<&Regex>) -> Answers {
        Answers { pattern: pattern.cloned(), known: HashMap::default() }
    }

    /// Whether the expression matches.
    pub(crate) fn is_match(&mut self, name: &[u8]) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        if let Some(answer) = self.known.get(name) {
            return *answer;
        }
        let answer = pattern.is_match(&super::bytes::text(name));
        if self.known.len() >= ANSWERS {
            self.known.clear();
        }
        self.known.insert(name.into(), answer);
        answer
    }
}

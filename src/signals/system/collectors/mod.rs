//! One file a collector: a pure `parse` of the kernel's text, and beside it a thin reader.

pub(crate) mod arp;
pub(crate) mod bonding;
pub(crate) mod conntrack;
pub(crate) mod cpu;
pub(crate) mod cpu_sysfs;
pub(crate) mod cpufreq;
pub(crate) mod disk_info;
pub(crate) mod diskstats;
pub(crate) mod dmi;
pub(crate) mod edac;
pub(crate) mod entropy;
pub(crate) mod filefd;
pub(crate) mod filesystem;
pub(crate) mod hwmon;
pub(crate) mod interrupts;
pub(crate) mod kernel_hung;
pub(crate) mod loadavg;
pub(crate) mod mdadm;
pub(crate) mod meminfo;
pub(crate) mod netclass;
pub(crate) mod netdev;
pub(crate) mod netstat;
pub(crate) mod os;
pub(crate) mod powersupply;
pub(crate) mod pressure;
pub(crate) mod processes;
pub(crate) mod schedstat;
pub(crate) mod sockstat;
pub(crate) mod softirqs;
pub(crate) mod softnet;
pub(crate) mod stat;
pub(crate) mod tcpstat;
pub(crate) mod thermal;
pub(crate) mod time;
pub(crate) mod udp_queues;
pub(crate) mod uname;
pub(crate) mod vmstat;

/// What every collector's file needs.
mod prelude {
    pub(super) use crate::model::MetricKind;
    pub(super) use crate::signals::system::bytes::{fields, hex, lines, number, split_once, text, trim, whole};
    pub(super) use crate::signals::system::collector::{Answers, Collector, Failure};
    pub(super) use crate::signals::system::reader::{Reader, Small, names};
    pub(super) use crate::signals::system::settings::Checked;
    #[cfg(test)]
    pub(super) use crate::signals::system::sink::lines_of;
    pub(super) use crate::signals::system::sink::{Family, Sink};
    pub(super) use crate::time::Timestamp;
}

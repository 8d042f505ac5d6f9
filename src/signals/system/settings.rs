//! What the system signals are told by the configuration, and its check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::collector::SPECS;
use crate::limits;

/// Where the kernel's file systems are. In a container that watches its host these are mounts of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// node_exporter's `--path.procfs`.
    pub procfs: PathBuf,
    /// node_exporter's `--path.sysfs`.
    pub sysfs: PathBuf,
    /// node_exporter's `--path.rootfs`: mount points are below it, and it is taken off their names.
    pub rootfs: PathBuf,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into() }
    }
}

/// Which devices, mounts and fields are shown: regular expressions, not anchored, with node_exporter's defaults.
/// An empty exclude excludes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// `--collector.filesystem.mount-points-exclude`
    pub mount_points_exclude: String,
    /// `--collector.filesystem.fs-types-exclude`
    pub fs_types_exclude: String,
    /// `--collector.diskstats.device-exclude`
    pub disk_device_exclude: String,
    /// `--collector.netstat.fields`: those that are shown
    pub netstat_fields: String,
    /// `--collector.vmstat.fields`: those that are shown
    pub vmstat_fields: String,
    /// `--collector.netdev.device-exclude`
    pub net_device_exclude: String,
    /// `--collector.netclass.ignored-devices`
    pub netclass_device_exclude: String,
    /// `--collector.arp.device-exclude`
    pub arp_device_exclude: String,
}

impl Default for Filters {
    fn default() -> Filters {
        Filters {
            mount_points_exclude: concat!(
                r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|",
                r"var/lib/containers/storage/.+)($|/)",
            )
            .into(),
            fs_types_exclude: concat!(
                r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|",
                r"nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
            )
            .into(),
            disk_device_exclude: r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".into(),
            netstat_fields: concat!(
                r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|",
                r"TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|",
                r"Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|",
                r"Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
            )
            .into(),
            vmstat_fields: r"^(oom_kill|pgpg|pswp|pg.*fault).*".into(),
            net_device_exclude: String::new(),
            netclass_device_exclude: String::new(),
            arp_device_exclude: String::new(),
        }
    }
}

/// All that the room needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub roots: Roots,
    /// Time between two collections.
    pub interval: Duration,
    /// Time between two runs of the collectors that may be slow; their values are repeated in between.
    pub slow_interval: Duration,
    /// The `job` label. The shipped rules and dashboards expect `node`.
    pub job: String,
    /// The `instance` label; empty for the host's name.
    pub instance: String,
    /// Collectors to switch on or off against their default.
    pub collectors: BTreeMap<String, bool>,
    pub filters: Filters,
    /// After this time a mount or a slow collector counts as stuck.
    pub mount_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            roots: Roots::default(),
            interval: Duration::from_secs(1),
            slow_interval: Duration::from_secs(5),
            job: "node".into(),
            instance: String::new(),
            collectors: BTreeMap::new(),
            filters: Filters::default(),
            mount_timeout: Duration::from_secs(5),
        }
    }
}

/// Why the system signals can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no system collector {name:?}: write one of {known}")]
    UnknownCollector { name: String, known: String },
    #[error("{field} is no regular expression: {source}")]
    Filter { field: &'static str, source: Box<regex::Error> },
    #[error("interval must be longer than zero")]
    Interval,
    #[error("can't start the thread of the slow collectors: {0}")]
    Thread(std::io::Error),
}

impl Settings {
    /// Checks everything that can be wrong without touching the host.
    ///
    /// # Errors
    /// For an unknown collector, a bad regular expression, or an interval of zero.
    pub fn check(&self) -> Result<(), Error> {
        self.compile().map(drop)
    }

    pub(crate) fn compile(&self) -> Result<Checked, Error> {
        for name in self.collectors.keys() {
            if !SPECS.iter().any(|spec| spec.of.is_none() && spec.name == name) {
                let known: Vec<_> = SPECS.iter().filter(|spec| spec.of.is_none()).map(|spec| spec.name).collect();
                return Err(Error::UnknownCollector { name: name.clone(), known: known.join(", ") });
            }
        }
        if self.interval.as_millis() == 0 {
            return Err(Error::Interval);
        }
        let f = &self.filters;
        Ok(Checked {
            mount_points_exclude: exclude("mount_points_exclude", &f.mount_points_exclude)?,
            fs_types_exclude: exclude("fs_types_exclude", &f.fs_types_exclude)?,
            disk_device_exclude: exclude("disk_device_exclude", &f.disk_device_exclude)?,
            netstat_fields: pattern("netstat_fields", &f.netstat_fields)?,
            vmstat_fields: pattern("vmstat_fields", &f.vmstat_fields)?,
            net_device_exclude: exclude("net_device_exclude", &f.net_device_exclude)?,
            netclass_device_exclude: exclude("netclass_device_exclude", &f.netclass_device_exclude)?,
            arp_device_exclude: exclude("arp_device_exclude", &f.arp_device_exclude)?,
            settings: self.clone(),
        })
    }
}

fn pattern(field: &'static str, text: &str) -> Result<Regex, Error> {
    let built = RegexBuilder::new(text).size_limit(limits::REGEX_BYTES).build();
    built.map_err(|source| Error::Filter { field, source: Box::new(source) })
}

fn exclude(field: &'static str, text: &str) -> Result<Option<Regex>, Error> {
    if text.is_empty() { Ok(None) } else { pattern(field, text).map(Some) }
}

/// Settings whose expressions are compiled.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    pub(crate) mount_points_exclude: Option<Regex>,
    pub(crate) fs_types_exclude: Option<Regex>,
    pub(crate) disk_device_exclude: Option<Regex>,
    pub(crate) netstat_fields: Regex,
    pub(crate) vmstat_fields: Regex,
    pub(crate) net_device_exclude: Option<Regex>,
    pub(crate) netclass_device_exclude: Option<Regex>,
    pub(crate) arp_device_exclude: Option<Regex>,
}

impl Checked {
    /// A path below /proc.
    pub(crate) fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.settings.roots.procfs.join(path)
    }

    /// A path below /sys.
    pub(crate) fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.settings.roots.sysfs.join(path)
    }

    /// A path below the root file system.
    pub(crate) fn root(&self, path: impl AsRef<Path>) -> PathBuf {
        self.settings.roots.rootfs.join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let check = |change: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::default();
            change(&mut settings);
            let message = settings.check().expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(|s| s.collectors = [("cpus".into(), true)].into(), "no system collector \"cpus\": write one of arp");
        check(|s| s.collectors = [("cpu_sysfs".into(), true)].into(), "no system collector");
        check(|s| s.filters.vmstat_fields = "(".into(), "vmstat_fields is no regular expression");
        check(|s| s.interval = Duration::ZERO, "interval");
        assert!(Settings::default().check().is_ok());
    }
}

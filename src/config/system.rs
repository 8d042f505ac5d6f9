//! `system`: the host's own metrics, under node_exporter's names.

use super::values::{Entries, Interval, Pattern};
use crate::yaml::{At, Decode, Fields};

/// A pattern of one of node_exporter's flags.
pub type Filter = Option<Pattern>;

/// `system`.
#[derive(Clone, Debug, Default)]
pub struct System {
    pub enabled: Option<bool>,
    pub interval: Option<Interval>,
    pub slow_interval: Option<Interval>,
    pub job: Option<String>,
    pub instance: Option<String>,
    pub collectors: Entries<bool>,
    pub roots: Roots,
    pub filters: Filters,
    pub mount_timeout: Option<Interval>,
}

impl Decode for System {
    fn decode(at: &mut At<'_>) -> Option<System> {
        let mut fields = at.record("system", "The host's own metrics, under node_exporter's names. On by default.")?;
        let enabled: bool = fields.or("enabled", "true", "false: collect nothing of this host");
        let interval = fields.optional("interval", "time between two collections; if missing `global.scrape_interval`");
        let slow_interval = fields.or(
            "slow_interval",
            "5s",
            "time between two runs of the collectors that may be slow (sysfs, sensors)",
        );
        let job = fields.or("job", "node", "the label `job`; the shipped rules and dashboards expect `node`");
        let instance = fields.optional("instance", "the label `instance`; if missing the host's name");
        let collectors = fields.or("collectors", "{}", "collectors to switch on (true) or off (false), by name");
        let roots: Option<Roots> = fields.optional("roots", "where the kernel's file systems are, in a container");
        let filters: Option<Filters> = fields.optional("filters", "which devices, mounts and fields are shown");
        let mount_timeout =
            fields.or("mount_timeout", "5s", "after this time a mount or a slow collector counts as stuck");
        fields.finish();
        Some(System {
            enabled: Some(enabled),
            interval,
            slow_interval: Some(slow_interval),
            job: Some(job),
            instance,
            collectors,
            roots: roots.unwrap_or_default(),
            filters: filters.unwrap_or_default(),
            mount_timeout: Some(mount_timeout),
        })
    }
}

/// `system.roots`.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pub procfs: Option<String>,
    pub sysfs: Option<String>,
    pub rootfs: Option<String>,
}

impl Decode for Roots {
    fn decode(at: &mut At<'_>) -> Option<Roots> {
        let mut fields =
            at.record("system roots", "Where the kernel's file systems are: node_exporter's `--path.*`.")?;
        let procfs = fields.or("procfs", "/proc", "the proc file system");
        let sysfs = fields.or("sysfs", "/sys", "the sys file system");
        let rootfs = fields.or("rootfs", "/", "the root: mount points are looked up below it, and shown without it");
        fields.finish();
        Some(Roots { procfs: Some(procfs), sysfs: Some(sysfs), rootfs: Some(rootfs) })
    }
}

/// `system.filters`; a filter that is missing keeps node_exporter's default.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    pub mount_points_exclude: Filter,
    pub fs_types_exclude: Filter,
    pub disk_device_exclude: Filter,
    pub netstat_fields: Filter,
    pub vmstat_fields: Filter,
    pub net_device_exclude: Filter,
    pub netclass_device_exclude: Filter,
    pub arp_device_exclude: Filter,
}

impl Decode for Filters {
    fn decode(at: &mut At<'_>) -> Option<Filters> {
        let doc = "Regular expressions, not anchored, each with the default of the node_exporter flag that it stands for. \
                   An empty exclude excludes nothing.";
        let mut fields = at.record("system filters", doc)?;
        let mut read = |key, flag| -> Filter { Fields::optional(&mut fields, key, flag) };
        let filters = Filters {
            mount_points_exclude: read("mount_points_exclude", "`--collector.filesystem.mount-points-exclude`"),
            fs_types_exclude: read("fs_types_exclude", "`--collector.filesystem.fs-types-exclude`"),
            disk_device_exclude: read("disk_device_exclude", "`--collector.diskstats.device-exclude`"),
            netstat_fields: read("netstat_fields", "`--collector.netstat.fields`: those that are shown"),
            vmstat_fields: read("vmstat_fields", "`--collector.vmstat.fields`: those that are shown"),
            net_device_exclude: read("net_device_exclude", "`--collector.netdev.device-exclude`"),
            netclass_device_exclude: read("netclass_device_exclude", "`--collector.netclass.ignored-devices`"),
            arp_device_exclude: read("arp_device_exclude", "`--collector.arp.device-exclude`"),
        };
        fields.finish();
        Some(filters)
    }
}

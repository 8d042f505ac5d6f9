//! `system`.

use crate::config::checker::Checker;
use crate::config::global::Global;
use crate::config::system::{Filter, System};
use crate::signals::system::{Filters, Roots, Settings, collector_names};
use crate::yaml::nearest;

/// The host's own metrics, unless they are switched off.
pub fn settings(check: &mut Checker<'_>, global: &Global, system: &System) -> Option<Settings> {
    let known: Vec<&str> = collector_names().iter().map(|(name, _, _)| *name).collect();
    for (name, _) in &system.collectors.0 {
        if !known.contains(&name.value.as_str()) {
            let help = match nearest(&name.value, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("known: {}", known.join(", ")),
            };
            check.error(&name.place, format!("there is no system collector `{}`", name.value), help);
        }
    }
    let usual = Settings::default();
    let interval = system.interval.map_or(global.scrape_interval.value.0, |interval| interval.0);
    let settings = Settings {
        roots: roots(check, system, usual.roots),
        interval,
        slow_interval: system.slow_interval.map_or(usual.slow_interval, |span| span.0),
        job: system.job.clone().unwrap_or(usual.job),
        instance: system.instance.clone().unwrap_or(usual.instance),
        collectors: system.collectors.0.iter().map(|(name, on)| (name.value.clone(), *on)).collect(),
        filters: filters(system, usual.filters),
        mount_timeout: system.mount_timeout.map_or(usual.mount_timeout, |span| span.0),
    };
    system.enabled.unwrap_or(true).then_some(settings)
}

fn roots(check: &Checker<'_>, system: &System, usual: Roots) -> Roots {
    let path = |written: &Option<String>, usual| written.as_ref().map_or(usual, |text| check.path(text));
    Roots {
        procfs: path(&system.roots.procfs, usual.procfs),
        sysfs: path(&system.roots.sysfs, usual.sysfs),
        rootfs: path(&system.roots.rootfs, usual.rootfs),
    }
}

fn filters(system: &System, usual: Filters) -> Filters {
    let written = &system.filters;
    let text = |filter: &Filter, usual: String| filter.as_ref().map_or(usual, |pattern| pattern.0.as_str().to_owned());
    Filters {
        mount_points_exclude: text(&written.mount_points_exclude, usual.mount_points_exclude),
        fs_types_exclude: text(&written.fs_types_exclude, usual.fs_types_exclude),
        disk_device_exclude: text(&written.disk_device_exclude, usual.disk_device_exclude),
        netstat_fields: text(&written.netstat_fields, usual.netstat_fields),
        vmstat_fields: text(&written.vmstat_fields, usual.vmstat_fields),
        net_device_exclude: text(&written.net_device_exclude, usual.net_device_exclude),
        netclass_device_exclude: text(&written.netclass_device_exclude, usual.netclass_device_exclude),
        arp_device_exclude: text(&written.arp_device_exclude, usual.arp_device_exclude),
    }
}

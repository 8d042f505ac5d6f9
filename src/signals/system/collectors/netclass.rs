//! Properties of network devices, from `/sys/class/net`. Many can't be read while a device is down; they are left out.

use std::path::PathBuf;

use super::prelude::*;

const UP: Family = Family::gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.");
const INFO: Family =
    Family::gauge("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.");
/// File, name after `node_network_`, kind.
const PROPERTIES: [(&str, &str, MetricKind); 17] = [
    ("addr_assign_type", "address_assign_type", MetricKind::Gauge),
    ("carrier", "carrier", MetricKind::Gauge),
    ("carrier_changes", "carrier_changes_total", MetricKind::Counter),
    ("carrier_up_count", "carrier_up_changes_total", MetricKind::Counter),
    ("carrier_down_count", "carrier_down_changes_total", MetricKind::Counter),
    ("dev_id", "device_id", MetricKind::Gauge),
    ("dormant", "dormant", MetricKind::Gauge),
    ("flags", "flags", MetricKind::Gauge),
    ("ifindex", "iface_id", MetricKind::Gauge),
    ("iflink", "iface_link", MetricKind::Gauge),
    ("link_mode", "iface_link_mode", MetricKind::Gauge),
    ("mtu", "mtu_bytes", MetricKind::Gauge),
    ("name_assign_type", "name_assign_type", MetricKind::Gauge),
    ("netdev_group", "net_dev_group", MetricKind::Gauge),
    ("speed", "speed_bytes", MetricKind::Gauge),
    ("tx_queue_len", "transmit_queue_length", MetricKind::Gauge),
    ("type", "protocol_type", MetricKind::Gauge),
];
/// The kernel tells megabits a second.
const SPEED_UNIT: f64 = 1_000_000.0 / 8.0;
const FLAG_UP: u64 = 1;

pub(crate) struct Netclass {
    directory: PathBuf,
    exclude: Answers,
    small: Small,
}

impl Netclass {
    pub(crate) fn new(checked: &Checked) -> Netclass {
        let exclude = Answers::new(checked.netclass_device_exclude.as_ref());
        Netclass { directory: checked.sys("class/net"), exclude, small: Small::default() }
    }
}

impl Collector for Netclass {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for device in names(&self.directory)? {
            let path = self.directory.join(&device);
            if self.exclude.is_match(device.as_bytes()) || !path.is_dir() {
                continue;
            }
            let device = device.as_str();
            let mut word = |file: &str| self.small.text(&path.join(file)).unwrap_or_default();
            let state = word("operstate");
            sink.put(&UP, &[("device", device)], f64::from(state == "up"));
            let flags = whole(word("flags").as_bytes()).unwrap_or_default() as u64;
            let info = [
                ("device", device),
                ("address", &word("address")),
                ("broadcast", &word("broadcast")),
                ("duplex", &word("duplex")),
                ("operstate", &state),
                ("adminstate", if flags & FLAG_UP == 0 { "down" } else { "up" }),
                ("ifalias", &word("ifalias")),
            ];
            sink.put(&INFO, &info, 1.0);
            for (file, name, kind) in PROPERTIES {
                let Some(value) = self.small.bytes(&path.join(file)).and_then(whole) else { continue };
                let value = if file == "speed" { value * SPEED_UNIT } else { value };
                let help = &["Network device property: ", name];
                sink.put_as(&["node_network_", name], kind, help, &[("device", device)], value);
            }
        }
        Ok(())
    }
}

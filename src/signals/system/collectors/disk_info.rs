//! What udev and sysfs know of the disks: model, serial number, device mapper, file system, ATA properties.
//! udev's records are read below the root file system (`/run/udev/data`).

use std::collections::HashMap;
use std::path::PathBuf;

use super::prelude::*;

const INFO: Family = Family::gauge("node_disk_info", "Info of /sys/block/<block_device>.");
const FILESYSTEM: Family = Family::gauge("node_disk_filesystem_info", "Info about disk filesystem.");
const MAPPER: Family = Family::gauge("node_disk_device_mapper_info", "Info about disk device mapper.");
const ATA: [(&str, Family); 3] = [
    ("ID_ATA_WRITE_CACHE", Family::gauge("node_disk_ata_write_cache", "ATA disk has a write cache.")),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        Family::gauge("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled."),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        Family::gauge("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
    ),
];

pub(crate) struct DiskInfo {
    disks: Reader,
    exclude: Answers,
    udev: PathBuf,
    block: PathBuf,
    small: Small,
}

impl DiskInfo {
    pub(crate) fn new(checked: &Checked) -> DiskInfo {
        DiskInfo {
            disks: Reader::new(checked.proc("diskstats")),
            exclude: Answers::new(checked.disk_device_exclude.as_ref()),
            udev: checked.root("run/udev/data"),
            block: checked.sys("block"),
            small: Small::default(),
        }
    }
}

impl Collector for DiskInfo {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for line in lines(self.disks.read()?) {
            let mut parts = fields(line).map(text);
            let (Some(major), Some(minor), Some(device)) = (parts.next(), parts.next(), parts.next()) else { continue };
            if self.exclude.is_match(device.as_bytes()) {
                continue;
            }
            let record = self.small.text(&self.udev.join(format!("b{major}:{minor}"))).unwrap_or_default();
            let rotational = self.small.number(&self.block.join(format!("{device}/queue/rotational")));
            let rotational = if rotational == Some(1.0) { "1" } else { "0" };
            show(&Properties::of(&record), [&device, &major, &minor, rotational], sink);
        }
        Ok(())
    }
}

/// A udev record's properties: its lines `E:NAME=value`.
struct Properties<'a>(HashMap<&'a str, &'a str>);

impl<'a> Properties<'a> {
    fn of(record: &'a str) -> Properties<'a> {
        Properties(record.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect())
    }

    fn get(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or("")
    }
}

fn show(udev: &Properties<'_>, [device, major, minor, rotational]: [&str; 4], sink: &mut Sink) {
    let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"];
    let serial = serial.iter().map(|name| udev.get(name)).find(|text| !text.is_empty()).unwrap_or("");
    let info = [
        ("device", device),
        ("major", major),
        ("minor", minor),
        ("path", udev.get("ID_PATH")),
        ("wwn", udev.get("ID_WWN")),
        ("model", udev.get("ID_MODEL")),
        ("serial", serial),
        ("revision", udev.get("ID_REVISION")),
        ("rotational", rotational),
    ];
    sink.put(&INFO, &info, 1.0);
    if !udev.get("ID_FS_TYPE").is_empty() {
        let labels = [
            ("device", device),
            ("type", udev.get("ID_FS_TYPE")),
            ("usage", udev.get("ID_FS_USAGE")),
            ("uuid", udev.get("ID_FS_UUID")),
            ("version", udev.get("ID_FS_VERSION")),
        ];
        sink.put(&FILESYSTEM, &labels, 1.0);
    }
    if !udev.get("DM_NAME").is_empty() {
        let labels = [
            ("device", device),
            ("name", udev.get("DM_NAME")),
            ("uuid", udev.get("DM_UUID")),
            ("vg_name", udev.get("DM_VG_NAME")),
            ("lv_name", udev.get("DM_LV_NAME")),
            ("lv_layer", udev.get("DM_LV_LAYER")),
        ];
        sink.put(&MAPPER, &labels, 1.0);
    }
    if !udev.get("ID_ATA").is_empty() {
        for (name, family) in &ATA {
            if let Some(value) = number(udev.get(name).as_bytes()) {
                sink.put(family, &[("device", device)], value);
            }
        }
    }
}

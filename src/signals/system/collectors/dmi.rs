//! The machine's make and model, from `/sys/class/dmi/id`.

use super::prelude::*;

const INFO: Family = Family::gauge(
    "node_dmi_info",
    concat!(
        "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, ",
        "board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, ",
        "chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, ",
        "product_version, system_vendor if provided by DMI.",
    ),
);
/// Label and file; some can be read by root alone.
const LABELS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

pub(crate) struct Dmi {
    directory: std::path::PathBuf,
    small: Small,
}

impl Dmi {
    pub(crate) fn new(checked: &Checked) -> Dmi {
        Dmi { directory: checked.sys("class/dmi/id"), small: Small::default() }
    }
}

impl Collector for Dmi {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        if !self.directory.is_dir() {
            return Err(Failure::NoData);
        }
        let values = LABELS.map(|(_, file)| self.small.text(&self.directory.join(file)).unwrap_or_default());
        let labels: Vec<_> = LABELS.iter().zip(&values).map(|((label, _), value)| (*label, value.as_str())).collect();
        sink.put(&INFO, &labels, 1.0);
        Ok(())
    }
}

//! Memory errors found by the memory controllers, from `/sys/devices/system/edac/mc`.

use std::path::Path;

use super::prelude::*;

const CORRECTABLE: Family = Family::counter("node_edac_correctable_errors_total", "Total correctable memory errors.");
const UNCORRECTABLE: Family =
    Family::counter("node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors.");
const ROW_CORRECTABLE: Family =
    Family::counter("node_edac_csrow_correctable_errors_total", "Total correctable memory errors for this csrow.");
const ROW_UNCORRECTABLE: Family =
    Family::counter("node_edac_csrow_uncorrectable_errors_total", "Total uncorrectable memory errors for this csrow.");
const CHANNEL_CORRECTABLE: Family =
    Family::counter("node_edac_channel_correctable_errors_total", "Total correctable memory errors for this channel.");
const CHANNEL_UNCORRECTABLE: Family = Family::counter(
    "node_edac_channel_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this channel.",
);

pub(crate) struct Edac {
    directory: std::path::PathBuf,
    small: Small,
}

impl Edac {
    pub(crate) fn new(checked: &Checked) -> Edac {
        Edac { directory: checked.sys("devices/system/edac/mc"), small: Small::default() }
    }

    fn count(&mut self, family: &Family, file: &Path, labels: &[(&str, &str)], sink: &mut Sink) {
        if let Some(value) = self.small.number(file) {
            sink.put(family, labels, value);
        }
    }

    fn row(&mut self, path: &Path, controller: &str, row: &str, sink: &mut Sink) -> Result<(), Failure> {
        let labels = [("controller", controller), ("csrow", row)];
        self.count(&ROW_CORRECTABLE, &path.join("ce_count"), &labels, sink);
        self.count(&ROW_UNCORRECTABLE, &path.join("ue_count"), &labels, sink);
        for file in names(path)? {
            let Some((channel, what)) = file.strip_prefix("ch").and_then(|rest| rest.split_once('_')) else { continue };
            let family = match what {
                "ce_count" => &CHANNEL_CORRECTABLE,
                "ue_count" => &CHANNEL_UNCORRECTABLE,
                _ => continue,
            };
            let name = self.small.text(&path.join(format!("ch{channel}_dimm_label"))).unwrap_or_default();
            let name = dimm(&name);
            let labels = [("channel", channel), ("controller", controller), ("csrow", row), ("dimm_label", &name)];
            self.count(family, &path.join(&file), &labels, sink);
        }
        Ok(())
    }
}

impl Collector for Edac {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        // A host without such controllers is healthy: nothing to show, no failure.
        let controllers = match names(&self.directory) {
            Err(Failure::NoData) => return Ok(()),
            other => other?,
        };
        for name in controllers {
            let Some(controller) = index(&name, "mc") else { continue };
            let path = self.directory.join(&name);
            let unknown = [("controller", controller), ("csrow", "unknown")];
            self.count(&CORRECTABLE, &path.join("ce_count"), &unknown[..1], sink);
            self.count(&ROW_CORRECTABLE, &path.join("ce_noinfo_count"), &unknown, sink);
            self.count(&UNCORRECTABLE, &path.join("ue_count"), &unknown[..1], sink);
            self.count(&ROW_UNCORRECTABLE, &path.join("ue_noinfo_count"), &unknown, sink);
            for entry in names(&path)? {
                if let Some(row) = index(&entry, "csrow") {
                    self.row(&path.join(&entry), controller, row, sink)?;
                }
            }
        }
        Ok(())
    }
}

/// The number in a name like `csrow12`.
fn index<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// The kernel's own labels (`mc#0csrow#1channel#0`) are made readable as `mc0_csrow1_channel0`; a board's labels stay.
fn dimm(label: &str) -> String {
    let plain = label.replace('#', "");
    let parts = plain.strip_prefix("mc").and_then(|rest| {
        let (controller, rest) = rest.split_once("csrow")?;
        let (row, channel) = rest.split_once("channel")?;
        Some([controller, row, channel])
    });
    match parts {
        Some([controller, row, channel]) => format!("mc{controller}_csrow{row}_channel{channel}"),
        None => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_labels_are_changed() {
        assert_eq!(dimm("mc#0csrow#1channel#2"), "mc0_csrow1_channel2");
        assert_eq!(dimm("CPU_SrcID#0_Ha#0_Chan#0_DIMM#0"), "CPU_SrcID#0_Ha#0_Chan#0_DIMM#0");
    }
}

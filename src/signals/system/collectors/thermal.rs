//! Thermal zones and cooling devices, from `/sys/class/thermal`.

use super::prelude::*;

const ZONE: Family = Family::gauge("node_thermal_zone_temp", "Zone temperature in Celsius");
const COOLING: [(&str, Family); 2] = [
    ("cur_state", Family::gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device")),
    ("max_state", Family::gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device")),
];

pub(crate) struct Thermal {
    directory: std::path::PathBuf,
    small: Small,
}

impl Thermal {
    pub(crate) fn new(checked: &Checked) -> Thermal {
        Thermal { directory: checked.sys("class/thermal"), small: Small::default() }
    }
}

impl Collector for Thermal {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for name in names(&self.directory)? {
            let path = self.directory.join(&name);
            let kind = self.small.text(&path.join("type")).unwrap_or_default();
            if let Some(zone) = name.strip_prefix("thermal_zone") {
                // A zone whose sensor is switched off answers with an error.
                if let Some(millidegrees) = self.small.number(&path.join("temp")) {
                    sink.put(&ZONE, &[("zone", zone), ("type", &kind)], millidegrees / 1000.0);
                }
            } else if let Some(device) = name.strip_prefix("cooling_device") {
                for (file, family) in &COOLING {
                    if let Some(state) = self.small.number(&path.join(file)) {
                        sink.put(family, &[("name", device), ("type", &kind)], state);
                    }
                }
            }
        }
        Ok(())
    }
}

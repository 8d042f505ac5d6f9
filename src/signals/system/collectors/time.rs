//! The clock, the time zone, and the kernel's clock sources.

use std::path::PathBuf;

use super::prelude::*;

const NOW: Family = Family::gauge("node_time_seconds", "System time in seconds since epoch (1970).");
const ZONE: Family = Family::gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.");
const AVAILABLE: Family = Family::gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
);
const CURRENT: Family = Family::gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
);

/// The time at which the values are taken.
pub(crate) struct Time;

impl Time {
    pub(crate) fn new(_checked: &Checked) -> Time {
        Time
    }
}

impl Collector for Time {
    fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        sink.put(&NOW, &[], now.as_secs_f64());
        Ok(())
    }
}

/// What changes rarely: the zone and the clock sources.
pub(crate) struct Sources {
    directory: PathBuf,
    small: Small,
}

impl Sources {
    pub(crate) fn new(checked: &Checked) -> Sources {
        Sources { directory: checked.sys("devices/system/clocksource"), small: Small::default() }
    }
}

impl Collector for Sources {
    fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let zone = jiff::tz::TimeZone::system();
        let stamp = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
        let zone = zone.to_offset_info(stamp);
        sink.put(&ZONE, &[("time_zone", zone.abbreviation())], f64::from(zone.offset().seconds()));
        for name in names(&self.directory)? {
            let Some(device) = name.strip_prefix("clocksource") else { continue };
            let path = self.directory.join(&name);
            for (file, family) in [("available_clocksource", &AVAILABLE), ("current_clocksource", &CURRENT)] {
                let sources = self.small.text(&path.join(file)).unwrap_or_default();
                for source in sources.split_ascii_whitespace() {
                    sink.put(family, &[("device", device), ("clocksource", source)], 1.0);
                }
            }
        }
        Ok(())
    }
}

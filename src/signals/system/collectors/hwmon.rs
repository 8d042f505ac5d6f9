//! Temperatures, fans, voltages and other sensors, from `/sys/class/hwmon`
//! (Documentation/hwmon/sysfs-interface.rst in the kernel). Names and units are node_exporter's.
//!
//! A chip is named after its device (`platform_coretemp_0`), which does not change from boot to boot as `hwmon3` does.
//! Where several chips hang on one device, each has its own name added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::prelude::*;

const CHIP: Family = Family::gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names");
const LABEL: Family = Family::gauge("node_hwmon_sensor_label", "Label for given chip and sensor");
const BEEP: Family = Family::gauge("node_hwmon_beep_enabled", "Hardware beep enabled");
const REGULATOR: Family = Family::gauge("node_hwmon_voltage_regulator_version", "Hardware voltage regulator");
const UPDATE: Family = Family::gauge("node_hwmon_update_interval_seconds", "Hardware monitor update interval");
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

pub(crate) struct Hwmon {
    directory: PathBuf,
    small: Small,
}

/// Sensor (`temp1`) to element (`input`, `max`, or nothing) to the file's text.
type Sensors = BTreeMap<String, BTreeMap<String, String>>;

impl Hwmon {
    pub(crate) fn new(checked: &Checked) -> Hwmon {
        Hwmon { directory: checked.sys("class/hwmon"), small: Small::default() }
    }

    /// The name made of the device, if there is one, and the chip's own.
    fn chip(&mut self, path: &Path) -> (Option<String>, Option<String>) {
        let part = |path: Option<&Path>| {
            let name = path.and_then(Path::file_name).map(|name| clean(&name.to_string_lossy()));
            name.filter(|name| !name.is_empty())
        };
        let device = path.join("device").canonicalize().ok();
        let device = device.as_deref();
        let (bus, device) = (part(device.and_then(Path::parent)), part(device));
        let by_device = device.map(|device| match bus {
            Some(bus) => format!("{bus}_{device}"),
            None => device,
        });
        let own = self.small.text(&path.join("name")).map(|name| clean(&name)).filter(|name| !name.is_empty());
        (by_device, own)
    }

    fn read(&mut self, path: &Path, sensors: &mut Sensors) {
        for file in names(path).unwrap_or_default() {
            let Some((kind, number, element)) = explode(&file) else { continue };
            if !KINDS.contains(&kind) {
                continue;
            }
            // A sensor that is switched off answers with an error.
            if let Some(value) = self.small.text(&path.join(&file)) {
                let number = if number.is_empty() { "0" } else { number };
                sensors.entry(format!("{kind}{number}")).or_default().insert(element.to_owned(), value);
            }
        }
    }
}

impl Collector for Hwmon {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let mut chips = Vec::new();
        for name in names(&self.directory)? {
            let path = self.directory.join(&name);
            if path.is_dir() {
                let (by_device, own) = self.chip(&path);
                chips.push((path, by_device, own, clean(&name)));
            }
        }
        for (path, by_device, own, fallback) in &chips {
            let shared = chips.iter().filter(|(_, other, ..)| other == by_device).count() > 1;
            let chip = match (by_device, own) {
                (Some(device), Some(own)) if shared => format!("{device}_{own}"),
                (Some(device), _) => device.clone(),
                (None, Some(own)) => own.clone(),
                (None, None) => fallback.clone(),
            };
            let mut sensors = Sensors::new();
            self.read(path, &mut sensors);
            self.read(&path.join("device"), &mut sensors);
            if let Some(own) = own {
                sink.put(&CHIP, &[("chip", &chip), ("chip_name", own)], 1.0);
            }
            for (sensor, elements) in &sensors {
                show(&chip, sensor, elements, sink);
            }
        }
        Ok(())
    }
}

/// Small letters, digits and underscores only.
fn clean(name: &str) -> String {
    let one = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(one).collect::<String>().trim_matches('_').to_owned()
}

/// `temp1_crit_alarm` is kind `temp`, number `1`, element `crit_alarm`; `name` is no sensor's file but has a kind too.
fn explode(file: &str) -> Option<(&str, &str, &str)> {
    let digits = file.find(|c: char| c.is_ascii_digit());
    let Some(start) = digits.filter(|start| *start > 0) else {
        return if digits.is_none() { Some((file, "", "")) } else { None };
    };
    let (kind, rest) = file.split_at(start);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, element) = rest.split_at(end);
    match element.strip_prefix('_') {
        Some(element) => Some((kind, number, element)),
        None if element.is_empty() => Some((kind, number, "")),
        None => None,
    }
}

fn show(chip: &str, sensor: &str, elements: &BTreeMap<String, String>, sink: &mut Sink) {
    let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
    let labels = [("chip", chip), ("sensor", sensor)];
    if let Some(label) = elements.get("label") {
        sink.put(&LABEL, &[labels[0], labels[1], ("label", label)], 1.0);
    }
    let own = elements.get("").map(String::as_str);
    let own_number = own.and_then(|text| number(text.as_bytes()));
    match kind {
        "beep_enable" => sink.put(&BEEP, &labels, f64::from(own == Some("1"))),
        "vrm" => own_number.into_iter().for_each(|value| sink.put(&REGULATOR, &labels, value)),
        "update_interval" => own_number.into_iter().for_each(|value| sink.put(&UPDATE, &labels, value * 0.001)),
        _ => {
            for (element, value) in elements.iter().filter(|(element, _)| *element != "label") {
                if let Some(value) = number(value.as_bytes()) {
                    show_element(kind, element, value, elements, labels, sink);
                }
            }
        }
    }
}

fn show_element(
    kind: &str,
    element: &str,
    value: f64,
    elements: &BTreeMap<String, String>,
    labels: [(&str, &str); 2],
    sink: &mut Sink,
) {
    let described;
    let (suffix, value, help) = match unit(kind, element) {
        Some((suffix, change, help)) => {
            described = help.replace("{}", if kind == "temp" && element.is_empty() { "input" } else { element });
            (suffix, change.apply(value), described)
        }
        None => {
            described = match element {
                "fault" | "alarm" => format!("Hardware sensor {element} status ({kind})"),
                _ => format!("Hardware monitor {kind} element {element}"),
            };
            ("", value, described)
        }
    };
    // The measured value has no element in its name, unless the sensor has a value of its own too.
    let element_name = match element {
        "input" if !elements.contains_key("") => String::new(),
        "" => String::new(),
        other => format!("_{}", clean(other)),
    };
    // A GPU's clocks are named by their label.
    let sensor = match (kind, element) {
        ("freq", "input") => match elements.get("label") {
            Some(label) => clean(label),
            None => return,
        },
        _ => labels[1].1.to_owned(),
    };
    let labels = [labels[0], ("sensor", sensor.as_str())];
    let kind_of = if kind == "energy" && !suffix.is_empty() { MetricKind::Counter } else { MetricKind::Gauge };
    sink.put_as(&["node_hwmon_", kind, &element_name, suffix], kind_of, &[&help], &labels, value);
}

/// How the file's number becomes the metric's. Multiplying and dividing round differently, so both are kept as upstream.
enum Change {
    None,
    Milli,
    Micro,
}

impl Change {
    fn apply(&self, value: f64) -> f64 {
        match self {
            Change::None => value,
            Change::Milli => value * 0.001,
            Change::Micro => value / 1_000_000.0,
        }
    }
}

/// The unit after the name, the change of the value and the help text; `{}` there is the element.
fn unit(kind: &str, element: &str) -> Option<(&'static str, Change, &'static str)> {
    Some(match (kind, element) {
        (_, "fault" | "alarm") => return None,
        (_, "beep") => ("_enabled", Change::None, "Hardware monitor sensor has beeping enabled"),
        ("in" | "cpu", _) => ("_volts", Change::Milli, "Hardware monitor for voltage ({})"),
        ("temp", element) if element != "type" => ("_celsius", Change::Milli, "Hardware monitor for temperature ({})"),
        ("curr", _) => ("_amps", Change::Milli, "Hardware monitor for current ({})"),
        ("energy", _) => ("_joule_total", Change::Micro, "Hardware monitor for joules used so far ({})"),
        ("power", "accuracy") => ("", Change::Micro, "Hardware monitor power meter accuracy, as a ratio"),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", Change::Milli, "Hardware monitor power usage update interval ({})")
        }
        ("power", _) => ("_watt", Change::Micro, "Hardware monitor for power usage in watts ({})"),
        ("humidity", _) => {
            let help = "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a \
                percentage) ({})";
            ("", Change::Micro, help)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            ("_rpm", Change::None, "Hardware monitor for fan revolutions per minute ({})")
        }
        ("freq", "input") => ("_freq_mhz", Change::Micro, "Hardware monitor for GPU frequency in MHz"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensors_file_name_has_three_parts() {
        let check = |file: &str, expected| assert_eq!(explode(file), expected, "{file}");
        check("temp1_crit_alarm", Some(("temp", "1", "crit_alarm")));
        check("pwm1", Some(("pwm", "1", "")));
        check("beep_enable", Some(("beep_enable", "", "")));
        check("1x", None);
        check("temp1x", None);
    }

    #[test]
    fn names_tell_the_unit() {
        let check = |sensor: &str, files: &[(&str, &str)], expected: &[&str]| {
            let elements = files.iter().map(|(element, value)| ((*element).into(), (*value).into())).collect();
            assert_eq!(lines_of(|sink| show("c", sensor, &elements, sink)), expected);
        };
        check("temp1", &[("input", "55000")], &[r#"node_hwmon_temp_celsius{chip="c", sensor="temp1"} 55"#]);
        check("power1", &[("average", "5000000")], &[r#"node_hwmon_power_average_watt{chip="c", sensor="power1"} 5"#]);
        check("energy1", &[("input", "7000000")], &[r#"node_hwmon_energy_joule_total{chip="c", sensor="energy1"} 7"#]);
        check("curr1", &[("input", "1000")], &[r#"node_hwmon_curr_amps{chip="c", sensor="curr1"} 1"#]);
        check(
            "update_interval0",
            &[("", "1000")],
            &[r#"node_hwmon_update_interval_seconds{chip="c", sensor="update_interval0"} 1"#],
        );
        check("temp1", &[("input", "no"), ("type", "4")], &[r#"node_hwmon_temp_type{chip="c", sensor="temp1"} 4"#]);
    }
}

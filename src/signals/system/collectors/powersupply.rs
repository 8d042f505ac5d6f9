//! Power supplies and batteries, from `/sys/class/power_supply`. Micro-units there become units here.

use super::prelude::*;

const INFO: Family = Family::gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>.");
const PLAIN: f64 = 1.0;
const MICRO: f64 = 1e6;
const TENTH: f64 = 10.0;
/// File, name after `node_power_supply_`, divisor.
const VALUES: [(&str, &str, f64); 49] = [
    ("authentic", "authentic", PLAIN),
    ("calibrate", "calibrate", PLAIN),
    ("capacity", "capacity", PLAIN),
    ("capacity_alert_max", "capacity_alert_max", PLAIN),
    ("capacity_alert_min", "capacity_alert_min", PLAIN),
    ("cycle_count", "cyclecount", PLAIN),
    ("online", "online", PLAIN),
    ("present", "present", PLAIN),
    ("time_to_empty_now", "time_to_empty_seconds", PLAIN),
    ("time_to_full_now", "time_to_full_seconds", PLAIN),
    ("current_boot", "current_boot", MICRO),
    ("current_max", "current_max", MICRO),
    ("current_now", "current_ampere", MICRO),
    ("energy_empty", "energy_empty", MICRO),
    ("energy_empty_design", "energy_empty_design", MICRO),
    ("energy_full", "energy_full", MICRO),
    ("energy_full_design", "energy_full_design", MICRO),
    ("energy_now", "energy_watthour", MICRO),
    ("voltage_boot", "voltage_boot", MICRO),
    ("voltage_max", "voltage_max", MICRO),
    ("voltage_max_design", "voltage_max_design", MICRO),
    ("voltage_min", "voltage_min", MICRO),
    ("voltage_min_design", "voltage_min_design", MICRO),
    ("voltage_now", "voltage_volt", MICRO),
    ("voltage_ocv", "voltage_ocv", MICRO),
    ("charge_control_limit", "charge_control_limit", MICRO),
    ("charge_control_limit_max", "charge_control_limit_max", MICRO),
    ("charge_counter", "charge_counter", MICRO),
    ("charge_empty", "charge_empty", MICRO),
    ("charge_empty_design", "charge_empty_design", MICRO),
    ("charge_full", "charge_full", MICRO),
    ("charge_full_design", "charge_full_design", MICRO),
    ("charge_now", "charge_ampere", MICRO),
    ("charge_term_current", "charge_term_current", MICRO),
    ("constant_charge_current", "constant_charge_current", MICRO),
    ("constant_charge_current_max", "constant_charge_current_max", MICRO),
    ("constant_charge_voltage", "constant_charge_voltage", MICRO),
    ("constant_charge_voltage_max", "constant_charge_voltage_max", MICRO),
    ("precharge_current", "precharge_current", MICRO),
    ("input_current_limit", "input_current_limit", MICRO),
    ("power_now", "power_watt", MICRO),
    ("temp", "temp_celsius", TENTH),
    ("temp_alert_max", "temp_alert_max_celsius", TENTH),
    ("temp_alert_min", "temp_alert_min_celsius", TENTH),
    ("temp_ambient", "temp_ambient_celsius", TENTH),
    ("temp_ambient_max", "temp_ambient_max_celsius", TENTH),
    ("temp_ambient_min", "temp_ambient_min_celsius", TENTH),
    ("temp_max", "temp_max_celsius", TENTH),
    ("temp_min", "temp_min_celsius", TENTH),
];
const LABELS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
];

pub(crate) struct PowerSupply {
    directory: std::path::PathBuf,
    small: Small,
}

impl PowerSupply {
    pub(crate) fn new(checked: &Checked) -> PowerSupply {
        PowerSupply { directory: checked.sys("class/power_supply"), small: Small::default() }
    }
}

impl Collector for PowerSupply {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for supply in names(&self.directory)? {
            let path = self.directory.join(&supply);
            for (file, name, divisor) in VALUES {
                let Some(value) = self.small.bytes(&path.join(file)).and_then(whole) else { continue };
                let help = &[name, " value of /sys/class/power_supply/<power_supply>."];
                let labels = &[("power_supply", supply.as_str())];
                sink.put_as(&["node_power_supply_", name], MetricKind::Gauge, help, labels, value / divisor);
            }
            let values = LABELS.map(|file| self.small.text(&path.join(file)).unwrap_or_default());
            let mut labels: Vec<_> = LABELS.iter().zip(&values).map(|(label, value)| (*label, &**value)).collect();
            labels.push(("power_supply", &supply));
            sink.put(&INFO, &labels, 1.0);
        }
        Ok(())
    }
}

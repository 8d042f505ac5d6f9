//! `probes`: which targets are looked at through which module, and how often.

use super::targets::Discovery;
use super::values::{Interval, known_key};
use crate::yaml::{At, Decode, Problem, Spanned};

/// One of `probes`.
#[derive(Clone, Debug)]
pub struct Probe {
    pub job_name: Spanned<String>,
    pub module: Spanned<String>,
    pub interval: Option<Spanned<Interval>>,
    pub timeout: Option<Spanned<Interval>>,
    pub discovery: Discovery,
    pub refused: Vec<Problem>,
}

impl Decode for Probe {
    fn decode(at: &mut At<'_>) -> Option<Probe> {
        let doc = "One job of probes: targets, and the module through which they are looked at.";
        let mut fields = at.record("probe", doc)?;
        let job_name: Option<Spanned<String>> = fields.required("job_name", "the label `job`; unique");
        let module: Option<Spanned<String>> = fields.required("module", "one of `modules`, by its name");
        let interval = fields.optional("scrape_interval", "time between two probes; if missing the global one");
        let timeout = fields.optional(
            "scrape_timeout",
            "how long a probe may take; the smaller of this and the module's `timeout` counts",
        );
        let discovery = Discovery::read(&mut fields);
        let mut refused = Vec::new();
        let help = "the target is probed directly: write `module: ...` and the target, and drop the relabelling";
        for key in ["metrics_path", "params"] {
            if let Some(place) = known_key(&mut fields, key) {
                refused.push(place.error(format!("`{key}` has no meaning for a probe"), Some(help.to_owned())));
            }
        }
        fields.finish();
        Some(Probe { job_name: job_name?, module: module?, interval, timeout, discovery, refused })
    }
}

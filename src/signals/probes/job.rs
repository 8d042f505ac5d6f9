//! A probe job: one task a target, in aligned slots.
//!
//! A slot is a multiple of the interval plus an offset that depends on the target's name alone, so that targets spread
//! over the interval and every restart finds the same slots. A probe has `min(module timeout, scrape timeout, interval)`;
//! it ends by then whatever the target does, so a target never delays another, nor its own next slot. A task that panics
//! is counted and started again one interval later.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use super::check::{Ready, prepare};
use super::dial::Tools;
use super::settings::{Module, ProbeJob, ProbeTarget};
use super::sheet::{Failed, ProbeResult, ProbeSample, Sheet, meta, series};
use super::{dns, http, icmp, tcp};
use crate::model::{Batch, Completeness, Labels, MetricMeta, NAME, Source};
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Timestamp, millis};

/// What the tasks of one job share.
struct Shared {
    job: ProbeJob,
    /// A module that cannot work fails every probe, with the reason in its account.
    ready: Result<Ready, String>,
    timeout: Duration,
    tools: Tools,
    /// One a target, in the same order.
    sources: Vec<Source>,
    out: mpsc::Sender<Batch>,
}

/// Probes the job's targets until the receiver of `out` is gone, also when there are none. Dropping the future ends the
/// job at once.
pub async fn run(job: ProbeJob, clock: Clock, telemetry: Telemetry, out: mpsc::Sender<Batch>) {
    let name = job.job_name.clone();
    let timeout = limit(&job.module, job.scrape_timeout.min(job.scrape_interval));
    let ready = prepare(&job.module).map_err(|error| error.to_string());
    let sources = sources(&job);
    let shared = Arc::new(Shared { job, ready, timeout, tools: Tools::new(clock), sources, out });
    let mut tasks = JoinSet::new();
    let mut targets: HashMap<Id, usize> = HashMap::new();
    for target in 0..shared.job.targets.len() {
        let handle = tasks.spawn(probe_target(Arc::clone(&shared), target, Duration::ZERO));
        targets.insert(handle.id(), target);
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        let Err(error) = ended else { continue };
        let Some(target) = targets.remove(&error.id()).filter(|_| error.is_panic()) else { continue };
        telemetry.count(Metric::TaskPanics, &[("task", &format!("probe/{name}"))]);
        let pause = shared.job.scrape_interval;
        let handle = tasks.spawn(probe_target(Arc::clone(&shared), target, pause));
        targets.insert(handle.id(), target);
    }
    shared.out.closed().await;
}

/// The sources of a job's batches, one a target, in the same order: what to end when the job goes. An address that is
/// there more than once (with other labels) gets a number, as two targets must never share a source.
pub fn sources(job: &ProbeJob) -> Vec<Source> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut sources = Vec::with_capacity(job.targets.len());
    for target in &job.targets {
        let times = seen.entry(&target.address).or_default();
        *times += 1;
        let number = if *times > 1 { format!("#{times}") } else { String::new() };
        sources.push(Source::new("probe", &format!("{}/{}{number}", job.job_name, target.address)));
    }
    sources
}

fn limit(module: &Module, most: Duration) -> Duration {
    module.timeout.map_or(most, |timeout| timeout.min(most))
}

/// Probes one target once, within the module's timeout (`default` where it has none).
pub async fn probe_once(module: &Module, target: &ProbeTarget, clock: Clock, default: Duration) -> ProbeResult {
    let ready = prepare(module).map_err(|error| error.to_string());
    probe(&Tools::new(clock), &ready, target, limit(module, default)).await
}

async fn probe(tools: &Tools, ready: &Result<Ready, String>, target: &ProbeTarget, timeout: Duration) -> ProbeResult {
    let mut sheet = Sheet::default();
    let start = tools.clock.elapsed();
    let outcome = match ready {
        Ok(ready) => tokio::time::timeout(timeout, probe_by(tools, ready, target, &mut sheet)).await,
        Err(problem) => Ok(Err(sheet.fail(problem))),
    };
    let success = match outcome {
        Ok(outcome) => outcome.is_ok(),
        Err(_) => {
            sheet.say(format!("timed out after {timeout:?}"));
            false
        }
    };
    sheet.set("probe_success", f64::from(u8::from(success)));
    sheet.set("probe_duration_seconds", (tools.clock.elapsed() - start).as_secs_f64());
    ProbeResult { success, samples: sheet.samples, log: sheet.log }
}

async fn probe_by(tools: &Tools, ready: &Ready, target: &ProbeTarget, sheet: &mut Sheet) -> Result<(), Failed> {
    match ready {
        Ready::Http(settings) => http::probe_http(tools, settings, target, sheet).await,
        Ready::Tcp(settings, steps) => tcp::probe_tcp(tools, settings, steps, target, sheet).await,
        Ready::Unix(settings, steps) => tcp::probe_unix(tools, settings, steps, target, sheet).await,
        Ready::Icmp(settings) => icmp::probe_icmp(tools, settings, target, sheet).await,
        Ready::Dns(settings) => dns::probe_dns(tools, settings, target, sheet).await,
    }
}

async fn probe_target(shared: Arc<Shared>, index: usize, pause: Duration) {
    let (Some(target), Some(source)) = (shared.job.targets.get(index), shared.sources.get(index)) else { return };
    let clock = shared.tools.clock;
    let mut names = Names::new(&shared.job, target);
    let offset = Labels::from_pairs([("source", source.as_str())]).hash64();
    let mut after = clock.now() + pause;
    let mut was_good = None;
    let interval = shared.job.scrape_interval;
    let mut alarm = clock.alarm();
    loop {
        let slot = next_slot(after, interval, offset);
        alarm.until(clock.instant(slot)).await;
        let at = clock.now();
        // A slightly late start does not move the end past the next slot; a very late one (the host was suspended) does,
        // as a probe must not fail for want of time.
        let left = (slot + interval).since(at).max(shared.timeout * 9 / 10);
        let result = probe(&shared.tools, &shared.ready, target, shared.timeout.min(left)).await;
        if was_good != Some(result.success) {
            tell(&shared.job, target, &result, was_good.is_some());
            was_good = Some(result.success);
        }
        let batch = names.batch(source.clone(), at, result.samples);
        if shared.out.send(batch).await.is_err() {
            return;
        }
        // A slot that passed meanwhile is left out, never made up for; one that is only just due is not.
        let now = clock.now();
        after = slot.unless_ahead(now, interval).max(now - interval / 10);
    }
}

/// The first slot after an instant.
fn next_slot(after: Timestamp, interval: Duration, offset: u64) -> Timestamp {
    let interval = millis(interval).max(1);
    let offset = (offset % interval as u64) as i64;
    let passed = (after.as_millis() - offset).rem_euclid(interval);
    Timestamp::from_millis(after.as_millis() - passed + interval)
}

fn tell(job: &ProbeJob, target: &ProbeTarget, result: &ProbeResult, changed: bool) {
    // Only a URL can have a password in it: host:port is shown as it is.
    let address = &target.address;
    let target = if address.contains("://") { crate::net::redact_url(address) } else { address.clone() };
    let job = job.job_name.as_str();
    if !result.success {
        let reason = result.log.last().map_or("", String::as_str);
        tracing::warn!(job, target, reason, "probe failed");
    } else if changed {
        tracing::info!(job, target, "probe succeeds again");
    }
}

/// Family and own labels of a series.
type SeriesKey = (&'static str, Vec<(String, String)>);

/// The full names of a target's series, kept from one probe to the next; and which families were told already.
struct Names {
    base: Labels,
    up: Labels,
    known: HashMap<SeriesKey, Labels>,
    told: BTreeSet<&'static str>,
}

impl Names {
    fn new(job: &ProbeJob, target: &ProbeTarget) -> Names {
        let mut base = target.labels.filtered(|name| !name.starts_with("__")).to_builder();
        for (name, value) in [("job", &job.job_name), ("instance", &target.address)] {
            if base.value(name).is_empty() {
                base.set(name, value);
            }
        }
        let base = base.build();
        Names { up: base.with(NAME, "up"), base, known: HashMap::new(), told: BTreeSet::new() }
    }

    fn batch(&mut self, source: Source, at: Timestamp, samples: Vec<ProbeSample>) -> Batch {
        let mut named = Vec::with_capacity(samples.len() + 1);
        let mut meta_new: Vec<MetricMeta> = Vec::new();
        // Only what this probe had is kept, so that labels which change with every probe do not pile up.
        let mut known = HashMap::with_capacity(samples.len());
        for sample in samples {
            if self.told.insert(sample.family) {
                meta_new.push(meta(sample.family));
            }
            let (family, value) = (sample.family, sample.value);
            let key = (family, sample.labels);
            let labels = self
                .known
                .remove(&key)
                .unwrap_or_else(|| series(&self.base, &ProbeSample { family, labels: key.1.clone(), value }));
            named.push((labels.clone(), value));
            known.insert(key, labels);
        }
        self.known = known;
        if self.told.insert("up") {
            meta_new.push(meta("up"));
        }
        named.push((self.up.clone(), 1.0));
        Batch {
            source,
            at,
            samples: named,
            timed: Vec::new(),
            completeness: Completeness::Whole,
            meta: meta_new,
            urgent: true,
        }
    }
}

#[cfg(test)]
mod tests;

//! The daemon's own metrics: one enum of names with their help, and one table of values.
//!
//! Whatever is dropped, refused or cut anywhere in the house is counted here, and the table is sampled like any other
//! source, so that rules can read it. `job` and `instance` of our own series name the daemon; what a
//! value is about stands in other labels (`log`, `scrape`, `switch`, ...).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Labels, LabelsBuilder, MetricKind, MetricMeta, NAME};

macro_rules! own_metrics {
    ($($variant:ident $kind:ident $name:literal $help:literal;)*) => {
        /// The names of our own metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All of them, for documentation and tests.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant),*];

            /// The name in the exposition.
            pub fn name(self) -> &'static str {
                match self { $(Metric::$variant => $name,)* }
            }

            /// The help text.
            pub fn help(self) -> &'static str {
                match self { $(Metric::$variant => $help,)* }
            }

            /// Counter or gauge.
            pub fn kind(self) -> MetricKind {
                match self { $(Metric::$variant => MetricKind::$kind,)* }
            }
        }
    };
}

own_metrics! {
    // the shell
    BuildInfo Gauge "brownout_build_info" "Always 1; the labels say what was built.";
    ConfigLastReloadSuccessful Gauge "brownout_config_last_reload_successful" "1 when the last load of the configuration succeeded, else 0.";
    ConfigLastReloadSuccessTimestamp Gauge "brownout_config_last_reload_success_timestamp_seconds" "When the configuration was last loaded with success, seconds since the epoch.";
    ConfigGeneration Gauge "brownout_config_generation" "How many times a configuration was taken into use.";
    TaskPanics Counter "brownout_task_panics_total" "Collectors and edges that panicked and were started again, by task.";
    ClockSteps Counter "brownout_clock_steps_total" "Steps of the system clock that were noticed.";
    TickLatenessSeconds Gauge "brownout_tick_lateness_seconds" "How late the last evaluation tick began, in seconds.";
    ProcessCpuSeconds Counter "brownout_process_cpu_seconds_total" "Processor time that the daemon has used, in seconds.";
    ProcessResidentBytes Gauge "brownout_process_resident_bytes" "Memory of the daemon that is resident, in bytes.";
    // series
    SeriesCount Gauge "brownout_series" "Series in the store.";
    SamplesAppended Counter "brownout_samples_appended_total" "Samples taken into the store.";
    SamplesRefused Counter "brownout_samples_refused_total" "Samples that the store refused, by reason and by the source that gave them.";
    // signals
    CollectorSuccess Gauge "brownout_collector_success" "1 when a system collector's last run succeeded, else 0, by collector.";
    CollectorStuck Gauge "brownout_collector_stuck" "1 while a collector does not come back, by collector.";
    CollectorTicksMissed Counter "brownout_collector_ticks_missed_total" "Collections that were skipped because the one before took too long, by source.";
    LogLinesRead Counter "brownout_log_lines_read_total" "Log lines read, by log job.";
    LogLinesCut Counter "brownout_log_lines_cut_total" "Log lines longer than the limit, of which only the beginning was looked at, by log job.";
    LogLinesUnparsed Counter "brownout_log_lines_unparsed_total" "Log lines that do not have the job's format, by log job.";
    LogBytesRead Counter "brownout_log_bytes_read_total" "Bytes read from log files, by log job.";
    LogBytesLost Counter "brownout_log_bytes_lost_total" "Bytes of log files known to be lost (truncated before they were read), by log job.";
    LogLagBytes Gauge "brownout_log_lag_bytes" "Bytes of log files that are not read yet, by log job.";
    LogFilesFollowed Gauge "brownout_log_files" "Log files that are followed, by log job.";
    LogFilesRefused Counter "brownout_log_files_refused_total" "Log files that are not followed, by log job and reason: limit, kind (no regular file) or open (it cannot be opened).";
    LogRotations Counter "brownout_log_rotations_total" "Rotations and truncations of log files, by log job and kind.";
    LogSeriesLimited Counter "brownout_log_series_limited_total" "Log matches counted under _other because their metric has too many series, by log job and metric.";
    LogValuesRefused Counter "brownout_log_values_refused_total" "Log matches without a usable number, by log job and metric.";
    ScrapeBodyTooLarge Counter "brownout_scrape_body_too_large_total" "Scrapes refused because of their size, by scrape job.";
    ScrapeSamplesDropped Counter "brownout_scrape_samples_dropped_total" "Scraped samples that were dropped, by scrape job and reason: duplicate (the series had one already) or ahead (too far in the future).";
    // rules
    RuleEvaluations Counter "brownout_rule_evaluations_total" "Rule evaluations.";
    RuleEvaluationFailures Counter "brownout_rule_evaluation_failures_total" "Rule evaluations that failed.";
    RuleGroupIterationsMissed Counter "brownout_rule_group_iterations_missed_total" "Ticks of rule groups that were skipped because the host was too slow.";
    RuleFindings Gauge "brownout_rule_findings" "Selectors of rules that match no series although their rule waits for some.";
    RuleNoData Gauge "brownout_rule_no_data" "1 while an action rule's input is missing and its switch holds, by switch.";
    // alerts and notifications
    AlertsHeldUnknown Gauge "brownout_alerts_unknown" "Alerts that are kept although their series are gone or their target is down (on_unknown: hold or alert).";
    AlertsUnknown Counter "brownout_alerts_unknown_total" "Alerts whose series went away, or whose target went down, under them, whatever became of them.";
    AlertsFiring Gauge "brownout_alerts" "Alerts by state.";
    Notifications Counter "brownout_notifications_total" "Notifications that receivers accepted, by receiver and integration.";
    NotificationsFailed Counter "brownout_notifications_failed_total" "Deliveries that failed and will be tried again, by receiver and integration.";
    NotificationsGivenUp Counter "brownout_notifications_given_up_total" "Notifications that a receiver refused for good, by receiver and integration.";
    NotificationsDropped Counter "brownout_notifications_dropped_total" "Repeated notifications that were dropped, because one was still on its way or the outbox was full.";
    NotificationsHeldBack Counter "brownout_notifications_rate_limited_total" "Notifications that waited because of their receiver's rate_limit.";
    NotificationsMerged Counter "brownout_notifications_merged_total" "Notifications that waited and were merged into a newer one of their group.";
    Forwarded Counter "brownout_forwarded_alerts_total" "Alerts that an Alertmanager accepted, by Alertmanager.";
    ForwardFailed Counter "brownout_forward_failures_total" "Requests to an Alertmanager that failed, by Alertmanager.";
    ForwardDropped Counter "brownout_forward_dropped_alerts_total" "Alerts that were not forwarded because the queue was full or they were refused, by Alertmanager.";
    Heartbeats Counter "brownout_heartbeats_total" "Signs of life that were accepted.";
    HeartbeatsFailed Counter "brownout_heartbeat_failures_total" "Signs of life that did not get through.";
    NotificationsPending Gauge "brownout_notifications_pending" "Notifications in the outbox.";
    // switches and the store
    SwitchLevel Gauge "brownout_switch_level" "1 for the level that a feature switch is at, else 0, by switch and level.";
    SwitchValue Gauge "brownout_switch_value" "The value of a switch: the share of a dimmer or a rollout, the number of a limit (+Inf: none), the depth of a feature (0 is healthy), by switch.";
    ControlMeasure Gauge "brownout_control_measure" "What a control law steers: the use of the capacity, 0 to 1; for klein and aimd the latency, in seconds; NaN without a sample. By switch and rule.";
    ControlSetPoint Gauge "brownout_control_set_point" "What a control law aims for with it, by switch and rule.";
    ControlFits Gauge "brownout_control_fits" "The share of full service that fits as a control law sees it, 0 to 2, by switch and rule.";
    ControlRate Gauge "brownout_control_rate" "Requests a second that a control law sees, by switch and rule.";
    SwitchPinned Gauge "brownout_switch_pinned" "1 while a person's pin overrides the rules, by switch.";
    SwitchHeldBack Gauge "brownout_switch_held_back" "1 while a guard keeps a switch from where its rules want it, by switch.";
    Frozen Gauge "brownout_frozen" "1 while a freeze holds every switch, a person's or the file's.";
    SwitchDecisions Counter "brownout_switch_decisions_total" "Changes of a switch, by switch and mode.";
    ScaleCalls Counter "brownout_scale_calls_total" "Scale webhooks, by rule and outcome.";
    QueryApiFailures Counter "brownout_query_api_failures_total" "Expressions that a central query API did not answer, by API and the name of what they record: rules that read it have no data.";
    FleetSameName Gauge "brownout_fleet_same_name" "1 while another host of the fleet has this one's name, by its address: this host has no vote; absent otherwise.";
    FleetMembers Gauge "brownout_fleet_members" "Hosts of the fleet that are present; absent without a fleet.";
    FleetMemberUp Gauge "brownout_fleet_member_up" "0 for a host of the fleet that vanished less than an hour ago, by member; only on the host that counts.";
    FleetCounting Gauge "brownout_fleet_counting" "1 while this host counts the votes of the fleet, else 0.";
    FleetVotes Gauge "brownout_fleet_votes" "Votes of the fleet's hosts that count now, by rule and switch; only on the host that counts.";
    FleetClockAhead Gauge "brownout_fleet_clock_ahead_seconds" "By how much a host's clock is ahead of the median of all, where that is more than a minute, by member; this host's own, and on the host that counts all others'.";
    FleetConfigRevision Gauge "brownout_fleet_config_revision" "The revision of the fleet's configuration that this host runs; 0: its own files alone. Absent without a fleet.";
    FleetConfigRefused Gauge "brownout_fleet_config_refused" "1 while this host does not take the revision of the fleet's configuration that it should run, else 0.";
    FleetConfigLeftOut Gauge "brownout_fleet_config_left_out" "Groups of rules and switches of the fleet's configuration that this host's own files have, too: its own are used.";
    FleetConfigCandidate Gauge "brownout_fleet_config_candidate" "The revision of the fleet's configuration that is on its way; 0: none.";
    FleetConfigRolledBack Gauge "brownout_fleet_config_rolled_back" "1 after a revision of the fleet's configuration was rolled back by itself, until somebody acknowledges it, by revision; only on the host that counts.";
    FleetLimitShare Gauge "brownout_fleet_limit_share" "The share of a limit for the whole fleet that this host lets in, 0 to 1, by switch.";
    FleetLimitDemand Gauge "brownout_fleet_limit_demand" "Requests a second that this host is asked for, of a limit for the whole fleet, by switch.";
    StoreConnected Gauge "brownout_store_connected" "1 while the store answers, else 0.";
    StoreLastSync Gauge "brownout_store_last_sync_seconds" "When the shared store last said that our table is its own, seconds since the epoch; absent without a shared store.";
    StoreRetries Counter "brownout_store_retries_total" "Calls of the shared store that were made again at another endpoint, by the endpoint that failed.";
    StoreRelists Counter "brownout_store_relists_total" "Times that the whole of the shared store was read, by reason: begin, minute, compacted or census.";
    StoreLeasesLost Counter "brownout_store_leases_lost_total" "Leases of this host that ended although it was still there.";
    StoreWriteFailures Counter "brownout_store_write_failures_total" "Writes that the store did not take.";
    JournalWriteFailures Counter "brownout_journal_write_failures_total" "Records that the journal could not write.";
    JournalBytes Gauge "brownout_journal_bytes" "Size of the journal, in bytes.";
    JournalRecovered Counter "brownout_journal_torn_bytes_total" "Bytes of a torn journal tail that were set aside at start.";
    // remote write: Prometheus' names behind our own prefix
    RemoteSamples Counter "brownout_remote_storage_samples_total" "Samples that a receiver of remote write took, by receiver.";
    RemoteSamplesFailed Counter "brownout_remote_storage_samples_failed_total" "Samples that a receiver of remote write refused for good, by receiver.";
    RemoteSamplesRetried Counter "brownout_remote_storage_samples_retried_total" "Samples of requests that failed and are sent again, by receiver.";
    RemoteSamplesDropped Counter "brownout_remote_storage_samples_dropped_total" "Samples that were not sent, by receiver and reason: queue_full, too_old, disk (it did not take them) or busy.";
    RemoteSamplesPending Gauge "brownout_remote_storage_samples_pending" "Samples in the queue on the disk, by receiver.";
    RemoteQueueBytes Gauge "brownout_remote_storage_queue_bytes" "Bytes of the queue on the disk, by receiver.";
    RemoteQueueDamagedBytes Counter "brownout_remote_storage_queue_damaged_bytes_total" "Bytes of the queue on the disk that could not be read, by receiver.";
    RemoteBytes Counter "brownout_remote_storage_bytes_total" "Bytes of samples that a receiver took, compressed, by receiver.";
    RemoteMetadata Counter "brownout_remote_storage_metadata_total" "Types and help texts of families that a receiver took, by receiver.";
    RemoteMetadataFailed Counter "brownout_remote_storage_metadata_failed_total" "Types and help texts of families that a receiver did not take, by receiver.";
    RemoteHighestTimestamp Gauge "brownout_remote_storage_highest_timestamp_in_seconds" "The time of the newest sample for a receiver, seconds since the epoch.";
    RemoteHighestSentTimestamp Gauge "brownout_remote_storage_queue_highest_sent_timestamp_seconds" "The time of the newest sample that a receiver took, seconds since the epoch.";
    // serve
    HttpRefused Counter "brownout_http_connections_refused_total" "Connections past the limit.";
    StreamsRefused Counter "brownout_streams_refused_total" "Streams and long polls past the limit.";
    StreamsDropped Counter "brownout_streams_dropped_total" "Streams that were ended because their reader did not keep up.";
    EnvoyRefusals Counter "brownout_envoy_refusals_total" "Runtime layers that an Envoy could not use.";
    AgentChecks Counter "brownout_haproxy_agent_checks_total" "Agent checks of HAProxy that were answered, by switch.";
    LimitRequests Counter "brownout_limit_requests_total" "Requests for tokens of a limit, by limit and outcome (allowed or refused).";
    LimitKeysRefused Counter "brownout_limit_keys_refused_total" "Requests whose key shared a place with others, because the limit had too many keys, by limit.";
    LimitUnmatched Counter "brownout_limit_unmatched_total" "Descriptors of Envoy that name no limit and were let through.";
    ProjectionsWritten Counter "brownout_projections_written_total" "Files and folders that were written because the switches changed, by path.";
    ProjectionsFailed Counter "brownout_projections_failed_total" "Projections that could not be written, or whose reload command failed, by path.";
    FlagEvaluations Counter "brownout_flag_evaluations_total" "Switch reads over OFREP, by switch.";
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    value: f64,
    /// Whether [`Telemetry::observe`] has shown it.
    observed: bool,
}

type Key = (Metric, Labels);

/// Label sets of one metric that are looked through before one is built to search for it.
const FEW: usize = 16;

/// The values of each metric, sorted by their label sets.
#[derive(Debug, Default)]
struct Table(BTreeMap<Metric, Vec<(Labels, Cell)>>);

impl Table {
    /// The place of a value, made when it is new. Most metrics have a few label sets, which are found without building
    /// another one.
    fn place(&mut self, metric: Metric, labels: &[(&str, &str)]) -> &mut Cell {
        let sets = self.0.entry(metric).or_default();
        let same = |known: &Labels| {
            let mut pairs = known.iter().filter(|(name, _)| *name != NAME);
            known.len() == labels.len() + 1 && pairs.all(|pair| labels.contains(&pair))
        };
        let known = if sets.len() <= FEW { sets.iter().position(|(known, _)| same(known)) } else { None };
        let at = known.unwrap_or_else(|| seek(sets, &key(metric, labels).1));
        &mut sets[at].1
    }

    fn get(&self, metric: Metric, labels: &Labels) -> Option<&Cell> {
        let sets = self.0.get(&metric)?;
        sets.binary_search_by(|(known, _)| known.cmp(labels)).ok().map(|at| &sets[at].1)
    }
}

/// Where a label set stands; made when it is new.
fn seek(sets: &mut Vec<(Labels, Cell)>, labels: &Labels) -> usize {
    sets.binary_search_by(|(known, _)| known.cmp(labels)).unwrap_or_else(|at| {
        sets.insert(at, (labels.clone(), Cell { value: 0.0, observed: false }));
        at
    })
}

/// The table of our own metrics. Cheap to clone; all clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    values: Arc<Mutex<Table>>,
    /// Counters for paths that are too hot for the table; what they counted goes into it when it is read.
    hot: Arc<Mutex<BTreeMap<Key, Arc<AtomicU64>>>>,
}

impl Telemetry {
    /// An empty table.
    pub fn new() -> Telemetry {
        Telemetry::default()
    }

    /// Adds to a counter.
    pub fn add(&self, metric: Metric, labels: &[(&str, &str)], amount: f64) {
        self.lock().place(metric, labels).value += amount;
    }

    /// Adds one to a counter.
    pub fn count(&self, metric: Metric, labels: &[(&str, &str)]) {
        self.add(metric, labels, 1.0);
    }

    /// A counter that is added to without the table's lock; the same one for the same labels.
    pub fn counter(&self, metric: Metric, labels: &[(&str, &str)]) -> Arc<AtomicU64> {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hot.entry(key(metric, labels)).or_default())
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        *self.lock().place(metric, labels) = Cell { value, observed: true };
    }

    /// Removes every value of a metric that has this label, for example when a job is gone.
    pub fn forget(&self, metric: Metric, label: &str, value: &str) {
        if let Some(sets) = self.lock().0.get_mut(&metric) {
            sets.retain(|(labels, _)| labels.value(label) != value);
        }
    }

    /// The value of one metric, for tests and the page.
    pub fn get(&self, metric: Metric, labels: &[(&str, &str)]) -> Option<f64> {
        self.settled().get(metric, &key(metric, labels).1).map(|cell| cell.value)
    }

    /// All values with their full label sets, sorted by metric.
    pub fn samples(&self) -> Vec<(Labels, f64)> {
        self.settled().0.values().flatten().map(|(labels, cell)| (labels.clone(), cell.value)).collect()
    }

    /// All values for our own series. A counter that is new since the last call is 0 in this one, so that
    /// `increase()` sees its first step.
    pub fn observe(&self) -> Vec<(Labels, f64)> {
        let mut table = self.settled();
        let observe = |(labels, cell): &mut (Labels, Cell)| {
            let shown = if cell.observed { cell.value } else { 0.0 };
            cell.observed = true;
            (labels.clone(), shown)
        };
        table.0.values_mut().flatten().map(observe).collect()
    }

    /// Type and help of every metric.
    pub fn meta() -> Vec<MetricMeta> {
        let meta = |metric: &Metric| MetricMeta {
            family: metric.name().into(),
            kind: metric.kind(),
            help: metric.help().into(),
            unit: "".into(),
        };
        Metric::ALL.iter().map(meta).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table with what the hot counters counted.
    fn settled(&self) -> std::sync::MutexGuard<'_, Table> {
        let mut table = self.lock();
        let hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        for ((metric, labels), counter) in hot.iter() {
            let counted = counter.swap(0, Ordering::Relaxed);
            if counted > 0 {
                let sets = table.0.entry(*metric).or_default();
                let at = seek(sets, labels);
                sets[at].1.value += counted as f64;
            }
        }
        table
    }
}

fn key(metric: Metric, labels: &[(&str, &str)]) -> Key {
    let mut builder = LabelsBuilder::new();
    builder.set(NAME, metric.name());
    for (name, value) in labels {
        debug_assert!(!matches!(*name, "job" | "instance"), "{}: {name} names the daemon itself", metric.name());
        builder.set(name, value);
    }
    (metric, builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|m| m.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            assert!(metric.name().starts_with("brownout_"), "{}", metric.name());
            assert_eq!(metric.name().ends_with("_total"), metric.kind() == MetricKind::Counter, "{}", metric.name());
            assert!(metric.help().ends_with('.'), "{}", metric.help());
        }
    }

    #[test]
    fn a_new_counter_is_observed_at_zero_first() {
        let table = Telemetry::new();
        table.count(Metric::LogLinesRead, &[]);
        table.set(Metric::SeriesCount, &[], 7.0);
        let values = |table: &Telemetry| table.observe().iter().map(|(_, value)| *value).collect::<Vec<_>>();
        assert_eq!(values(&table), [7.0, 0.0]);
        assert_eq!(values(&table), [7.0, 1.0]);
    }

    #[test]
    fn a_hot_counter_is_a_counter_like_any_other() {
        let table = Telemetry::new();
        for _ in 0..2 {
            table.counter(Metric::LogLinesRead, &[("log", "a")]).fetch_add(3, Ordering::Relaxed);
        }
        assert_eq!(table.get(Metric::LogLinesRead, &[("log", "a")]), Some(6.0));
        assert_eq!(table.samples().len(), 1);
    }

    #[test]
    fn few_and_many_label_sets_of_one_metric_are_kept_apart() {
        let telemetry = Telemetry::new();
        for round in 0..2 {
            for number in 0..2 * FEW {
                let (receiver, integration) = (format!("r{number}"), format!("i{}", number % 2));
                telemetry.count(Metric::Notifications, &[("receiver", &receiver), ("integration", &integration)]);
                telemetry.count(Metric::Notifications, &[("integration", &integration), ("receiver", &receiver)]);
                telemetry.count(Metric::Notifications, &[("receiver", &receiver)]);
                let labels = [("receiver", receiver.as_str()), ("integration", integration.as_str())];
                assert_eq!(telemetry.get(Metric::Notifications, &labels), Some(2.0 * f64::from(round + 1)));
                assert_eq!(telemetry.get(Metric::Notifications, &labels[..1]), Some(f64::from(round + 1)));
            }
        }
        assert_eq!(telemetry.samples().len(), 4 * FEW);
        telemetry.forget(Metric::Notifications, "receiver", "r3");
        assert_eq!(telemetry.samples().len(), 4 * FEW - 2);
    }

    #[test]
    fn counters_add_and_gauges_set() {
        let table = Telemetry::new();
        table.count(Metric::LogLinesRead, &[("log", "a")]);
        table.add(Metric::LogLinesRead, &[("log", "a")], 2.0);
        table.set(Metric::SeriesCount, &[], 7.0);
        assert_eq!(table.get(Metric::LogLinesRead, &[("log", "a")]), Some(3.0));
        assert_eq!(table.samples().len(), 2);
        table.forget(Metric::LogLinesRead, "log", "a");
        assert_eq!(table.samples().len(), 1);
    }
}

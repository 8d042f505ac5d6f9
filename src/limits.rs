//! Every bound of the house, in one place. What passes a bound is refused and counted, never dropped in silence.

use std::time::Duration;

// ---- texts that people write

/// A configuration or rule file larger than this is refused, in bytes.
pub const CONFIG_FILE_BYTES: usize = 4 << 20;
/// Entries of one watched directory whose changes are noticed.
pub const WATCHED_ENTRIES: usize = 1_000;
/// Nodes of one YAML document, aliases expanded.
pub const YAML_NODES: usize = 200_000;
/// Nesting of one YAML document: what reading it takes of an ordinary thread's stack (2 MiB), in a debug build too.
pub const YAML_DEPTH: usize = 48;
/// A PromQL expression, in bytes.
pub const PROMQL_BYTES: usize = 64 << 10;
/// Nesting of one PromQL expression; calls and aggregations count twice, subqueries 16 times.
pub const PROMQL_DEPTH: usize = 512;
/// Matchers with a regular expression in one PromQL expression; alternations of plain texts do not count.
pub const PROMQL_REGEXES: usize = 128;
/// Label sets that the evaluations of one PromQL expression remember.
pub const PROMQL_REMEMBERED: usize = 20_000;
/// Series of one range selector of a rule whose windows are followed; of more each window is read whole.
pub const PROMQL_WINDOWS: usize = 50_000;
/// A compiled regular expression, in bytes.
pub const REGEX_BYTES: usize = 4 << 20;
/// The source of one template, in bytes.
pub const TEMPLATE_BYTES: usize = 64 << 10;
/// Values of one series in the notation of rule unit tests.
pub const NOTED_VALUES: usize = 1_000_000;
/// What one template may write, in bytes.
pub const TEMPLATE_OUTPUT_BYTES: usize = 256 << 10;
/// Steps of one template's execution.
pub const TEMPLATE_STEPS: usize = 100_000;
/// Nesting of blocks and parentheses in one template; a run may go twice as deep, templates that it calls included.
pub const TEMPLATE_DEPTH: usize = 100;
/// A switch's name, in bytes.
pub const SWITCH_NAME_BYTES: usize = 128;

// ---- series

/// Series in the whole store.
pub const SERIES: usize = 200_000;
/// Series of one source.
pub const SERIES_PER_SOURCE: usize = 50_000;
/// Sources that are named with the samples that the store refused them; further ones are `_other`.
pub const REFUSED_SOURCES: usize = 100;
/// A label set, in bytes.
pub const LABELS_BYTES: usize = 16 << 10;
/// Samples that one query may touch.
pub const QUERY_SAMPLES: usize = 10_000_000;
/// Points of one answer to a query, all series together.
pub const QUERY_ANSWER_POINTS: usize = 2_000_000;
/// Series that `/federate` shows in one answer.
pub const FEDERATED_SERIES: usize = 100_000;
/// Points a series in a range query, as in Prometheus.
pub const QUERY_POINTS: i64 = 11_000;
/// Time that one query may take.
pub const QUERY_TIME: Duration = Duration::from_secs(20);
/// Queries of people that run at one time.
pub const QUERIES_AT_ONCE: usize = 2;

// ---- signals

/// Series of one system collector.
pub const COLLECTOR_SERIES: usize = 20_000;
/// One file below /proc or /sys; what is larger is refused, in bytes.
pub const SYSTEM_FILE_BYTES: usize = 16 << 20;
/// Mounts whose size is asked for.
pub const MOUNTS: usize = 1_024;
/// Threads that may hang in a dead mount at one time; past it the other mounts are no longer asked.
pub const MOUNTS_STUCK: usize = 16;
/// The body of one scrape, in bytes, after decompression.
pub const SCRAPE_BODY_BYTES: usize = 16 << 20;
/// So much room is made for an HTTP answer before it comes when it says how long it is, in bytes.
pub const BODY_RESERVED: usize = 2 << 20;
/// One log line; what is longer is cut and counted, in bytes.
pub const LOG_LINE_BYTES: usize = 64 << 10;
/// Series of one log metric; further label sets go to `_other`.
pub const LOG_METRIC_SERIES: usize = 1_000;
/// The value of one label taken from a log line; what is longer is cut, in bytes.
pub const LOG_LABEL_BYTES: usize = 1_024;
/// Files that one log job follows.
pub const LOG_FILES: usize = 16_384;
/// Files that one log job holds open; quiet ones beyond are opened again when they grow.
pub const LOG_FILES_OPEN: usize = 256;
/// Directories that one log job watches; what lies in others is polled.
pub const LOG_WATCHES: usize = 1_024;
/// Directory entries that are looked at in one search for log files.
pub const LOG_SCAN_ENTRIES: usize = 500_000;
/// The body that a probe keeps for its checks, in bytes; what follows is read and counted only.
pub const PROBE_BODY_BYTES: usize = 10 << 20;
/// One line of a probe's dialogue, in bytes.
pub const PROBE_LINE_BYTES: usize = 64 << 10;
/// Redirects that a probe follows, as in blackbox_exporter.
pub const PROBE_REDIRECTS: usize = 10;
/// How long a probe job keeps its TLS set-up before it reads certificates and roots again.
pub const PROBE_TLS_AGE: Duration = Duration::from_secs(60);
/// Lines of one probe's own account of what it did.
pub const PROBE_LOG_LINES: usize = 100;

// ---- edges

/// Events that wait for the engine.
pub const ENGINE_QUEUE: usize = 1_024;
/// Work of one kind that waits for an edge to perform it.
pub const EFFECT_QUEUE: usize = 4_096;
/// The body of a request to our own HTTP server, in bytes.
pub const HTTP_REQUEST_BYTES: usize = 1 << 20;
/// Connections that our HTTP server holds at one time.
pub const HTTP_CONNECTIONS: usize = 512;
/// The body that is read of an answer to a webhook, in bytes.
pub const WEBHOOK_REPLY_BYTES: usize = 64 << 10;
/// Connecting to a receiver.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long the system's certificate authorities are kept before they are read again.
pub const SYSTEM_ROOTS_AGE: Duration = Duration::from_secs(300);
/// How old a receiver's HTTP client is before it is built anew after a failure.
pub const CLIENT_AGE: Duration = Duration::from_secs(20);
/// The same for one whose settings name no file: only the system's authorities could be others.
pub const CLIENT_AGE_WITHOUT_FILES: Duration = Duration::from_secs(600);
/// One delivery to a receiver, all in all.
pub const DELIVERY_TIME: Duration = Duration::from_secs(30);
/// Name lookups of one client or job that may hang at one time.
pub const LOOKUPS_AT_ONCE: usize = 32;
/// What an SMTP server may say in one session, in bytes.
pub const SMTP_REPLY_BYTES: usize = 16 << 10;
/// Alerts that one mail shows; the rest is counted in it.
pub const EMAIL_ALERTS: usize = 100;
/// Characters of one label or annotation that a mail shows.
pub const EMAIL_VALUE_CHARS: usize = 2_000;
/// Characters of a mail's subject.
pub const EMAIL_SUBJECT_CHARS: usize = 160;
/// Characters of a receiver's answer that are repeated in a message.
pub const REPLY_CHARS: usize = 200;
/// What is kept of a notifying program's output, in bytes.
pub const EXEC_OUTPUT_BYTES: usize = 4 << 10;
/// Streams and long polls that are open at one time.
pub const STREAMS: usize = 256;
/// A stream whose reader takes nothing for so long is ended.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a long poll waits.
pub const LONG_POLL: Duration = Duration::from_secs(60);
/// Keys of one limit that are told apart, unless the configuration says otherwise.
pub const LIMIT_KEYS: usize = 10_000;
/// The key of a limit, in bytes.
pub const LIMIT_KEY_BYTES: usize = 512;
/// Requests in flight of one limit.
pub const LEASES: usize = 100_000;
/// Connections that one agent for HAProxy answers at one time.
pub const AGENT_CONNECTIONS: usize = 64;
/// How long a command may take that is run after a projection was written.
pub const RELOAD_TIME: Duration = Duration::from_secs(30);
/// At the end so long is waited for the last values in the files, and for the commands that follow.
pub const LAST_PROJECTIONS: Duration = Duration::from_secs(5);
/// Threads of the blocking pool.
pub const BLOCKING_THREADS: usize = 4;
/// The same, of the thread that serves: it works out queries, and compresses answers.
pub const SERVING_BLOCKING_THREADS: usize = QUERIES_AT_ONCE + 1;

// ---- remote write

/// Batches that wait to be gathered for one receiver.
pub const REMOTE_BATCHES: usize = 4_096;
/// One request in the queue, in bytes.
pub const REMOTE_REQUEST_BYTES: usize = 64 << 20;
/// A segment of the queue is full at some size between these two, in bytes.
pub const REMOTE_SEGMENT_LEAST: u64 = 64 << 10;
/// See [`REMOTE_SEGMENT_LEAST`].
pub const REMOTE_SEGMENT_MOST: u64 = 8 << 20;
/// The pause before a disk that failed is tried again.
pub const REMOTE_DISK_PAUSE: Duration = Duration::from_secs(5);

// ---- rules

/// Alerts of one alerting rule; a result with more elements is an error of the rule.
pub const ALERTS_PER_RULE: usize = 10_000;
/// The shortest time between two evaluations out of turn; what comes between waits for the next one.
pub const URGENT_GAP: Duration = Duration::from_millis(10);
/// A descriptor of at least this number is not kept for an alarm: there are many already.
pub const ALARM_DESCRIPTORS: i32 = 128;
/// A rule that is evaluated at least so often need not be told of what it knows.
pub const SOON: Duration = Duration::from_secs(1);
/// Series of urgent batches whose last value is remembered, so that only news starts an evaluation out of turn.
pub const URGENT_SERIES: usize = 20_000;
/// Evaluations that are kept for people of one rule, of one rule at the least, and of all rules together.
pub const EVALUATIONS_PER_RULE: usize = 60;
pub const EVALUATIONS_LEAST: usize = 5;
pub const EVALUATIONS_IN_ALL: usize = 60_000;
/// Elements of a result that are kept with an evaluation.
pub const EVALUATION_VALUES: usize = 5;
/// How often a rule looks whether its selectors match anything.
pub const FINDING_LOOKS: Duration = Duration::from_secs(15);
/// How long a selector must match nothing before it is shown as a finding.
pub const FINDING_GRACE: Duration = Duration::from_secs(60);
/// How long after a restart a restored alert waits for its inputs, beyond what its expression and interval ask for.
pub const RESTORE_GRACE: Duration = Duration::from_secs(30);
/// How far back a rule may read: series are kept as long as a rule reads them, and no longer than this.
pub const RULE_WINDOW: Duration = Duration::from_secs(31 * 24 * 3600);
/// Evaluations of all groups in one unit test.
pub const UNIT_TEST_STEPS: u128 = 10_000_000;
/// Label sets of a recording rule whose results' names are kept ready.
pub const RECORDED_NAMES: usize = 100_000;

// ---- alerts

/// Messages to one integration that are in flight at one time: those that wait for others are not out of hand. Times
/// [`DELIVERY_TIME`], divided by [`DELIVERIES_PER_INTEGRATION`], it is less than [`DELIVERY_SILENCE`].
pub const ON_THEIR_WAY: usize = 16;
/// So many messages that are to be sent to one integration go beside each other; fewer go one by one.
pub const BACKLOG: usize = 16;
/// A message in flight for so long no longer holds up the next one to its integration.
pub const SLOW_DELIVERY: Duration = Duration::from_secs(1);
/// Notifications in the outbox; past it repeats are dropped, never a change of state.
pub const OUTBOX: usize = 10_000;
/// The longest wait between two tries of one delivery.
pub const RETRY_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that a receiver can ask for (`Retry-After`).
pub const RETRY_AFTER: Duration = Duration::from_secs(300);
/// The wait after a receiver refused a message; a newer message of the same group does not wait.
pub const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// A delivery of which nothing was heard for so long is tried again.
pub const DELIVERY_SILENCE: Duration = Duration::from_secs(180);
/// Alerts that are kept at one time, firing or not yet told to be resolved.
pub const ALERTS: usize = 20_000;
/// Silences, expired ones included.
pub const SILENCES: usize = 10_000;
/// How long expired silences, what was last notified of a group without alerts, and undelivered messages are kept.
pub const ALERT_RETENTION: Duration = Duration::from_secs(120 * 3600);

/// Alerts whose latest starts are remembered to see whether they flap.
pub const FLAPPING_ALERTS: usize = 5_000;
/// Alert names whose noise is counted one by one.
pub const NOISY_RULES: usize = 1_000;
/// Links of messages that were used and have not expired.
pub const LINKS_USED: usize = 10_000;
/// The signed part of a link, in bytes; a message with larger labels has no link.
pub const LINK_BYTES: usize = 2_048;
/// Alerts that wait for one Alertmanager.
pub const FORWARD_QUEUE: usize = 10_000;
/// Alerts in one request to an Alertmanager, as in Prometheus.
pub const FORWARD_BATCH: usize = 64;

// ---- journal

/// A journal larger than this is rewritten from the state it leads to, in bytes.
pub const JOURNAL_BYTES: u64 = 4 << 20;
/// One value of the journal, in bytes, and one record: a larger one makes it be rewritten.
pub const JOURNAL_RECORD_BYTES: usize = 32 << 20;
/// Decisions kept for the page and the API.
pub const DECISIONS_KEPT: usize = 1_000;

// ---- the shared store

/// One try of one call at one endpoint.
pub const STORE_TRY: Duration = Duration::from_millis(1_500);
/// The same in a large fleet, whose store is slow because all of it asks at one time.
pub const STORE_TRY_LARGE: Duration = Duration::from_secs(6);
/// In a large fleet a call is given up after so many tries that had no answer in time.
pub const STORE_UNANSWERED: u32 = 2;
/// How often a watch is asked for a sign of life.
pub const STORE_HEARTBEAT: Duration = Duration::from_secs(2);
/// A watch that has been silent for so long is opened at another endpoint.
pub const STORE_SILENCE: Duration = Duration::from_secs(5);
/// In a large fleet it is asked only when nothing was heard on its connection for this time, as often longer.
pub const STORE_QUIET: Duration = Duration::from_millis(3_500);
/// In a fleet of twice, three times so many hosts and so on, signs of life are two, three times as rare.
pub const STORE_SPREAD: u64 = 1_000;
/// How many times as rare at the most.
pub const STORE_SPREAD_MOST: u32 = 5;
/// For so long a fleet counts as large as it was: hosts that a slow store does not show come back.
pub const STORE_CROWD_LASTS: Duration = Duration::from_secs(600);
/// So many times as long at the most is the lease of a host that does not stand for election.
pub const STORE_LEASE_MOST: u32 = 3;
/// How rarely such a lease is kept at the most.
pub const STORE_KEEP_MOST: Duration = Duration::from_secs(15);
/// How often the whole table is read again, whatever the watch says.
pub const STORE_RELIST: Duration = Duration::from_secs(60);
/// The longest pause between two tries to reach the store.
pub const STORE_PAUSE: Duration = Duration::from_secs(2);
/// The same in a large fleet.
pub const STORE_PAUSE_LARGE: Duration = Duration::from_secs(8);
/// Over so long the hosts of a large fleet come back that have lost a member: 100 us a host, and no more than this.
pub const STORE_APART: Duration = Duration::from_secs(2);
/// Different reasons that are told while the store cannot be used.
pub const STORE_TROUBLES: usize = 10;
/// An answer of the store, in bytes.
pub const STORE_ANSWER_BYTES: usize = 64 << 20;
/// The values of one transaction, in bytes, unless one alone is larger; etcd takes 1.5 MiB unless it is told otherwise.
pub const STORE_TXN_BYTES: usize = 1 << 20;
/// Changes in one transaction; etcd takes 128 unless it is told otherwise.
pub const STORE_TXN: usize = 100;
/// Hosts that stand for election at one time: the others wait until one of them is gone.
pub const STORE_CANDIDATES: usize = 5;
/// In a small fleet a host waits at most so long before it stands, when others do, but too few.
pub const STORE_STAND_FEW: Duration = Duration::from_secs(2);
/// In a large fleet a host waits at most so long before it stands, when nobody does.
pub const STORE_STAND_ALONE: Duration = Duration::from_secs(5);
/// The same when others stand, but too few.
pub const STORE_STAND: Duration = Duration::from_secs(60);
/// In a fleet of at most so many hosts each of them follows the votes of all; in a larger one only the one that counts.
pub const STORE_CENSUS_FOR_ALL: u64 = 100;
/// So many hosts may put their votes at one moment; those beyond wait for their turn.
pub const STORE_VOTES_AT_ONCE: u64 = 2_000;
/// Turns a second of the hosts beyond: more than a small store takes would wait there, longer than their deadlines.
pub const STORE_VOTES_PACE: u64 = 1_000;
/// Turns a second where a vote only agrees with what is in force.
pub const STORE_VOTES_PACE_AGREED: u64 = 500;
/// So many times at the most does the time double over which the turns are, for a host that the store did not answer.
pub const STORE_VOTES_LATE: u32 = 3;
/// Decisions of one host between two looks at how many are kept.
pub const STORE_PRUNE_EVERY: u64 = 50;
/// Writes that wait for the shared store; more are refused, and the engine gives them again.
pub const STORE_QUEUE: usize = 256;
/// Side effects of decisions that are under way in a fleet.
pub const STORE_OUTBOX: usize = 1_000;
/// The longest key that a projection has in the shared store.
pub const STORE_KEY_BYTES: usize = 1_024;

// ---- switches

/// The longest that a pin may last.
pub const PIN_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Hosts of a fleet that are remembered, those that vanished lately among them.
pub const FLEET_HOSTS: usize = 20_000;
/// Hosts that vanished and are told of one by one in metrics.
pub const FLEET_LOST: usize = 1_000;
/// Alerts that one host gives to the fleet to be told together with others'; it tells the rest by itself.
pub const FLEET_HOST_ALERTS: usize = 200;
/// The same in bytes, as JSON.
pub const FLEET_HOST_ALERT_BYTES: usize = 256 << 10;
/// Silences for the whole fleet that one host gives to it, those that were changed last; all others hold on that host alone.
pub const FLEET_HOST_SILENCES: usize = 100;
/// The same in bytes, as JSON.
pub const FLEET_HOST_SILENCE_BYTES: usize = 128 << 10;
/// Alerts named in one message for the whole fleet; the rest is a number.
pub const FLEET_MESSAGE_ALERTS: usize = 200;
/// How long the alerts of a host that vanished are held before they are told to have ended with it.
pub const FLEET_ALERTS_HELD: Duration = Duration::from_secs(15 * 60);
/// The latest decisions of the fleet that a host asks the store for when it has started.
pub const FLEET_DECISIONS: usize = 100;
/// Expressions that one central query API is asked.
pub const QUERY_API_RULES: usize = 50;
/// Series that one of them may give; an answer with more is none.
pub const QUERY_API_SERIES: usize = 500;
/// An answer of such an API, in bytes.
pub const QUERY_API_BYTES: usize = 1 << 20;
/// Names of hosts that a decision carries.
pub const FLEET_NAMES: usize = 5;
/// One revision of a fleet's configuration, in bytes; etcd takes 1.5 MiB in a request unless it is told otherwise.
pub const FLEET_CONFIG_BYTES: usize = 1 << 20;
/// Files of one revision.
pub const FLEET_CONFIG_FILES: usize = 256;
/// Revisions that are kept besides those in use.
pub const FLEET_CONFIG_KEPT: usize = 20;
/// What happened to revisions, as far as it is kept.
pub const FLEET_CONFIG_HISTORY: usize = 60;
/// The longest that a step is baked.
pub const FLEET_CONFIG_BAKE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Why a host refuses a revision, in bytes, as the others are told.
pub const FLEET_CONFIG_WHY: usize = 400;
/// In a large fleet the shares of limits are given to all at most this often.
pub const FLEET_SHARES_EVERY: Duration = Duration::from_secs(5);
/// A host says its demand for shared limits at most this often: 10,000 hosts make at most 1,000 writes a second of it.
pub const FLEET_DEMAND_EVERY: Duration = Duration::from_secs(10);

/// Deliveries to one integration that are on their way at one time.
pub const DELIVERIES_PER_INTEGRATION: usize = 4;
/// Rule files of one configuration.
pub const RULE_FILES: usize = 4_096;

// ---- the command line

/// An answer of the daemon that the command line reads, in bytes.
pub const CLI_ANSWER_BYTES: usize = 256 << 20;
/// Samples of one file that the command line holds at one time; those that no selector asks for are not held.
pub const CLI_SAMPLES: usize = 50_000_000;
/// Series of one file that the command line holds at one time.
pub const CLI_SERIES: usize = 1_000_000;
/// One line of a file of samples, in bytes.
pub const CLI_LINE_BYTES: usize = 1 << 20;
/// Samples of such a file that may be out of order: they are held as they are while they are sorted.
pub const CLI_UNSORTED: usize = 20_000_000;

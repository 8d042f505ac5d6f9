//! The whole room against node_exporter's own fixtures and its real output, and what a collection costs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Filters, Roots, Settings, System, collector_names};
use crate::model::{Batch, MetricKind, NAME};
use crate::rng::Rng;
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Stopwatch, Timestamp};

/// node_exporter's data, or `None` with a word about it.
fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find the conformance data by this variable")]
    let root = std::env::var("BROWNOUT_CONFORMANCE").ok();
    if root.is_none() {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
    }
    let folder = Path::new(&root?).join("node_exporter");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return None;
    }
    Some(folder)
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("brownout-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Unpacks node_exporter's text archive.
fn unpack(archive: &Path, into: &Path) {
    let data = std::fs::read(archive).unwrap();
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut path = PathBuf::new();
    while let Some(line) = lines.next() {
        let text = String::from_utf8_lossy(line);
        if let Some(directory) = text.strip_prefix("Directory: ") {
            std::fs::create_dir_all(into.join(directory)).unwrap();
        } else if let Some(file) = text.strip_prefix("Path: ") {
            path = into.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        } else if let Some(target) = text.strip_prefix("SymlinkTo: ") {
            symlink(target, &path).unwrap();
        } else if let Some(count) = text.strip_prefix("Lines: ") {
            let body: Vec<_> = lines.by_ref().take(count.parse().unwrap()).collect();
            let mut body = [body.join(&b'\n'), b"\n".to_vec()].concat();
            // The archive's word for "no line end here".
            if let Some(cut) = body.strip_suffix(b"EOF\n") {
                body = cut.to_vec();
            }
            let body = String::from_utf8_lossy(&body).replace("NULLBYTE", "\0");
            std::fs::write(&path, body).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Lays node_exporter's fixtures out as a host's file systems.
fn lay_out(data: &Path, root: &Path) {
    copy(&data.join("fixtures/proc"), &root.join("proc"));
    symlink("10", root.join("proc/self")).unwrap();
    unpack(&data.join("fixtures/sys.ttar"), root);
    std::fs::create_dir_all(root.join("run")).unwrap();
    unpack(&data.join("fixtures/udev.ttar"), &root.join("run"));
}

fn settings_for(root: &Path) -> Settings {
    Settings {
        roots: Roots { procfs: root.join("proc"), sysfs: root.join("sys"), rootfs: root.to_owned() },
        instance: "here".into(),
        collectors: everything_on(),
        filters: Filters {
            arp_device_exclude: "nope".into(),
            netclass_device_exclude: "(dmz|int)".into(),
            ..Filters::default()
        },
        ..Settings::default()
    }
}

type Series = (String, BTreeMap<String, String>);

/// Reads a text exposition; label values are unescaped, empty ones left out.
fn exposition(text: &str) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut rest = labels.strip_suffix('}').unwrap();
        let mut pairs = BTreeMap::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let mut value = String::new();
            let mut chars = after.char_indices();
            let mut end = after.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at;
                        break;
                    }
                    '\\' => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                    c => value.push(c),
                }
            }
            if !value.is_empty() {
                pairs.insert(label.to_owned(), value);
            }
            rest = after[end + 1..].trim_start_matches(',');
        }
        all.insert((name.to_owned(), pairs), value.parse().unwrap());
    }
    all
}

/// What a batch has, without `job` and `instance`, which every series must carry.
fn series(batch: &Batch) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    for (labels, value) in &batch.samples {
        assert_eq!((labels.value("job"), labels.value("instance")), ("node", "here"), "{labels}");
        let others = labels.iter().filter(|(name, _)| ![NAME, "job", "instance"].contains(name));
        let others = others.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let before = all.insert((labels.name().to_owned(), others), *value);
        assert!(before.is_none(), "twice in one batch: {labels}");
    }
    all
}

fn everything_on() -> BTreeMap<String, bool> {
    collector_names().iter().map(|(name, ..)| ((*name).to_owned(), true)).collect()
}

/// Families of the expected output that this room does not give, by the beginning of their name.
const NOT_OURS: &[&str] = &[
    // special file systems, hardware and subsystems
    "node_bcache",
    "node_btrfs_",
    "node_buddyinfo_",
    "node_cgroups_",
    "node_cpu_vulnerabilities_",
    "node_dmmultipath_",
    "node_drbd_",
    "node_fibrechannel_",
    "node_infiniband_",
    "node_ipvs_",
    "node_ksmd_",
    "node_lnstat_",
    "node_memory_numa_",
    "node_mountstats_",
    "node_nfs_",
    "node_nfsd_",
    "node_nvme_",
    "node_pcidevice_",
    "node_qdisc_",
    "node_rapl_",
    "node_slabinfo_",
    "node_sysctl_",
    "node_tape_",
    "node_watchdog_",
    "node_wifi_",
    "node_xfrm_",
    "node_xfs_",
    "node_zfs_",
    "node_zoneinfo_",
    // options that are off by default upstream (--collector.cpu.info, --collector.stat.softirq)
    "node_cpu_bug_info",
    "node_cpu_flag_info",
    "node_cpu_frequency_hertz",
    "node_cpu_info",
    "node_softirqs_total",
    // files of other rooms, and the exporter's own
    "node_textfile_",
    "testmetric",
    "go_",
    "process_",
    "promhttp_",
    // not from the fixtures: the distribution's file is not among them, traffic and collectors are those of the test host
    "node_os_",
    "node_network_receive_",
    "node_network_transmit_bytes",
    "node_network_transmit_c",
    "node_network_transmit_drop",
    "node_network_transmit_errs",
    "node_network_transmit_fifo",
    "node_network_transmit_packets",
    "node_scrape_collector_",
];

/// What we give on the fixtures and upstream's test does not, as it switches it off or leaves it out of the comparison.
const NOT_THEIRS: &[&str] = &[
    "node_filesystem_",
    "node_kernel_hung_tasks",
    "node_scrape_collector_",
    "node_tcp_connection_states",
    "node_time_seconds",
    "node_time_zone_offset_seconds",
    "node_uname_info",
    "up",
];

#[test]
fn values_on_node_exporters_fixtures_are_node_exporters() {
    let Some(data) = conformance() else { return };
    let scratch = Scratch::new("fixtures");
    let root = &scratch.0;
    lay_out(&data, root);
    let mut system = System::new(settings_for(root), Telemetry::new()).unwrap();
    let ours = series(&complete(&mut system, Timestamp::from_millis(1_000)));
    let expected = String::from_utf8_lossy(&std::fs::read(data.join("fixtures/e2e-output.txt")).unwrap()).into_owned();
    let expected = exposition(&expected);

    let starts = |name: &str, list: &[&str]| list.iter().any(|start| name.starts_with(start));
    let mut wrong = Vec::new();
    for ((name, labels), value) in expected.iter().filter(|((name, _), _)| !starts(name, NOT_OURS)) {
        match ours.get(&(name.clone(), labels.clone())) {
            Some(given) if given == value => {}
            given => wrong.push(format!("{name} {labels:?}: expected {value}, got {given:?}")),
        }
    }
    // Upstream's test takes only some chips, and drops invalid speeds by an option.
    let by_option = |name: &str, labels: &BTreeMap<String, String>| {
        let is = |label: &str, value: &str| labels.get(label).is_some_and(|given| given == value);
        is("chip", "bogus") || (name == "node_network_speed_bytes" && is("device", "bond0"))
    };
    let extra = |series: &&Series| {
        !expected.contains_key(*series) && !starts(&series.0, NOT_THEIRS) && !by_option(&series.0, &series.1)
    };
    wrong.extend(ours.keys().filter(extra).map(|series| format!("not in node_exporter's output: {series:?}")));
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    let compared = expected.keys().filter(|(name, _)| !starts(name, NOT_OURS)).count();
    println!("{compared} series of node_exporter's {} compared, all equal", expected.len());
    assert!(compared > 900, "{compared}");
}

/// The first batch that has the slow collectors' values, with all families announced so far. On a busy machine these
/// may come after the first batch.
fn complete(system: &mut System, at: Timestamp) -> Batch {
    let mut meta = Vec::new();
    loop {
        let mut batch = system.collect(at);
        meta.append(&mut batch.meta);
        let has = |name: &str| batch.samples.iter().any(|(labels, _)| labels.name().starts_with(name));
        if has("node_uname_info") && has("node_filesystem_size_bytes") {
            return Batch { meta, ..batch };
        }
    }
}

fn live() -> System {
    let settings = Settings { instance: "here".into(), ..Settings::default() };
    System::new(settings, Telemetry::new()).unwrap()
}

/// Needed names that a stock node_exporter gives on a plain host and we do not.
const LEFT_OUT: &[&str] = &["node_timex_", "node_textfile_scrape_error"];

#[test]
fn what_real_rules_and_dashboards_need_of_a_plain_host_is_given() {
    let Some(data) = conformance() else { return };
    let ours: BTreeSet<String> =
        series(&complete(&mut live(), Timestamp::from_millis(1_000))).into_keys().map(|s| s.0).collect();
    let table = std::fs::read_to_string(data.join("needed-metrics.tsv")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("node_")).map(|line| line.split('\t').collect::<Vec<_>>());
    let rows: Vec<_> = rows.collect();
    let needed: Vec<&str> = rows.iter().filter(|row| row[5] == "yes").map(|row| row[0]).collect();
    let missing: Vec<_> = needed.iter().filter(|name| !ours.contains(**name)).collect();
    let all = rows.iter().filter(|row| ours.contains(row[0])).count();
    println!(
        "{} of {} needed names that node_exporter gives here; of all {} needed: {all}",
        needed.len() - missing.len(),
        needed.len(),
        rows.len()
    );
    println!("missing: {missing:?}");
    // Neighbours come and go; what depends on one is asked only where there is one.
    let absent = |name: &str| name == "node_arp_entries" && !has_neighbours();
    let unexplained: Vec<_> =
        missing.iter().filter(|name| !LEFT_OUT.iter().any(|start| name.starts_with(start)) && !absent(name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// Whether this host has spoken to another one lately.
fn has_neighbours() -> bool {
    std::fs::read_to_string("/proc/net/arp").is_ok_and(|table| table.lines().count() > 1)
}

/// Families of the real output that this room does not give.
const NOT_GIVEN: &[&str] = &[
    "node_exporter_build_info",
    "node_selinux_enabled",
    "node_textfile_",
    "node_timex_",
    "node_xfs_",
    "node_btrfs_",
    "node_watchdog_",
];

#[test]
fn names_types_help_and_labels_are_those_of_a_real_node_exporter() {
    let Some(data) = conformance() else { return };
    let real = std::fs::read_to_string(data.join("this-kernel.prom")).unwrap();
    let batch = complete(&mut live(), Timestamp::from_millis(1_000));
    let meta: BTreeMap<&str, _> = batch.meta.iter().map(|meta| (&*meta.family, meta)).collect();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (set, _) in &batch.samples {
        labels.entry(set.name()).or_default().extend(set.iter().map(|(name, _)| name));
    }
    let mut wrong = Vec::new();
    let wanted = |name: &str| name.starts_with("node_") && !NOT_GIVEN.iter().any(|start| name.starts_with(start));
    for line in real.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if !wanted(name) {
            continue;
        }
        let Some(meta) = meta.get(name) else {
            if name == "node_arp_entries" && !has_neighbours() {
                continue;
            }
            wrong.push(format!("missing: {name}"));
            continue;
        };
        let ours = match (what, meta.kind) {
            ("TYPE", MetricKind::Unknown) => "untyped",
            ("TYPE", kind) => kind.as_str(),
            _ => &meta.help,
        };
        if ours != text {
            wrong.push(format!("{name}: {what} is {ours:?}, should be {text:?}"));
        }
    }
    for (name, pairs) in exposition(&real).into_keys().filter(|(name, _)| wanted(name)) {
        let ours = labels.get(name.as_str());
        wrong.extend(
            pairs
                .keys()
                .filter(|label| ours.is_some_and(|ours| !ours.contains(label.as_str())))
                .map(|label| format!("{name} lacks the label {label}")),
        );
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn families_are_announced_with_the_first_batch_only_and_slow_values_are_repeated() {
    let mut system = live();
    let first = complete(&mut system, Timestamp::from_millis(1_000));
    let announced: BTreeSet<&str> = first.meta.iter().map(|meta| &*meta.family).collect();
    for (labels, _) in &first.samples {
        assert!(announced.contains(labels.name()), "{labels}");
    }
    let second = system.collect(Timestamp::from_millis(2_000));
    let (first, again) = (series(&first), series(&second));
    assert!(again.keys().any(|(name, _)| name == "node_uname_info"));
    let lost: Vec<_> = first.keys().filter(|key| !again.contains_key(key)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in path.read_dir().unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
}

/// Kernel texts with bytes replaced, cut and repeated: whatever they say, no collector may panic.
#[test]
fn damaged_kernel_files_do_not_make_a_collector_panic() {
    const TELLING: &[u8] = b" \t\n:/()[]{}=,.-+%#\\\0\xff\xc3xXnaN9e1";
    let Some(data) = conformance() else { return };
    let scratch = Scratch::new("damaged");
    lay_out(&data, &scratch.0);
    let mut files = Vec::new();
    for part in ["proc", "sys/class", "sys/devices", "sys/block", "run"] {
        files_below(&scratch.0.join(part), &mut files);
    }
    let originals: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut rng = Rng::seeded(7);
    for _ in 0..8 {
        for (file, original) in files.iter().zip(&originals) {
            let mut damaged = original.clone();
            for _ in 0..rng.below(1 + damaged.len() as u64 / 20) {
                let at = rng.below(damaged.len() as u64) as usize;
                damaged[at] = TELLING[rng.below(TELLING.len() as u64) as usize];
            }
            match rng.below(8) {
                0 => damaged.truncate(rng.below(damaged.len() as u64 + 1) as usize),
                1 => damaged.extend_from_slice(original),
                _ => {}
            }
            std::fs::write(file, damaged).unwrap();
        }
        let telemetry = Telemetry::new();
        let batch = System::new(settings_for(&scratch.0), telemetry.clone()).unwrap().collect(Timestamp::ZERO);
        series(&batch);
        let panics = telemetry.samples().into_iter().find(|(labels, _)| labels.name() == Metric::TaskPanics.name());
        assert!(panics.is_none(), "{panics:?}");
    }
}

#[test]
fn a_collector_can_be_switched_off_with_its_slow_part() {
    let collectors = [("netdev".to_owned(), false), ("processes".to_owned(), true)].into();
    let settings = Settings { collectors, instance: "here".into(), ..Settings::default() };
    let names = series(&complete(&mut System::new(settings, Telemetry::new()).unwrap(), Timestamp::from_millis(1_000)));
    assert!(!names.keys().any(|(name, _)| name.starts_with("node_network_receive_")));
    assert!(names.keys().any(|(name, _)| name == "node_processes_state"));
}

#[test]
fn a_collection_gives_hundreds_of_series_and_its_cost_is_printed() {
    const FILES: &[&str] = &[
        "stat",
        "stat",
        "loadavg",
        "meminfo",
        "vmstat",
        "diskstats",
        "net/dev",
        "net/netstat",
        "net/snmp",
        "net/snmp6",
        "net/sockstat",
        "net/sockstat6",
        "net/softnet_stat",
        "net/udp",
        "net/udp6",
        "net/arp",
        "net/stat/nf_conntrack",
        "pressure/cpu",
        "pressure/io",
        "pressure/memory",
        "sys/fs/file-nr",
        "sys/kernel/random/entropy_avail",
        "sys/kernel/random/poolsize",
        "sys/kernel/hung_task_detect_count",
        "sys/net/netfilter/nf_conntrack_count",
        "sys/net/netfilter/nf_conntrack_max",
    ];
    const RUNS: usize = 200;
    let mut system = live();
    let (mut samples, mut costs, mut raw) = (0, Vec::new(), Vec::new());
    for run in 0..RUNS {
        let watch = Stopwatch::start();
        samples = system.collect(Timestamp::from_millis(run as i64 * 100)).samples.len();
        costs.push(watch.elapsed());
        let watch = Stopwatch::start();
        let read = FILES.iter().filter_map(|file| std::fs::read(Path::new("/proc").join(file)).ok());
        std::hint::black_box(read.count());
        raw.push(watch.elapsed());
    }
    costs.sort_unstable();
    raw.sort_unstable();
    let (cost, read) = (costs[RUNS / 2], raw[RUNS / 2]);
    let worst = costs[RUNS * 99 / 100];
    println!("{samples} samples: collect p50 {cost:?} p99 {worst:?}; opening and reading the files alone p50 {read:?}");
    assert!(samples > 200, "{samples}");
    let mut slowest: Vec<_> = system.collect(Timestamp::from_millis(1_000_000)).samples;
    slowest.retain(|(labels, _)| labels.name() == "node_scrape_collector_duration_seconds");
    slowest.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (labels, seconds) in slowest.iter().take(8) {
        println!("  {}: {:.0} us", labels.value("collector"), seconds * 1e6);
    }
}

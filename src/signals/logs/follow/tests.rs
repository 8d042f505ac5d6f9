use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::rng::Rng;

static RIGS: AtomicU64 = AtomicU64::new(0);

/// A directory of its own, a follower, and what it gave so far.
struct Rig {
    dir: PathBuf,
    settings: JobSettings,
    follower: Follower,
    lines: Vec<String>,
    total: Polled,
    now: Timestamp,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Rig {
    fn new(pattern: &str) -> Rig {
        Rig::with(pattern, |_| {})
    }

    fn with(pattern: &str, change: impl FnOnce(&mut JobSettings)) -> Rig {
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("brownout-follow-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("directory");
        let mut settings = JobSettings::named("j", "h");
        settings.paths = vec![dir.join(pattern).to_string_lossy().into_owned()];
        settings.read_from = ReadFrom::Start;
        change(&mut settings);
        let follower = Follower::new(&settings, &[]).expect("settings");
        let now = Timestamp::from_millis(1_000_000);
        Rig { dir, settings, follower, lines: Vec::new(), total: Polled::default(), now }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn append(&self, name: &str, text: &str) -> File {
        let mut file = OpenOptions::new().create(true).append(true).open(self.at(name)).expect(name);
        file.write_all(text.as_bytes()).expect("write");
        file
    }

    /// Waits for the file system's clock, which can be as coarse as some milliseconds.
    fn tick(&self) {
        let touch = || {
            fs::write(self.at("clock"), "x").expect("write");
            Stat::of_path(&self.at("clock")).expect("stat").changed
        };
        let start = touch();
        while touch() == start {}
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).expect("rename");
    }

    fn look(&mut self, look: Look<'_>) -> Polled {
        loop {
            let lines = &mut self.lines;
            let polled = self.follower.poll(self.now, look, &mut |text, _, _| {
                lines.push(String::from_utf8_lossy(text).into_owned());
            });
            self.total.lines += polled.lines;
            self.total.cut += polled.cut;
            self.total.bytes += polled.bytes;
            self.total.lost += polled.lost;
            self.total.renames += polled.renames;
            self.total.truncations += polled.truncations;
            self.total.deletions += polled.deletions;
            self.total.refused.extend(&polled.refused);
            if !polled.more {
                return polled;
            }
        }
    }

    fn poll(&mut self) -> Vec<String> {
        self.look(Look::Search);
        std::mem::take(&mut self.lines)
    }

    /// Polls once more after all waits.
    fn settle(&mut self) -> Vec<String> {
        self.look(Look::Sweep);
        self.now = self.now + Duration::from_secs(60);
        self.look(Look::Sweep);
        std::mem::take(&mut self.lines)
    }

    /// A new follower from the marks of the old one, through JSON.
    fn restart(&mut self) {
        let json = serde_json::to_string(&self.follower.marks()).expect("JSON");
        let marks: Vec<FileMark> = serde_json::from_str(&json).expect("JSON");
        self.follower = Follower::new(&self.settings, &marks).expect("settings");
    }
}

#[test]
fn whole_lines_are_given_and_a_half_line_waits() {
    let mut rig = Rig::new("a.log");
    assert!(rig.poll().is_empty());
    rig.append("a.log", "one\ntw");
    assert_eq!(rig.poll(), ["one"]);
    assert!(rig.poll().is_empty());
    rig.restart();
    rig.append("a.log", "o\nthree\n");
    assert_eq!(rig.poll(), ["two", "three"]);
    assert_eq!(rig.total.bytes, 14);
}

#[test]
fn a_renamed_file_is_read_until_it_was_quiet_for_the_wait() {
    let mut rig = Rig::new("a.log");
    let mut old = rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    old.write_all(b"2\n").expect("write");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    assert_eq!(rig.poll(), ["2", "3"]);
    for round in 4..10 {
        rig.now = rig.now + Duration::from_secs(4);
        writeln!(old, "{round}").expect("write");
        assert_eq!(rig.poll(), [round.to_string()]);
    }
    // A last line without its end is a line, once nobody writes any more.
    old.write_all(b"end").expect("write");
    assert!(rig.poll().is_empty());
    rig.now = rig.now + Duration::from_secs(5);
    assert_eq!(rig.poll(), ["end"]);
    assert_eq!((rig.follower.count(), rig.total.renames), (1, 1));
}

#[test]
fn several_rotations_between_two_looks_lose_nothing() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log.2", "ancient\n");
    rig.tick();
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    for round in 2..6 {
        rig.append("a.log", &format!("{round}\n"));
        rig.rename("a.log", &format!("a.log.{}", 10 - round));
        rig.tick();
        rig.append("a.log", &format!("{round} new\n"));
    }
    assert_eq!(rig.poll(), ["2", "2 new", "3", "3 new", "4", "4 new", "5", "5 new"]);
    assert!(rig.settle().is_empty());
}

#[test]
fn a_pattern_that_finds_the_rotated_names_too_reads_each_line_once() {
    let mut rig = Rig::new("a.log*");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    fs::write(rig.at("a.log.2.gz"), "packed\n").expect("write");
    assert_eq!(rig.poll(), ["2", "3"]);
    rig.append("a.log.1", "late\n");
    assert_eq!(rig.poll(), ["late"]);
    assert_eq!(rig.follower.count(), 2);
}

#[test]
fn copytruncate_reads_what_was_missed_from_the_copy() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n2\n");
    assert_eq!(rig.poll(), ["1", "2"]);
    rig.append("a.log", "3\n");
    fs::copy(rig.at("a.log"), rig.at("a.log.1")).expect("copy");
    OpenOptions::new().write(true).open(rig.at("a.log")).expect("open").set_len(0).expect("truncate");
    rig.append("a.log", "4\n");
    assert_eq!(rig.poll(), ["3", "4"]);
    assert_eq!((rig.total.truncations, rig.total.lost), (1, 0));
    assert!(rig.settle().is_empty());
}

#[test]
fn a_truncation_that_the_size_does_not_show_is_seen() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "first 1\nfirst 2\n");
    assert_eq!(rig.poll().len(), 2);
    File::create(rig.at("a.log")).expect("truncate");
    rig.append("a.log", "other 1\nother 2\nother 3\n");
    assert_eq!(rig.poll(), ["other 1", "other 2", "other 3"]);
    // And one that is seen while the file is empty: what was there and not read is counted as lost.
    rig.append("a.log", "half");
    assert!(rig.poll().is_empty());
    File::create(rig.at("a.log")).expect("truncate");
    assert!(rig.poll().is_empty());
    assert_eq!((rig.total.truncations, rig.total.lost), (2, 4));
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_a_new_one_from_its_start() {
    let mut rig = Rig::new("a.log");
    let mut old = rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    old.write_all(b"2\n").expect("write");
    fs::remove_file(rig.at("a.log")).expect("remove");
    assert_eq!(rig.poll(), ["2"]);
    assert_eq!(rig.total.deletions, 1);
    old.write_all(b"3\n").expect("write");
    rig.append("a.log", "4\n");
    assert_eq!(rig.poll(), ["3", "4"]);
    drop(old);
    assert!(rig.settle().is_empty());
    assert_eq!(rig.follower.count(), 1);
}

#[test]
fn a_switched_link_leads_to_the_next_file() {
    let mut rig = Rig::new("current");
    rig.append("x.0", "1\n");
    std::os::unix::fs::symlink(rig.at("x.0"), rig.at("current")).expect("link");
    assert_eq!(rig.poll(), ["1"]);
    rig.append("x.0", "2\n");
    rig.append("x.1", "3\n");
    fs::remove_file(rig.at("current")).expect("unlink");
    std::os::unix::fs::symlink(rig.at("x.1"), rig.at("current")).expect("link");
    assert_eq!(rig.poll(), ["2", "3"]);
    // A hint names the file, not the link.
    rig.append("x.1", "4\n");
    rig.look(Look::Paths(&[rig.at("x.1")]));
    assert_eq!(rig.lines, ["4"]);
}

#[test]
fn a_restart_finds_what_was_rotated_meanwhile() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    rig.append("a.log", "2\n");
    rig.rename("a.log", "moved-elsewhere");
    rig.append("a.log", "3\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    rig.restart();
    assert_eq!(rig.poll(), ["2", "3", "4"]);
    rig.restart();
    assert!(rig.poll().is_empty());
    assert!(rig.settle().is_empty());
}

#[test]
fn a_restart_sees_truncation_and_another_file_under_the_same_name() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "old line 1\nold line 2\n");
    rig.poll();
    File::create(rig.at("a.log")).expect("truncate");
    rig.append("a.log", "new line 1\nnew line 2\nnew line 3\n");
    rig.restart();
    assert_eq!(rig.poll(), ["new line 1", "new line 2", "new line 3"]);
    rig.append("a.log", "missed\n");
    fs::copy(rig.at("a.log"), rig.at("a.log.1")).expect("copy");
    File::create(rig.at("a.log")).expect("truncate");
    rig.append("a.log", "after\n");
    rig.restart();
    assert_eq!(rig.poll(), ["missed", "after"]);
}

#[test]
fn read_from_chooses_the_first_place() {
    let check = |read_from: ReadFrom, first: &[&str], second: &[&str]| {
        let mut rig = Rig::with("*.log", |settings| settings.read_from = read_from);
        rig.append("a.log", "1\n2\nha");
        assert_eq!(rig.poll(), first, "{read_from:?}");
        rig.append("a.log", "lf\n");
        rig.append("b.log", "new\n");
        rig.poll();
        rig.append("a.log", "down\n");
        rig.restart();
        assert_eq!(rig.poll(), second, "{read_from:?}");
        rig.append("a.log", "up\n");
        assert_eq!(rig.poll(), ["up"], "{read_from:?}");
    };
    check(ReadFrom::Start, &["1", "2"], &["down"]);
    check(ReadFrom::Checkpoint, &[], &["down"]);
    check(ReadFrom::End, &[], &[]);
    let mut rig = Rig::with("a.log", |settings| settings.read_from = ReadFrom::Checkpoint);
    rig.append("a.log", "1\nha");
    rig.poll();
    rig.append("a.log", "lf\n");
    assert_eq!(rig.poll(), ["half"]);
}

#[test]
fn only_regular_files_are_followed_and_refusals_are_told_once() {
    let mut rig = Rig::with("**/*.log", |settings| settings.exclude = vec![]);
    fs::create_dir_all(rig.at("d.log")).expect("directory");
    fs::create_dir_all(rig.at("x/y")).expect("directory");
    rustix::fs::mknodat(rustix::fs::CWD, rig.at("fifo.log"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .expect("fifo");
    std::os::unix::fs::symlink("/dev/zero", rig.at("zero.log")).expect("link");
    std::os::unix::fs::symlink(rig.at("loop.log"), rig.at("loop.log")).expect("link");
    rig.append("x/y/deep.log", "deep\n");
    assert_eq!(rig.poll(), ["deep"]);
    rig.poll();
    assert_eq!(rig.total.refused, ["kind", "kind"]);
    assert!(rig.follower.directories().contains(&rig.at("x/y")));
}

#[test]
fn long_lines_nuls_and_invalid_text_do_no_harm() {
    let mut rig = Rig::new("a.log");
    fs::write(rig.at("a.log"), [&b"a\0b\xff\n"[..], &vec![b'x'; 200_000], b"\nend\n"].concat()).expect("write");
    let lines = rig.poll();
    assert_eq!((lines[0].as_str(), lines[1].len(), lines[2].as_str()), ("a\0b\u{fffd}", limits::LOG_LINE_BYTES, "end"));
    assert_eq!((rig.total.cut, rig.total.lines, rig.total.bytes), (1, 3, 200_010));
    // A line that grows past the limit over many looks, and a restart in its middle.
    for _ in 0..5 {
        rig.append("a.log", &"y".repeat(30_000));
        rig.poll();
    }
    rig.restart();
    rig.append("a.log", "z\nnext\n");
    assert_eq!(rig.poll(), ["next"]);
    assert_eq!(rig.total.cut, 2);
}

#[test]
fn a_flood_in_one_file_does_not_keep_the_others_waiting() {
    let mut rig = Rig::new("*.log");
    rig.append("a.log", &"flood\n".repeat(2_000_000));
    rig.append("b.log", "small\n");
    let mut seen = Vec::new();
    let polled = rig.follower.poll(rig.now, Look::Search, &mut |text, _, _| {
        if text == b"small" {
            seen.push(());
        }
    });
    assert!(polled.more && polled.bytes < 3 << 20, "{polled:?}");
    assert_eq!(seen.len(), 1);
    assert!(rig.follower.lag() > 8 << 20);
    assert_eq!(rig.poll().len() as u64 + polled.lines, 2_000_001);
    assert_eq!(rig.follower.lag(), 0);
}

#[test]
fn more_files_than_descriptors_are_followed_through_rotation() {
    let mut rig = Rig::new("*.log");
    let count = limits::LOG_FILES_OPEN + 50;
    for number in 0..count {
        rig.append(&format!("{number}.log"), "1\n");
    }
    assert_eq!(rig.poll().len(), count);
    let open = || rig.follower.files.values().filter(|file| file.is_open()).count();
    assert_eq!(open(), limits::LOG_FILES_OPEN);
    for number in 0..count {
        rig.append(&format!("{number}.log"), &format!("2 {number}\n"));
        rig.rename(&format!("{number}.log"), &format!("{number}.log.1"));
        rig.append(&format!("{number}.log"), &format!("3 {number}\n"));
    }
    assert_eq!(rig.poll().len(), count * 2);
    assert!(rig.settle().is_empty());
    assert!(rig.follower.files.values().filter(|file| file.is_open()).count() <= limits::LOG_FILES_OPEN);
}

/// Random writes, rotations, looks and crashes against a plain model: every line exactly once.
#[test]
fn no_line_is_lost_or_given_twice_in_random_histories() {
    for seed in 0..60 {
        let mut rng = Rng::seeded(seed);
        let mut rig = Rig::new(if seed % 2 == 0 { "a.log" } else { "a.log*" });
        let (mut written, mut given) = (0, Vec::<String>::new());
        let mut writer = rig.append("a.log", "");
        let mut generation = 0;
        rig.poll();
        let mut saved = (rig.follower.marks(), Vec::<String>::new());
        for _ in 0..80 {
            match rng.below(10) {
                0..=4 => {
                    let text = format!("line {written}\n");
                    let cut = rng.below(text.len() as u64) as usize;
                    writer.write_all(&text.as_bytes()[..cut]).expect("write");
                    if rng.below(3) == 0 {
                        rig.look(Look::Sweep);
                    }
                    writer.write_all(&text.as_bytes()[cut..]).expect("write");
                    written += 1;
                }
                5 => {
                    generation += 1;
                    rig.rename("a.log", &format!("a.log.{generation}"));
                    let next = rig.append("a.log", "");
                    // The writer may go on with its old descriptor for a while.
                    for _ in 0..rng.below(3) {
                        writeln!(writer, "line {written}").expect("write");
                        written += 1;
                    }
                    writer = next;
                }
                6 => drop(rig.look(Look::Paths(&[rig.at("a.log")]))),
                7 => drop(rig.look(Look::Search)),
                8 => {
                    given.append(&mut rig.lines);
                    saved = (rig.follower.marks(), given.clone());
                }
                _ => {
                    // A crash: what was given since the last checkpoint was never counted.
                    rig.follower = Follower::new(&rig.settings, &saved.0).expect("settings");
                    rig.lines.clear();
                    given.clone_from(&saved.1);
                }
            }
        }
        rig.look(Look::Search);
        let rest = rig.settle();
        given.extend(rest);
        let mut numbers: Vec<u64> = given.iter().map(|line| line[5..].parse().expect("a number")).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..written).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_rotated_file_whose_new_name_is_wanted_too_is_found_late_and_not_read_twice() {
    for restarts in [false, true] {
        let mut rig = Rig::new("a*.log");
        rig.append("a.log", "1\n2\n");
        assert_eq!(rig.poll(), ["1", "2"]);
        rig.append("a.log", "3\nhal");
        rig.rename("a.log", "a-1.log");
        rig.append("a.log", "4\n");
        // Only the old name is looked at, as when the word of the new one was missed.
        let path = rig.at("a.log");
        rig.look(Look::Paths(&[path]));
        rig.now = rig.now + Duration::from_secs(60);
        rig.look(Look::Paths(&[]));
        let mut lines = std::mem::take(&mut rig.lines);
        lines.sort();
        assert_eq!(lines, ["3", "4", "hal"], "the rotated file is read to its end, and closed");
        if restarts {
            rig.restart();
        }
        assert!(rig.poll().is_empty(), "{restarts}: it is found under its new name");
        rig.append("a-1.log", "5\n");
        assert_eq!(rig.poll(), ["5"], "{restarts}: and what is written to it is new");
    }
}

#[test]
fn a_file_that_moved_to_a_wanted_name_while_nobody_looked_is_followed_there() {
    let mut rig = Rig::new("a*.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), ["1"]);
    rig.restart();
    rig.rename("a.log", "a-1.log");
    rig.append("a.log", "2\n");
    assert_eq!(rig.poll(), ["2"]);
    rig.now = rig.now + Duration::from_secs(60);
    assert!(rig.poll().is_empty() && !rig.follower.draining());
    rig.append("a-1.log", "3\n");
    assert_eq!(rig.poll(), ["3"]);
}

//! Size and free space of file systems: the mounts of `/proc/1/mountinfo` (or our own, where that can't be read), and
//! statvfs(2) of each, asked for by [`StatThreads`] so that a dead mount holds nothing up.
//!
//! A mount that does not answer, or answers with an error, has `node_filesystem_device_error` 1 and no sizes, with the
//! reason in the label `device_error`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::prelude::*;
use crate::limits;
use crate::signals::system::statvfs::{Answer, Space, StatThreads};

const ERROR: Family = Family::gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
);
const READONLY: Family = Family::gauge("node_filesystem_readonly", "Filesystem read-only status.");
const MOUNT: Family = Family::gauge("node_filesystem_mount_info", "Filesystem mount information.");
const PURGEABLE: Family = Family::gauge(
    "node_filesystem_purgeable_bytes",
    "Filesystem space available including purgeable space (MacOS specific).",
);
/// Takes one number out of an answer.
type Part = fn(&Space) -> f64;
/// What is shown of an answer.
const SIZES: [(Family, Part); 5] = [
    (Family::gauge("node_filesystem_size_bytes", "Filesystem size in bytes."), |space| space.size),
    (Family::gauge("node_filesystem_free_bytes", "Filesystem free space in bytes."), |space| space.free),
    (Family::gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes."), |space| {
        space.available
    }),
    (Family::gauge("node_filesystem_files", "Filesystem total file nodes."), |space| space.files),
    (Family::gauge("node_filesystem_files_free", "Filesystem total free file nodes."), |space| space.files_free),
];
/// How long the first round is waited for, so that the first batch is complete on a healthy host; later rounds get less.
const FIRST_PATIENCE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_millis(2);

pub(crate) struct Filesystem {
    mountinfo: [Reader; 2],
    rootfs: PathBuf,
    mount_points_exclude: Answers,
    fs_types_exclude: Answers,
    every: Duration,
    due: Timestamp,
    mounts: Vec<Mount>,
    threads: StatThreads,
}

/// One mounted file system.
#[derive(Debug, PartialEq)]
struct Mount {
    device: String,
    /// As the host sees it.
    point: String,
    fstype: String,
    major: String,
    minor: String,
    readonly: bool,
    /// As we reach it.
    path: PathBuf,
}

impl Filesystem {
    pub(crate) fn new(checked: &Checked) -> Filesystem {
        Filesystem {
            mountinfo: ["1/mountinfo", "self/mountinfo"].map(|path| Reader::new(checked.proc(path))),
            rootfs: checked.root(""),
            mount_points_exclude: Answers::new(checked.mount_points_exclude.as_ref()),
            fs_types_exclude: Answers::new(checked.fs_types_exclude.as_ref()),
            every: checked.settings.slow_interval,
            due: Timestamp::MIN,
            mounts: Vec::new(),
            threads: StatThreads::new(checked.settings.mount_timeout),
        }
    }

    fn list(&mut self) -> Result<(), Failure> {
        let [first, own] = &mut self.mountinfo;
        // Another user's process 1 can't always be read.
        let data = match first.read() {
            Ok(data) => data,
            Err(_) => own.read()?,
        };
        let points = &mut self.mount_points_exclude;
        let types = &mut self.fs_types_exclude;
        self.mounts = parse(&text(data), &self.rootfs)?;
        self.mounts.retain(|m| !points.is_match(m.point.as_bytes()) && !types.is_match(m.fstype.as_bytes()));
        self.mounts.truncate(limits::MOUNTS);
        Ok(())
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let patience = if self.due == Timestamp::MIN { FIRST_PATIENCE } else { PATIENCE };
        // The clock may have been set back.
        let is_due = now >= self.due || now + self.every < self.due;
        if is_due && self.threads.is_idle() {
            self.due = now + self.every;
            self.list()?;
            self.threads.ask(self.mounts.iter().map(|mount| mount.path.clone()).collect(), now);
            self.threads.wait(now, patience);
        }
        self.threads.poll(now);
        for mount in &self.mounts {
            if let Some(answer) = self.threads.answer(&mount.path) {
                show(mount, answer, sink);
            }
        }
        Ok(())
    }

    fn is_stuck(&self) -> bool {
        self.threads.stuck() > 0
    }
}

fn show(mount: &Mount, answer: &Answer, sink: &mut Sink) {
    let error = answer.as_ref().err().copied().unwrap_or("");
    let labels = [
        ("device", mount.device.as_str()),
        ("device_error", error),
        ("fstype", &mount.fstype),
        ("mountpoint", &mount.point),
    ];
    sink.put(&ERROR, &labels, f64::from(answer.is_err()));
    sink.put(&READONLY, &labels, f64::from(mount.readonly));
    if let Ok(space) = answer {
        for (family, value) in &SIZES {
            sink.put(family, &labels, value(space));
        }
        sink.put(&PURGEABLE, &labels, 0.0);
        let labels = [labels[0], ("major", &mount.major), ("minor", &mount.minor), labels[3]];
        sink.put(&MOUNT, &labels, 1.0);
    }
}

/// proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/sda1 rw,errors=continue`.
fn parse(mountinfo: &str, rootfs: &Path) -> Result<Vec<Mount>, Failure> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let mount = one(line, rootfs).ok_or(Failure::malformed("a line of mountinfo"))?;
        let known = |m: &Mount| m.point == mount.point && m.device == mount.device && m.fstype == mount.fstype;
        if !mounts.iter().any(known) {
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

fn one(line: &str, rootfs: &Path) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (major, minor) = left.next()?.split_once(':')?;
    let point = unescape(left.nth(1)?);
    let options = left.next()?;
    let mut right = right.split(' ');
    let (fstype, device) = (right.next()?, right.next()?);
    let mut all = options.split(',').chain(right.next().unwrap_or("").split(','));
    let point = match Path::new(&point).strip_prefix(rootfs) {
        Ok(inner) => format!("/{}", inner.display()),
        Err(_) => point,
    };
    Some(Mount {
        device: unescape(device),
        path: rootfs.join(point.trim_start_matches('/')),
        point,
        fstype: fstype.to_owned(),
        major: major.to_owned(),
        minor: minor.to_owned(),
        readonly: all.any(|option| option == "ro"),
    })
}

/// The kernel writes space, tab, line end and backslash as `\` and three octal digits.
fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.filter(u8::is_ascii).map_or('\\', char::from));
        rest = &rest[at + if code.is_some_and(|code| code.is_ascii()) { 4 } else { 1 }..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_named_as_the_host_sees_it() {
        let check = |line: &str, rootfs: &str, point: &str, path: &str, readonly: bool| {
            let mounts = parse(line, Path::new(rootfs)).unwrap();
            let seen = (mounts[0].point.as_str(), mounts[0].path.to_str().unwrap(), mounts[0].readonly);
            assert_eq!(seen, (point, path, readonly));
        };
        check("29 1 259:2 / / rw shared:1 - ext4 /dev/dm-2 rw", "/", "/", "/", false);
        check("29 1 259:2 / /a\\040b ro - ext4 /dev/dm-2 rw", "/", "/a b", "/a b", true);
        check("29 1 259:2 / /host/var rw - ext4 /dev/dm-2 ro", "/host", "/var", "/host/var", true);
        check("29 1 259:2 / /host rw - ext4 /dev/dm-2 rw,errors=remount-ro", "/host", "/", "/host/", false);
        check("29 1 259:2 / /x\\zz rw - ext4 d", "/", "/x\\zz", "/x\\zz", false);
    }

    #[test]
    fn the_same_mount_is_listed_once_and_nonsense_is_refused() {
        let line = "29 1 259:2 / /a rw - ext4 /dev/a rw\n";
        assert_eq!(parse(&line.repeat(2), Path::new("/")).unwrap().len(), 1);
        assert!(parse("29 1 259:2 / /a rw ext4\n", Path::new("/")).is_err());
    }

    #[test]
    fn an_error_is_told_with_its_reason_and_without_sizes() {
        let mount = one("29 1 259:2 / /a rw - nfs h:/a rw", Path::new("/")).unwrap();
        let lines = lines_of(|sink| show(&mount, &Err("mountpoint timeout"), sink));
        let labels = r#"{device="h:/a", device_error="mountpoint timeout", fstype="nfs", mountpoint="/a"}"#;
        let expected =
            [format!("node_filesystem_device_error{labels} 1"), format!("node_filesystem_readonly{labels} 0")];
        assert_eq!(lines, expected);
    }
}

//! Software RAID: `/proc/mdstat`, and the counts that sysfs has for each array.

use std::path::PathBuf;

use super::prelude::*;

const DISKS: Family = Family::gauge("node_md_disks", "Number of active/failed/spare disks of device.");
const REQUIRED: Family = Family::gauge("node_md_disks_required", "Total number of disks of device.");
const BLOCKS: Family = Family::gauge("node_md_blocks", "Total number of blocks on device.");
const SYNCED: Family = Family::gauge("node_md_blocks_synced", "Number of blocks synced on device.");
const STATE: Family = Family::gauge("node_md_state", "Indicates the state of md-device.");
const RAID_DISKS: Family = Family::gauge("node_md_raid_disks", "Number of raid disks on device.");
const DEGRADED: Family = Family::gauge("node_md_degraded", "Number of degraded disks on device.");
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

pub(crate) struct Mdadm {
    mdstat: Reader,
    block: PathBuf,
    small: Small,
}

impl Mdadm {
    pub(crate) fn new(checked: &Checked) -> Mdadm {
        let mdstat = Reader::new(checked.proc("mdstat"));
        Mdadm { mdstat, block: checked.sys("block"), small: Small::default() }
    }
}

impl Collector for Mdadm {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        parse(&text(self.mdstat.read()?), sink)?;
        for name in names(&self.block)?.iter().filter(|name| name.starts_with("md")) {
            let path = self.block.join(name).join("md");
            let Some(disks) = self.small.number(&path.join("raid_disks")) else { continue };
            sink.put(&RAID_DISKS, &[("device", name)], disks);
            // Levels without redundancy have no such count.
            let degraded = self.small.number(&path.join("degraded")).unwrap_or_default();
            sink.put(&DEGRADED, &[("device", name)], degraded);
        }
        Ok(())
    }
}

/// An array's line (`md0 : active raid1 sdb1[1] sda1[0](F)`) and the indented lines after it.
fn parse(mdstat: &str, sink: &mut Sink) -> Result<(), Failure> {
    let mut all = mdstat.lines().peekable();
    while let Some(line) = all.next() {
        let is_array = !line.starts_with([' ', '\t'])
            && !line.is_empty()
            && !line.starts_with("Personalities")
            && !line.starts_with("unused");
        if !is_array {
            continue;
        }
        let mut about = Vec::new();
        while let Some(more) = all.next_if(|more| more.starts_with([' ', '\t'])) {
            about.push(more);
        }
        let array = Array::of(line, &about).ok_or(Failure::malformed("an array in /proc/mdstat"))?;
        array.show(sink);
    }
    Ok(())
}

struct Array<'a> {
    device: &'a str,
    state: &'static str,
    active: f64,
    failed: usize,
    spare: usize,
    required: f64,
    blocks: f64,
    synced: f64,
}

impl Array<'_> {
    fn of<'a>(line: &'a str, about: &[&str]) -> Option<Array<'a>> {
        let mut words = line.split_ascii_whitespace();
        let device = words.next()?;
        let word = words.nth(1)?;
        let status = about.first()?;
        let blocks: f64 = status.split_ascii_whitespace().next()?.parse().ok()?;
        let (active, required) = if line.contains("raid0") || line.contains("linear") {
            let disks = line.matches('[').count() as f64;
            (disks, disks)
        } else if word == "inactive" {
            (0.0, 0.0)
        } else {
            disks(status)?
        };
        let sync = about.iter().skip(1).find(|line| !line.contains("bitmap"));
        let (state, synced) = match sync.and_then(|line| progress(line)) {
            Some((state, synced)) => (state, synced),
            None => (if word == "inactive" { "inactive" } else { "active" }, Some(blocks)),
        };
        Some(Array {
            device,
            state,
            active,
            failed: line.matches("(F)").count(),
            spare: line.matches("(S)").count(),
            required,
            blocks,
            synced: synced?,
        })
    }

    fn show(&self, sink: &mut Sink) {
        let device = ("device", self.device);
        let counts = [("active", self.active), ("failed", self.failed as f64), ("spare", self.spare as f64)];
        for (state, count) in counts {
            sink.put(&DISKS, &[device, ("state", state)], count);
        }
        sink.put(&REQUIRED, &[device], self.required);
        sink.put(&BLOCKS, &[device], self.blocks);
        sink.put(&SYNCED, &[device], self.synced);
        for state in STATES {
            sink.put(&STATE, &[device, ("state", state)], f64::from(state == self.state));
        }
    }
}

/// Active and required disks from `... [required/active] [UU_]`.
fn disks(status: &str) -> Option<(f64, f64)> {
    status.split('[').filter_map(|part| part.split_once(']')).find_map(|(inside, _)| {
        let (required, active) = inside.split_once('/')?;
        Some((active.parse().ok()?, required.parse().ok()?))
    })
}

/// What an array is doing, and how many blocks it has done: `recovery = 8.5% (16775552/195310144)`.
fn progress(line: &str) -> Option<(&'static str, Option<f64>)> {
    let words = [("recovery", "recovering"), ("check", "check"), ("resync", "resync")];
    let (_, state) = words.iter().find(|(word, _)| line.contains(word))?;
    if line.contains("PENDING") || line.contains("DELAYED") {
        return Some((state, Some(0.0)));
    }
    let done = line.split_once('(').and_then(|(_, rest)| rest.split_once('/')).map(|(done, _)| done);
    Some((state, done.and_then(|done| done.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovering_array_tells_its_progress() {
        let mdstat = "Personalities : [raid1]\nmd6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]\n      \
            195310144 blocks [2/1] [U_]\n      [=>...]  recovery =  8.5% (16775552/195310144) finish=17.0min\n\n\
            unused devices: <none>\n";
        let lines = lines_of(|sink| parse(mdstat, sink).unwrap());
        assert_eq!(lines[0], r#"node_md_disks{device="md6", state="active"} 1"#);
        assert_eq!(lines[1], r#"node_md_disks{device="md6", state="failed"} 1"#);
        assert_eq!(lines[5], r#"node_md_blocks_synced{device="md6"} 16775552"#);
        assert_eq!(lines[8], r#"node_md_state{device="md6", state="recovering"} 1"#);
        lines_of(|sink| assert!(parse("md0 : active raid1 sda[0]\n", sink).is_err()));
    }
}

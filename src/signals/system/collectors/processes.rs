//! Processes by state, threads, and the kernel's limits of both, from `/proc/<pid>/stat`. Off by default: it reads a file
//! for each process.

use std::path::PathBuf;

use super::prelude::*;

const THREADS: Family = Family::gauge("node_processes_threads", "Allocated threads in system");
const MAX_THREADS: Family = Family::gauge("node_processes_max_threads", "Limit of threads in the system");
const PIDS: Family = Family::gauge("node_processes_pids", "Number of PIDs");
const MAX_PIDS: Family = Family::gauge("node_processes_max_processes", "Number of max PIDs limit");
const STATE: Family = Family::gauge("node_processes_state", "Number of processes in each state.");

pub(crate) struct Processes {
    proc: PathBuf,
    max_threads: Reader,
    max_pids: Reader,
    small: Small,
}

impl Processes {
    pub(crate) fn new(checked: &Checked) -> Processes {
        Processes {
            proc: checked.proc(""),
            max_threads: Reader::new(checked.proc("sys/kernel/threads-max")),
            max_pids: Reader::new(checked.proc("sys/kernel/pid_max")),
            small: Small::default(),
        }
    }
}

impl Collector for Processes {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let (mut pids, mut threads, mut states) = (0_u32, 0.0, [0_u32; 128]);
        let entries = self.proc.read_dir().map_err(|source| Failure::read(&self.proc, source))?;
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
                continue;
            }
            // A process may end between the listing and the reading.
            let stat = self.small.bytes(&entry.path().join("stat"));
            if let Some((state, count)) = stat.and_then(parse) {
                pids += 1;
                threads += count;
                states[usize::from(state)] += 1;
            }
        }
        sink.put(&THREADS, &[], threads);
        for (family, file) in [(&MAX_THREADS, &mut self.max_threads), (&MAX_PIDS, &mut self.max_pids)] {
            let value = number(trim(file.read()?)).ok_or(Failure::malformed("a limit of the kernel"))?;
            sink.put(family, &[], value);
        }
        sink.put(&PIDS, &[], f64::from(pids));
        for (state, count) in states.iter().enumerate().filter(|(_, count)| **count > 0) {
            let state = char::from(state as u8).to_string();
            sink.put(&STATE, &[("state", &state)], f64::from(*count));
        }
        Ok(())
    }
}

/// State and number of threads; the name before them is in parentheses and may hold anything.
fn parse(stat: &[u8]) -> Option<(u8, f64)> {
    let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
    let mut parts = fields(rest);
    let state = *parts.next()?.first()?;
    let threads = number(parts.nth(16)?)?;
    state.is_ascii_alphabetic().then_some((state, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = b"17 (a) b (c) S 2 0 0 0 -1 2129984 0 0 0 0 14 0 0 0 20 0 7 0 24 0 0";
        assert_eq!(parse(stat), Some((b'S', 7.0)));
        assert_eq!(parse(b"17 (a"), None);
    }
}

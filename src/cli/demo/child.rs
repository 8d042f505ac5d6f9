//! The demo's workplace and the daemon that runs in it: both are gone when the demo is.

use std::fs::{DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::cli::failure::Failure;

/// How long a daemon may take to end by itself.
const ENDING: Duration = Duration::from_secs(5);
/// Lines of its log that are shown when it ends too early.
const SHOWN: usize = 12;

/// A folder of our own, removed when this is dropped.
pub(super) struct Workplace(PathBuf);

impl Workplace {
    /// A new folder that nobody else can look into.
    pub(super) fn create() -> Result<Workplace, Failure> {
        let base = std::env::temp_dir();
        let mut last = None;
        for number in 0..100 {
            let path = base.join(format!("brownout-demo-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Workplace(path)),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(String::new, |error| error.to_string());
        Err(Failure::Said(format!("cannot make a folder in {}: {why}", base.display())))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::Said(format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // Nothing can be done about what cannot be removed.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// An address on this host that was free a moment ago.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    let found = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    found.map_err(|error| Failure::Said(format!("cannot listen on 127.0.0.1: {error}")))
}

/// A running daemon; killed when this is dropped.
pub(super) struct DaemonProcess {
    child: Child,
    log: PathBuf,
}

impl DaemonProcess {
    /// Starts `brownout run` of this very program in the workplace.
    pub(super) fn start(place: &Workplace, config: &Path, listen: SocketAddr) -> Result<DaemonProcess, Failure> {
        let failed = |error: std::io::Error| Failure::Said(format!("cannot start the daemon: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let log = place.path("daemon.log");
        let to = File::create(&log).map_err(failed)?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .arg("--data-dir")
            .arg(place.path("data"))
            .arg("--listen")
            .arg(listen.to_string())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::from(to.try_clone().map_err(failed)?))
            .stderr(Stdio::from(to))
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(DaemonProcess { child, log })
    }

    /// Fails when the daemon is not running any more, with what it said last.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("the daemon ended too early ({status})"))),
            Err(error) => Err(Failure::Said(format!("cannot look after the daemon: {error}"))),
        }
    }

    /// A failure with the daemon's last words.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n  ");
        Failure::Said(format!("{what}; its log ends with\n  {last}"))
    }

    /// Asks it to end, and ends it when it does not.
    pub(super) async fn end(mut self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // One that has just ended by itself is gone: all the better.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(ENDING, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workplace_is_gone_when_the_demo_is() {
        let place = Workplace::create().expect("a folder");
        let file = place.write("sub.yaml", "x").expect("written");
        let other = Workplace::create().expect("another folder");
        assert_ne!(place.path(""), other.path(""));
        drop(place);
        assert!(!file.exists() && file.parent().is_some_and(|folder| !folder.exists()));
    }
}

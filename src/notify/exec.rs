//! A program of one's own: a fixed list of arguments, no shell; the webhook's JSON on its standard input.
//!
//! It gets an environment of its own and runs in a process group of its own, which is killed when its time is up, or the
//! delivery is given up. What it says is read up to a limit and repeated in part.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::outcome::Outcome;
use super::render;
use super::settings::ExecSettings;
use crate::alerts::Notification;
use crate::limits;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `EX_TEMPFAIL` of sysexits.h: try again.
const TEMPFAIL: i32 = 75;

/// Kills the group of a program that has not ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It has ended meanwhile when this fails.
            kill_process_group(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Runs the program once.
pub(super) async fn run(settings: &ExecSettings, notification: &Notification) -> Outcome {
    let most = settings.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(limits::DELIVERY_TIME);
    let most = most.min(limits::DELIVERY_TIME);
    match tokio::time::timeout(most, attempt(settings, notification)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::retry(format!("killed after {most:?}")),
    }
}

async fn attempt(settings: &ExecSettings, notification: &Notification) -> Outcome {
    let Some((program, arguments)) = settings.command.split_first() else {
        return Outcome::refused("there is no program to start");
    };
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("BROWNOUT_ID", render::one_line(&notification.id.0))
        .env("BROWNOUT_STATUS", notification.status.as_str())
        .env("BROWNOUT_RECEIVER", render::one_line(&notification.receiver))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Outcome::retry(format!("start {program}: {error}")),
    };
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = Group(pid);
    let body = render::webhook_json(notification);
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it is told.
            stdin.write_all(&body).await.unwrap_or_default();
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let talk = async { tokio::join!(write, said(out), said(err)) };
    tokio::pin!(talk);
    let mut texts = None;
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            said = &mut talk, if texts.is_none() => texts = Some(said),
        }
    };
    // Children that it left behind hold its pipes open until they are killed with the group.
    drop(group);
    let ((), out, err) = match texts {
        Some(texts) => texts,
        None => talk.await,
    };
    match ended {
        Ok(status) => judge(status, if err.trim().is_empty() { &out } else { &err }),
        Err(error) => Outcome::retry(format!("wait for {program}: {error}")),
    }
}

/// What a program says, up to a limit; the rest is read and dropped, so that it is not held up.
async fn said(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4_096]);
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = limits::EXEC_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn judge(status: ExitStatus, said: &str) -> Outcome {
    let said = render::shortened(&render::one_line(said), limits::REPLY_CHARS);
    let reason = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status.code() {
        Some(0) => Outcome::Accepted,
        Some(code @ 64..=78) if code != TEMPFAIL => Outcome::refused(reason),
        _ => Outcome::retry(reason),
    }
}

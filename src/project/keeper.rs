//! The task that keeps the projections as the switches are, and runs the commands after a change.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Projections;
use super::render::content;
use super::write::bring;
use crate::limits;
use crate::serve::Switchboard;
use crate::telemetry::{Metric, Telemetry};

/// How often files are looked at when nothing changed: somebody else may have.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Changes that come within this time lead to one run of a command.
const TOGETHER: Duration = Duration::from_millis(100);

/// Runs one command, and ends when nobody can want it any more.
struct Reloader {
    wanted: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

/// Keeps the files until nobody gives switches any more; the last values are in the files then, and the commands that
/// follow have run. Costs nothing while there are none.
pub async fn keep(
    mut settings: watch::Receiver<Arc<Projections>>,
    mut boards: watch::Receiver<Arc<Switchboard>>,
    telemetry: Telemetry,
) {
    let mut reloaders: BTreeMap<Vec<String>, Reloader> = BTreeMap::new();
    let mut failing: BTreeMap<std::path::PathBuf, String> = BTreeMap::new();
    loop {
        let wanted = Arc::clone(&settings.borrow_and_update());
        let projections = &wanted.files;
        let board = Arc::clone(&boards.borrow_and_update());
        reloaders.retain(|command, _| projections.iter().any(|projection| projection.reload == *command));
        for projection in projections.iter() {
            let path = projection.path.display().to_string();
            let (own, made) = (projection.clone(), content(&projection.format, &board));
            let brought = tokio::task::spawn_blocking(move || bring(&own, &made)).await;
            let brought = brought.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            match brought {
                Ok(changed) => {
                    failing.remove(&projection.path);
                    if changed {
                        telemetry.count(Metric::ProjectionsWritten, &[("path", &path)]);
                    }
                    if changed && !projection.reload.is_empty() {
                        let make = || reloader(projection.reload.clone(), path.clone(), telemetry.clone());
                        // A full queue means that it will run again in any case.
                        reloaders.entry(projection.reload.clone()).or_insert_with(make).wanted.try_send(()).ok();
                    }
                }
                Err(error) => {
                    telemetry.count(Metric::ProjectionsFailed, &[("path", &path)]);
                    let text = error.to_string();
                    if failing.insert(projection.path.clone(), text.clone()).as_ref() != Some(&text) {
                        tracing::error!(path, error = text, "a projection cannot be written; it is tried again");
                    }
                }
            }
        }
        let look_again = async {
            if projections.is_empty() { std::future::pending().await } else { tokio::time::sleep(LOOK_AGAIN).await }
        };
        tokio::select! {
            // Before an end: what has not been seen of the switches.
            biased;
            changed = boards.changed() => if changed.is_err() { break },
            changed = settings.changed() => if changed.is_err() { break },
            () = look_again => {}
        }
    }
    for Reloader { wanted, task } in reloaders.into_values() {
        drop(wanted);
        // One that panicked has nothing more to do.
        drop(task.await);
    }
}

/// Runs a command each time it is wanted: once for wishes that come together, and never twice at one time.
fn reloader(command: Vec<String>, path: String, telemetry: Telemetry) -> Reloader {
    let (wanted, mut asked) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        while asked.recv().await.is_some() {
            tokio::time::sleep(TOGETHER).await;
            if let Err(error) = run(&command).await {
                telemetry.count(Metric::ProjectionsFailed, &[("path", &path)]);
                tracing::error!(command = command.join(" "), error, "the reload command failed");
            }
        }
    });
    Reloader { wanted, task }
}

/// Runs one command to its end, or to its deadline.
async fn run(command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn().map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    let ending = async {
        if let Some(mut stderr) = child.stderr.take() {
            // The beginning is kept, the rest is read away so that the command does not wait for us.
            (&mut stderr).take(limits::WEBHOOK_REPLY_BYTES as u64).read_to_end(&mut said).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(limits::RELOAD_TIME, ending).await {
        Err(_) => Err(format!("it took longer than {} s and was ended", limits::RELOAD_TIME.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let said = String::from_utf8_lossy(&said);
            let last: String =
                said.trim().lines().last().unwrap_or_default().chars().take(limits::REPLY_CHARS).collect();
            Err(format!("{status}: {last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn at_the_end_the_last_values_are_written_and_their_command_has_run() {
        use crate::project::{Format, Projection};
        use crate::serve::sample;
        let folder = std::env::temp_dir().join(format!("brownout-keeper-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (path, ran) = (folder.join("env"), folder.join("ran"));
        let reload = vec!["cp".to_owned(), path.display().to_string(), ran.display().to_string()];
        let projection = Projection { path: path.clone(), format: Format::Env, mode: 0o644, owner: None, reload };
        let wanted = Projections { files: vec![projection], ..Projections::default() };
        let (settings, settings_out) = watch::channel(Arc::new(wanted));
        let (boards, boards_out) = watch::channel(Arc::new(Switchboard::default()));
        let kept = keep(settings_out, boards_out, Telemetry::new());
        // All that before the task has looked at anything, and both at one time.
        boards.send_replace(Arc::new(sample()));
        drop((settings, boards));
        kept.await;
        let written = std::fs::read_to_string(&path).expect("the file");
        assert!(written.contains("BROWNOUT_RECS=cached"), "{written}");
        assert_eq!(std::fs::read_to_string(&ran).expect("the command ran"), written);
        std::fs::remove_dir_all(folder).expect("gone");
    }

    #[tokio::test]
    async fn a_command_is_run_without_a_shell_and_says_why_it_failed() {
        assert_eq!(run(&words("true $(exit 1)")).await, Ok(()));
        assert!(run(&words("false")).await.expect_err("fails").contains("exit status: 1"));
        assert!(run(&words("/nowhere/x")).await.is_err());
        let said = run(&words("ls /nowhere-at-all")).await.expect_err("fails");
        assert!(said.contains("nowhere-at-all"), "{said}");
    }
}

//! Programs: what they get, what their end means, and that nothing of them is left.

use std::time::Duration;

use super::super::*;
use super::{notification, now};

async fn run(command: &[&str], timeout: Option<Duration>) -> Outcome {
    let command = command.iter().map(|part| (*part).to_owned()).collect();
    let kind = Kind::Exec(Box::new(ExecSettings { command, timeout, max_alerts: 1 }));
    let integration = Integration { name: "exec[0]".to_owned(), send_resolved: true, kind };
    deliver(&Prepared::new(integration, None).unwrap(), &notification(), now()).await
}

#[tokio::test]
async fn a_program_gets_the_message_and_an_environment_of_its_own() {
    let script = concat!(
        "body=$(cat); case \"$body\" in *'\"version\":\"4\"'*'\"truncatedAlerts\":2'*) ;; *) echo \"$body\"; exit 64;; esac; ",
        "[ \"$BROWNOUT_ID $BROWNOUT_STATUS $BROWNOUT_RECEIVER\" = 'd-7/3 firing team' ] && [ -z \"$HOME$CARGO\" ] || ",
        "{ env; exit 65; }",
    );
    assert_eq!(run(&["/bin/sh", "-c", script], None).await, Outcome::Accepted);
}

#[tokio::test]
async fn the_exit_status_decides() {
    let check = async |script: &str, expected: &str| {
        let outcome = format!("{:?}", run(&["/bin/sh", "-c", script], None).await);
        assert!(outcome.starts_with(expected), "{script}: {outcome}");
    };
    check("exit 0", "Accepted").await;
    check("echo 'no \u{1b}[31m' >&2; exit 65", "Refused { reason: \"exit status: 65: no \u{fffd}[31m\"").await;
    check("exit 75", "Retry { reason: \"exit status: 75\"").await;
    check("exit 1", "Retry").await;
    check("kill -9 $$", "Retry { reason: \"signal: 9").await;
    // It says a lot, and does not read.
    check("head -c 1000000 /dev/zero | tr '\\0' x; exit 66", "Refused { reason: \"exit status: 66: xxx").await;
    let missing = format!("{:?}", run(&["/nonexistent/program"], None).await);
    assert!(missing.starts_with("Retry { reason: \"start /nonexistent/program"), "{missing}");
}

#[tokio::test]
async fn what_hangs_is_killed_with_its_children() {
    let directory = std::env::temp_dir().join(format!("brownout-exec-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let pids = directory.join("pids");
    let script = format!("sleep 300 & echo $! >{0}; echo $$ >>{0}; wait", pids.display());
    let outcome = run(&["/bin/sh", "-c", &script], Some(Duration::from_millis(500))).await;
    assert_eq!(format!("{outcome:?}"), "Retry { reason: \"killed after 500ms\", code: None, after: None }");
    // One that leaves a child behind which holds its output does not hang.
    assert_eq!(run(&["/bin/sh", "-c", "sleep 300 & exit 0"], None).await, Outcome::Accepted);
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = state.is_empty() || state.contains(") Z ") || !state.contains("(sleep)") && !state.contains("(sh)");
        assert!(gone, "{state}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

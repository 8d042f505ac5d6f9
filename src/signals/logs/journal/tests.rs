use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::signals::logs::desk::Output;
use crate::signals::logs::{Kind, MetricSettings};
use crate::telemetry::Telemetry;
use crate::time::Clock;

/// A program that says what a journalctl would say.
fn program(name: &str, script: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("brownout-journal-{}-{name}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    path
}

fn start(journalctl: PathBuf, restored: Checkpoint) -> (mpsc::Receiver<Output>, Telemetry) {
    let mut settings = JobSettings::named("j", "h");
    settings.format = Format::Journald;
    settings.journald.journalctl = journalctl;
    settings.journald.units = vec!["ssh.service".into()];
    settings.metrics = vec![MetricSettings {
        pattern: Some(r"Failed password for (?P<user>\S+)".into()),
        labels: [("unit".to_owned(), "{{_SYSTEMD_UNIT}}".to_owned()), ("user".to_owned(), "{{user}}".to_owned())]
            .into(),
        ..MetricSettings::named(Kind::Counter, "failed_total")
    }];
    let (out, outputs) = mpsc::channel(16);
    let telemetry = Telemetry::new();
    let job = Job { settings: Arc::new(settings), clock: Clock::start(), telemetry: telemetry.clone(), out };
    tokio::spawn(run(job, restored, std::future::pending()));
    (outputs, telemetry)
}

const ENTRY: &str =
    r#"{"__CURSOR":"c1","_SYSTEMD_UNIT":"ssh.service","MESSAGE":"Failed password for root from 1.2.3.4"}"#;

#[tokio::test]
async fn entries_are_counted_and_the_cursor_is_kept() {
    // It repeats its arguments as a field, so that they can be seen.
    let binary = r#"{"__CURSOR":"c2","_SYSTEMD_UNIT":"x","MESSAGE":[70,97,105,108,101,100,32,112,97,115,115,119,111,114,100,32,102,111,114,32,255]}"#;
    let script = format!(
        "echo '{ENTRY}'\necho '{binary}'\nprintf '{{\"__CURSOR\":\"c3 %s\",\"MESSAGE\":\"x\"}}\\n' \"$*\"\nexec sleep 60"
    );
    let (mut outputs, _) = start(program("entries", &script), Checkpoint::default());
    let checkpoint = loop {
        let output = outputs.recv().await.expect("an output");
        if let Some(checkpoint) =
            output.checkpoint.filter(|checkpoint| checkpoint.cursor.as_deref().is_some_and(|c| c.starts_with("c3")))
        {
            break checkpoint;
        }
    };
    let arguments = "c3 --output=json --follow --no-pager --all --lines=0 --unit=ssh.service";
    assert_eq!(checkpoint.cursor.as_deref(), Some(arguments));
    assert_eq!(checkpoint.metrics[0].series.len(), 2);
    let script = format!("test \"$6\" = --after-cursor=c9 && echo '{ENTRY}'\nexec sleep 60");
    let restored = Checkpoint { cursor: Some("c9".into()), ..checkpoint };
    let (mut outputs, telemetry) = start(program("again", &script), restored);
    loop {
        let output = outputs.recv().await.expect("an output");
        if output.batch.samples.iter().any(|(labels, value)| labels.value("user") == "root" && *value == 2.0) {
            break;
        }
    }
    assert_eq!(telemetry.get(Metric::LogLinesRead, &[("log", "j")]), Some(1.0));
}

#[tokio::test]
async fn a_missing_program_is_tried_again_while_the_series_go_on() {
    let (mut outputs, _) = start("/nonexistent/journalctl".into(), Checkpoint::default());
    for _ in 0..2 {
        assert!(outputs.recv().await.is_some());
    }
}

#[tokio::test]
async fn an_endless_entry_is_cut_and_the_next_one_counts() {
    let script = format!("head -c 1000000 /dev/zero | tr '\\0' x\necho\necho '{ENTRY}'\nexec sleep 60");
    let (mut outputs, telemetry) = start(program("endless", &script), Checkpoint::default());
    loop {
        let output = outputs.recv().await.expect("an output");
        if output.batch.samples.iter().any(|(_, value)| *value == 1.0) {
            break;
        }
    }
    assert_eq!(telemetry.get(Metric::LogLinesCut, &[("log", "j")]), Some(1.0));
}

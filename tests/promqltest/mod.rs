//! Runs Prometheus' own PromQL tests (`promql/promqltest/testdata/*.test`), as its runner does.
//!
//! An instant evaluation is repeated with `@` at other times, and each of them as the middle of a range query. A case
//! that cannot be read counts as failed.

mod compare;
mod run;
mod script;
mod storage;

use std::path::{Path, PathBuf};

/// Passed and failed cases of one file.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// What went wrong, line by line.
    report: Vec<String>,
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the conformance data is found by an environment variable")]
fn promql_conformance() {
    let Ok(folder) = std::env::var("BROWNOUT_CONFORMANCE") else {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
        return;
    };
    let verbose = std::env::var("BROWNOUT_CONFORMANCE_VERBOSE").is_ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(&folder).join("promqltest"))
        .expect("a folder promqltest")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "test"))
        .collect();
    files.sort();
    let mut total = Tally::default();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a readable test file");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let tally = run_file(&text, &name);
        tally.report.iter().take(if verbose { usize::MAX } else { 5 }).for_each(|line| println!("{line}"));
        println!("{name:32} passed {:5}  failed {:5}", tally.passed, tally.failed);
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    println!("{:32} passed {:5}  failed {:5}", "total", total.passed, total.failed);
    assert!(total.passed > 0, "no case found in {folder}/promqltest");
    assert_eq!(total.failed, 0, "{} cases failed", total.failed);
}

fn run_file(text: &str, name: &str) -> Tally {
    let mut tally = Tally::default();
    let mut storage = storage::Storage::default();
    for command in script::commands(text) {
        let outcome = match &command.kind {
            Ok(script::Kind::Clear) => {
                storage = storage::Storage::default();
                continue;
            }
            Ok(script::Kind::Load(load)) => {
                if let Err(why) = storage.load(load) {
                    tally.report.push(format!("{name}:{}: load: {why}", command.line));
                }
                continue;
            }
            Ok(script::Kind::Eval(eval)) => run::eval(&storage, eval),
            Err(why) => Err(why.clone()),
        };
        match outcome {
            Ok(()) => tally.passed += 1,
            Err(why) => {
                tally.failed += 1;
                tally.report.push(format!("{name}:{}: {}\n    {why}", command.line, command.text));
            }
        }
    }
    tally
}

#[test]
fn the_runner_notices_wrong_answers() {
    let check = |text: &str, passed: usize, failed: usize| {
        let tally = run_file(text, "inline");
        assert_eq!((tally.passed, tally.failed), (passed, failed), "{text}");
    };
    let load = "load 10s\n  x{a=\"1\"} 0+1x10\n  x{a=\"2\"} 0+2x10\n\n";
    let with = |case: &str| format!("{load}{case}\n");
    check(&with("eval instant at 50s sum(x)\n  {} 15"), 1, 0);
    check(&with("eval instant at 50s sum(x)\n  {} 16"), 0, 1);
    check(&with("eval instant at 50s x\n  x{a=\"1\"} 5"), 0, 1);
    check(&with("eval instant at 50s sum(x)\n  expect warn\n  {} 15"), 0, 1);
    check(&with("eval instant at 50s sum(x)\n  expect no_info\n  {} 15"), 1, 0);
    check(&with("eval instant at 50s sort_desc(x)\n  expect ordered\n  x{a=\"1\"} 5\n  x{a=\"2\"} 10"), 0, 1);
    check(&with("eval range from 0 to 20s step 10s sum(x)\n  {} 0 3 6"), 1, 0);
    check(&with("eval range from 0 to 20s step 10s sum(x)\n  {} 0 3"), 0, 1);
    check(&with("eval instant at 50s x + on() x\n  expect fail"), 1, 0);
    check(&with("eval instant at 50s x + on() x\n  expect fail msg: something else"), 0, 1);
    check(&with("eval instant at 50s sum(x"), 0, 1);
    check(&with("eval instant at 50s \"a\"\n  expect string \"a\""), 1, 0);
}

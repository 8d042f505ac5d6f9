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

/// A folder of the conformance data, or `None` with a word about why not.
#[expect(clippy::disallowed_methods, reason = "the conformance data is found by an environment variable")]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub fn conformance(folder: &str) -> Option<PathBuf> {
    let Ok(root) = std::env::var("BROWNOUT_CONFORMANCE") else {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
        return None;
    };
    let found = Path::new(&root).join(folder);
    if !found.is_dir() {
        println!("skipped: there is no folder {}", found.display());
        return None;
    }
    Some(found)
}

/// The test files of a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    files.sort();
    files
}

#[test]
fn promql_conformance() {
    let Some(folder) = conformance("promqltest") else { return };
    #[expect(clippy::disallowed_methods, reason = "whoever runs it chooses how much is said")]
    let verbose = std::env::var("BROWNOUT_CONFORMANCE_VERBOSE").is_ok();
    let files = files(&folder);
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let tally = match std::fs::read(file) {
            Ok(bytes) => run_file(&String::from_utf8_lossy(&bytes), &name),
            Err(error) => {
                Tally { failed: 1, report: vec![format!("{name}: cannot be read: {error}")], ..Tally::default() }
            }
        };
        tally.report.iter().take(if verbose { usize::MAX } else { 5 }).for_each(|line| println!("{line}"));
        println!("{name:32} passed {:5}  failed {:5}", tally.passed, tally.failed);
        total.passed += tally.passed;
        total.failed += tally.failed;
        lines.extend(tally.report);
    }
    println!("{:32} passed {:5}  failed {:5}  in {} files", "total", total.passed, total.failed, files.len());
    assert!(total.passed + total.failed > 0, "no case found in {}", folder.display());
    let shown = lines.iter().take(if verbose { usize::MAX } else { 50 }).map(String::as_str).collect::<Vec<_>>();
    let more = lines.len() - shown.len();
    let rest = if more > 0 { format!("\nand {more} more: set BROWNOUT_CONFORMANCE_VERBOSE") } else { String::new() };
    let cases = total.passed + total.failed;
    assert_eq!(total.failed, 0, "{} of {cases} cases failed:\n{}{rest}", total.failed, shown.join("\n"));
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
                    tally.failed += 1;
                    tally.report.push(format!("{name}:{}: load: {why}", command.line));
                }
                continue;
            }
            Ok(script::Kind::Eval(eval)) => {
                // A panic is one failed case, not the end of the run.
                let asked = std::panic::AssertUnwindSafe(|| run::eval(&storage, eval));
                std::panic::catch_unwind(asked).unwrap_or_else(|_| Err("the evaluation panicked".to_owned()))
            }
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
    check("load 10s\n  x{ 1 2 3\n\neval instant at 0 vector(1)\n  {} 1\n", 1, 1);
    check(&with("eval instant at 50s \"a\"\n  expect string \"a\""), 1, 0);
}

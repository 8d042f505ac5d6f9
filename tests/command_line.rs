//! The program itself: exit codes, where its words go, and that it ends quietly when nobody reads on.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn brownout(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command.args(arguments).env_remove("BROWNOUT_SERVER").stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn alone_it_says_what_to_type() {
    let said = brownout(&[]);
    assert_eq!(said.status.code(), Some(0));
    assert!(text(&said.stdout).contains("brownout demo"));
    assert_eq!(text(&said.stderr), "");
}

#[test]
fn exit_codes_tell_success_failure_and_misuse() {
    let check = |arguments: &[&str], code: i32, words: &str| {
        let said = brownout(arguments);
        assert_eq!(said.status.code(), Some(code), "{arguments:?}");
        let all = text(&said.stdout) + &text(&said.stderr);
        assert!(all.contains(words), "{arguments:?}: {all}");
        assert_eq!(said.stderr.is_empty(), code == 0, "{arguments:?}: errors go to the error output alone");
    };
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address").to_string();
    check(&["--version"], 0, concat!("brownout ", env!("CARGO_PKG_VERSION")));
    check(&["help", "pin"], 0, "--reason");
    check(&["status", "--server", &nobody], 1, "nothing answers at http://127.0.0.1");
    check(&["query", "--server", &nobody, "sum(up"], 1, "^");
    check(&["query", "--server", &nobody, "up", "--time", "noon"], 1, "is no time");
    check(&["pin", "a", "b"], 2, "--reason");
    check(&["statsu"], 2, "status");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_brownout"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let said = child.wait_with_output().expect("it ends");
    assert_eq!((said.status.code(), text(&said.stderr)), (Some(0), String::new()));
}

#[test]
fn what_goes_to_a_file_or_a_program_has_no_colours() {
    let data = std::env::temp_dir().join(format!("brownout-command-line-{}.om", std::process::id()));
    std::fs::write(&data, "load{host=\"a\"} 1 100\nload{host=\"\u{1b}[31mb\"} 2 100\n# EOF\n").expect("written");
    let path = data.display().to_string();
    for output in ["table", "plot", "json"] {
        let said = brownout(&["query", "load", "--data", &path, "--output", output]);
        assert_eq!(said.status.code(), Some(0), "{output}: {}", text(&said.stderr));
        assert!(!said.stdout.is_empty() && !said.stdout.contains(&0x1b), "{output}: {}", text(&said.stdout));
    }
    std::fs::remove_file(data).expect("removed");
}

#[test]
fn unit_tests_of_the_shipped_rules_pass_and_promtools_have_its_verdicts() {
    let files = |folder: &std::path::Path, ending: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut found: Vec<String> = entries.map(|path| path.display().to_string()).collect();
        found.retain(|path| path.ends_with(ending));
        found.sort();
        found
    };
    let shipped = files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests"), ".yaml");
    let arguments: Vec<&str> = std::iter::once("test").chain(shipped.iter().map(String::as_str)).collect();
    let said = brownout(&arguments);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stdout));
    let Some(folder) = super::promqltest::conformance("promtool") else { return };
    let good = [
        "at-modifier-test.yml",
        "long-period.yml",
        "negative-offset-test.yml",
        "no-test-group-interval.yml",
        "unittest.yml",
    ];
    for file in files(&folder, ".yml") {
        let said = brownout(&["test", &file]);
        let expected = if good.iter().any(|name| file.ends_with(&format!("/{name}"))) { 0 } else { 1 };
        assert_eq!(said.status.code(), Some(expected), "{file}: {}", text(&said.stdout));
    }
}

#[test]
fn a_query_over_a_file_answers_on_the_standard_output_or_says_why_not_on_the_other() {
    let data = std::env::temp_dir().join(format!("brownout-query-{}.om", std::process::id()));
    std::fs::write(&data, "# TYPE a counter\na_total{x=\"1\"} 1e22 100\na_total{x=\"2\"} NaN 100.5\n# EOF\n")
        .expect("written");
    let path = data.display().to_string();
    let ask = |arguments: &[&str]| brownout(&[&["query", "--data", &path, "--output", "json"], arguments].concat());
    let said = ask(&["a_total"]);
    assert_eq!(
        text(&said.stdout),
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[\
         {\"metric\":{\"__name__\":\"a_total\",\"x\":\"1\"},\"value\":[100.500,\"1e+22\"]},\
         {\"metric\":{\"__name__\":\"a_total\",\"x\":\"2\"},\"value\":[100.500,\"NaN\"]}]}}\n"
    );
    assert_eq!((said.status.code(), text(&said.stderr)), (Some(0), String::new()));
    for (arguments, words) in [
        (&["sum(a_total"][..], "^"),
        (&["a_total + on() a_total"], "many-to-many"),
        (&["nope(a_total)"], "^"),
        (&["a_total[5m]", "--start", "0", "--end", "10", "--step", "5"], "^"),
        (&["a_total", "--start", "10", "--end", "0", "--step", "5"], "ends before it starts"),
        (&["a_total", "--start", "0", "--end", "100", "--step", "0"], "no span of time"),
    ] {
        let said = ask(arguments);
        assert_eq!((said.status.code(), text(&said.stdout)), (Some(1), String::new()), "{arguments:?}");
        assert!(text(&said.stderr).contains(words), "{arguments:?}: {}", text(&said.stderr));
    }
    drop(std::fs::remove_file(&data));
}

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
    check(&["query", "--server", &nobody, "up", "--time", "noon"], 2, "is no time");
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

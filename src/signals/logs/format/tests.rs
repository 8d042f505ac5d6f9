use super::*;
use crate::rng::Rng;

fn fields_of(format: &Format, names: &[&str], line: &[u8]) -> Option<Vec<Option<String>>> {
    let mut reader = LineReader::new(format).expect("format");
    let slots: Vec<usize> = names.iter().map(|name| reader.want(name).expect(name)).collect();
    let mut fields = Fields::new(reader.count());
    if !reader.read(line, &mut fields) {
        return None;
    }
    let text = |slot: &usize| fields.get(*slot, line).map(|text| String::from_utf8_lossy(text).into_owned());
    Some(slots.iter().map(text).collect())
}

fn check(format: &Format, line: &str, expected: &[(&str, &str)]) {
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    let found = fields_of(format, &names, line.as_bytes()).unwrap_or_else(|| panic!("{line} is refused"));
    let expected: Vec<_> = expected.iter().map(|(_, text)| (*text != "<none>").then(|| (*text).to_owned())).collect();
    assert_eq!(found, expected, "{line}");
}

fn refused(format: &Format, line: &str) {
    assert_eq!(fields_of(format, &[], line.as_bytes()), None, "{line}");
}

const NGINX: &str = r#"10.0.0.1 - ann [22/Nov/2026:10:00:00 +0000] "GET /a/b?x=1&y=%20 HTTP/1.1" 502 1234 "https://e.x/" "Mozilla \"5\" (X)" 0.042 "up stream" -"#;

#[test]
fn access_logs_are_split() {
    check(
        &Format::Combined,
        NGINX,
        &[
            ("remote_addr", "10.0.0.1"),
            ("remote_logname", "-"),
            ("remote_user", "ann"),
            ("time_local", "22/Nov/2026:10:00:00 +0000"),
            ("request", "GET /a/b?x=1&y=%20 HTTP/1.1"),
            ("method", "GET"),
            ("uri", "/a/b?x=1&y=%20"),
            ("path", "/a/b"),
            ("query", "x=1&y=%20"),
            ("protocol", "HTTP/1.1"),
            ("status", "502"),
            ("body_bytes_sent", "1234"),
            ("http_referer", "https://e.x/"),
            ("http_user_agent", r#"Mozilla \"5\" (X)"#),
            ("extra_1", "0.042"),
            ("extra_2", "up stream"),
            ("extra_3", "-"),
            ("extra_4", "<none>"),
        ],
    );
    check(
        &Format::Common,
        r#"h - a b [t] "-" 400 - more"#,
        &[
            ("remote_user", "a b"),
            ("method", "<none>"),
            ("status", "400"),
            ("body_bytes_sent", "0"),
            ("extra_1", "more"),
        ],
    );
    for bad in [
        "",
        "a",
        "a b c [t] \"GET / H\" 200",
        "a b c [t] \"GET / H\" 20x 1",
        "a b c [t] \"GET / H 200 1",
        "a b c [t \"x\" 200 1",
    ] {
        refused(&Format::Common, bad);
        refused(&Format::Combined, bad);
    }
    refused(&Format::Combined, r#"h - - [t] "GET / H" 200 1 "-""#);
}

#[test]
fn json_gives_wanted_fields_only() {
    let line = r#"{"level":"ERROR","n":1.50,"ok":true,"none":null,"http":{"status":503,"x":{"y":"deep"}},"log.level":"w","esc":"a\"bA","skip":[{"level":"no"}],"list":["a"]}"#;
    check(
        &Format::Json,
        line,
        &[
            ("level", "ERROR"),
            ("n", "1.50"),
            ("ok", "true"),
            ("none", "<none>"),
            ("http.status", "503"),
            ("http.x.y", "deep"),
            ("http.no", "<none>"),
            ("log.level", "w"),
            ("esc", "a\"bA"),
            ("list", "[\"a\"]"),
        ],
    );
    for bad in ["", "[]", "1", "{", "{\"a\":}", "{} x", "plain"] {
        refused(&Format::Json, bad);
    }
    assert_eq!(fields_of(&Format::Json, &["a"], b"{\"a\":\"x\xffy\"}"), Some(vec![Some("x\u{fffd}y".into())]));
    assert_eq!(fields_of(&Format::Journald, &["M"], b"{\"M\":[104,105,255]}"), Some(vec![Some("hi\u{fffd}".into())]));
}

#[test]
fn logfmt_knows_quotes_and_bare_keys() {
    let line = r#"level=error msg="it \"broke\"\n" n=5 flag empty= dup=1 dup=2 open="never closed"#;
    check(
        &Format::Logfmt,
        line,
        &[
            ("level", "error"),
            ("msg", "it \"broke\"\n"),
            ("n", "5"),
            ("flag", ""),
            ("empty", ""),
            ("dup", "1"),
            ("open", "never closed"),
            ("other", "<none>"),
        ],
    );
    refused(&Format::Logfmt, "plain words only");
    refused(&Format::Logfmt, "");
    refused(&Format::Logfmt, "=x");
}

#[test]
fn syslog_in_all_its_forms() {
    check(
        &Format::Syslog,
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su 7 ID47 [a@1 x=\"]\\\"\"][b] 'su root' failed",
        &[
            ("priority", "34"),
            ("facility", "auth"),
            ("severity", "crit"),
            ("timestamp", "2003-10-11T22:14:15.003Z"),
            ("hostname", "mymachine.example.com"),
            ("app_name", "su"),
            ("procid", "7"),
            ("msgid", "ID47"),
            ("message", "'su root' failed"),
        ],
    );
    check(
        &Format::Syslog,
        "<165>1 - - - - - - \u{feff}x",
        &[("hostname", "<none>"), ("message", "x"), ("facility", "local4")],
    );
    check(
        &Format::Syslog,
        "Oct 11 22:14:15 host sshd[12]: Failed password",
        &[
            ("timestamp", "Oct 11 22:14:15"),
            ("hostname", "host"),
            ("app_name", "sshd"),
            ("procid", "12"),
            ("message", "Failed password"),
            ("severity", "<none>"),
        ],
    );
    check(
        &Format::Syslog,
        "2026-11-22T10:00:00.123456+01:00 host kernel: [ 1.2] x: y",
        &[("app_name", "kernel"), ("message", "[ 1.2] x: y")],
    );
    check(
        &Format::Syslog,
        "<13>Feb  5 17:32:18 10.0.0.99 no tag here",
        &[("severity", "notice"), ("app_name", "<none>"), ("message", "no tag here")],
    );
    for bad in ["", "plain text", "<999>x", "<13", "<34>1 - - -", "Oct 11 22:14:15"] {
        refused(&Format::Syslog, bad);
    }
}

#[test]
fn a_regex_gives_its_named_groups() {
    let format = Format::Regex(r"^(?P<who>\w+) (?:is|was) (?P<what>\S+)(?: (?P<more>.*))?$".into());
    check(&format, "she is here", &[("what", "here"), ("who", "she"), ("more", "<none>")]);
    refused(&format, "nothing");
    assert!(LineReader::new(&format).expect("format").want("absent").is_none());
    assert!(matches!(LineReader::new(&Format::Regex("(".into())), Err(LogError::Regex { .. })));
}

#[test]
fn mutated_lines_never_panic() {
    let lines: [&[u8]; 5] = [
        NGINX.as_bytes(),
        br#"{"a":{"b":"c\n"},"d":[1,2]}"#,
        br#"a=b c="d\"e" f"#,
        br#"<34>1 2003-10-11T22:14:15.003Z h a p m [x y="z"] msg"#,
        b"Oct 11 22:14:15 host sshd[12]: x",
    ];
    let mut readers: Vec<LineReader> = [Format::Combined, Format::Common, Format::Json, Format::Logfmt, Format::Syslog]
        .iter()
        .map(|format| LineReader::new(format).expect("format"))
        .collect();
    for (reader, names) in readers.iter_mut().zip([
        &["method", "query", "extra_2"][..],
        &["path"],
        &["a.b", "d"],
        &["a", "c"],
        &["message", "procid"],
    ]) {
        assert!(names.iter().all(|name| reader.want(name).is_some()));
    }
    let mut rng = Rng::seeded(3);
    for _ in 0..20_000 {
        let mut line = lines[rng.below(5) as usize].to_vec();
        for _ in 0..=rng.below(4) {
            let at = rng.below(line.len() as u64) as usize;
            match rng.below(3) {
                0 => line[at] = rng.next_u64() as u8,
                1 => line.insert(at, b"\"\\[]<> :=-{"[rng.below(11) as usize]),
                _ => line.truncate(at + 1),
            }
        }
        for reader in &mut readers {
            let mut fields = Fields::new(reader.count());
            reader.read(&line, &mut fields);
            for slot in 0..reader.count() {
                fields.get(slot, &line);
            }
        }
    }
}

//! The environment variables that the command line looks at. Nobody else reads any.

#[expect(clippy::disallowed_methods, reason = "the command line's one look at the environment")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `$BROWNOUT_SERVER`: the daemon to ask.
pub(super) fn server() -> Option<String> {
    read("BROWNOUT_SERVER")
}

/// `$USER`: who pins, when nobody says.
pub(super) fn user() -> Option<String> {
    read("USER").or_else(|| read("LOGNAME"))
}

/// `$COLUMNS`: how wide the terminal is.
pub(super) fn columns() -> Option<usize> {
    read("COLUMNS")?.parse().ok().filter(|columns| *columns > 0)
}

/// `$NO_COLOR`: set, to any value, by people who want none (<https://no-color.org>).
pub(super) fn no_colour() -> bool {
    read("NO_COLOR").is_some() || read("TERM").is_some_and(|term| term == "dumb")
}

/// `$JOURNAL_STREAM`: set by systemd for a service whose output goes to the journal.
pub(super) fn journal_stream() -> bool {
    read("JOURNAL_STREAM").is_some()
}

//! The daemon's log: on the standard error output, for people, for the journal or as JSON.
//!
//! Under systemd each line begins with its priority (`<6>`, `sd-daemon(3)`) and has no time: the journal has its own.
//! Only our own events below warnings are shown; libraries are heard from warnings on.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::env;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    /// The word of the configuration and of `tracing`.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The log in use; its level can be changed while it is.
#[derive(Clone, Debug)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

impl Logging {
    /// Begins to log; at most once a process, later calls only give a handle without effect.
    pub fn start(level: &str, format: LogFormat) -> Logging {
        let (filter, handle) = reload::Layer::new(filter(level));
        let stderr = std::io::stderr;
        let layers = tracing_subscriber::registry().with(filter);
        let begun = match format {
            LogFormat::Json => {
                layers.with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init()
            }
            LogFormat::Text if env::journal_stream() => {
                let layer = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false);
                layers.with(layer.event_format(Prioritised(compact()))).try_init()
            }
            LogFormat::Text => {
                let colours = stderr().is_terminal() && !env::no_colour();
                layers
                    .with(tracing_subscriber::fmt::layer().compact().with_writer(stderr).with_ansi(colours))
                    .try_init()
            }
        };
        // A second start is no failure of the first.
        drop(begun);
        Logging(handle)
    }

    /// Tells more or less from now on: `error`, `warn`, `info` or `debug`.
    pub fn set_level(&self, level: &str) {
        // It fails only when the log has ended.
        drop(self.0.reload(filter(level)));
    }
}

fn filter(level: &str) -> EnvFilter {
    let others = if level == "error" { "error" } else { "warn" };
    EnvFilter::new(format!("{others},brownout={level}"))
}

fn compact() -> Format<Compact, ()> {
    Format::default().compact().without_time().with_level(false).with_ansi(false)
}

/// Lines with the priority that the journal files them under.
struct Prioritised(Format<Compact, ()>);

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_for_the_journal_begin_with_their_priority_and_cannot_be_forged() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber =
            tracing_subscriber::registry().with(filter("info")).with(layer.event_format(Prioritised(compact())));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "brownout::a", "bad");
            tracing::info!(target: "brownout::a", text = "x\x1b[2J\n<0>y", "fine");
            tracing::debug!(target: "brownout::a", "too much");
            tracing::info!(target: "hyper", "not ours");
        });
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("<3>") && lines[0].contains("bad"), "{text}");
        assert!(lines[1].starts_with("<6>") && !text.contains('\x1b'), "{text}");
    }
}

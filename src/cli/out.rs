//! The one writer to the standard output.

use std::io::{self, ErrorKind, IsTerminal, Write};

use super::env;
use super::failure::Failure;
use super::text::{Text, neutral_json, neutral_lines};

/// How wide a terminal is when nobody knows.
const USUAL_WIDTH: usize = 100;
/// How high a terminal is when nobody knows.
const USUAL_HEIGHT: usize = 24;

/// Where a command writes its answer to.
pub(super) struct Out {
    to: Box<dyn Write>,
    colours: bool,
    terminal: bool,
    width: usize,
    height: usize,
}

impl Out {
    /// The process's standard output: with colours when it is a terminal and nobody objects.
    pub(super) fn stdout() -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = terminal.then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
        let known = env::columns().or_else(|| size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0));
        let width = known.unwrap_or(USUAL_WIDTH);
        let height = size.map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(USUAL_HEIGHT);
        Out { to: Box::new(stdout), colours: terminal && !env::no_colour(), terminal, width, height }
    }

    #[cfg(test)]
    pub(super) fn to(writer: impl Write + 'static) -> Out {
        Out { to: Box::new(writer), colours: false, terminal: false, width: USUAL_WIDTH, height: USUAL_HEIGHT }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    /// Columns of the terminal.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Lines of the terminal.
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Where lines must be cut: at the terminal's edge, and nowhere when the output goes on to a file or a program.
    pub(super) fn edge(&self) -> usize {
        if self.terminal { self.width } else { usize::MAX }
    }

    /// Says something that is no part of the answer, to the standard error output.
    pub(super) fn aside(&self, text: &str) {
        // Nobody is left to tell when this fails.
        drop(writeln!(io::stderr().lock(), "brownout: {}", neutral_lines(text)));
    }

    /// Writes one line.
    pub(super) fn line(&mut self, text: impl Into<Text>) -> Result<(), Failure> {
        let text = text.into().render(self.colours);
        self.write(&format!("{text}\n"))
    }

    /// Writes several lines at once.
    pub(super) fn lines(&mut self, lines: &[Text]) -> Result<(), Failure> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.render(self.colours));
            text.push('\n');
        }
        self.write(&text)
    }

    /// Writes text of several lines, its end without a newline.
    pub(super) fn paragraph(&mut self, text: &str) -> Result<(), Failure> {
        let text = format!("{}\n", neutral_lines(text.trim_end_matches('\n')));
        self.write(&text)
    }

    /// Writes JSON.
    pub(super) fn json(&mut self, json: &str) -> Result<(), Failure> {
        let text = format!("{}\n", neutral_json(json.trim_end_matches('\n')));
        self.write(&text)
    }

    /// Writes a program of ours as it is, tabs and all.
    pub(super) fn program(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text)
    }

    /// Replaces the last `before` lines by these; only for terminals.
    pub(super) fn redraw(&mut self, before: usize, lines: &[Text]) -> Result<(), Failure> {
        let mut text = String::new();
        if before > 0 {
            text.push_str(&format!("\x1b[{before}A"));
        }
        for line in lines {
            text.push_str(&line.clone().cut(self.width).render(self.colours));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Said(format!("cannot write the output: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_enough_is_no_failure_and_a_full_disk_is_one() {
        let end = |kind| Out::to(Broken(kind)).line("x").expect_err("broken");
        assert!(matches!(end(ErrorKind::BrokenPipe), Failure::OutputClosed));
        assert!(matches!(end(ErrorKind::StorageFull), Failure::Said(_)));
    }
}

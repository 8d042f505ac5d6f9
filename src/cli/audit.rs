//! `brownout audit verify`: whether the audit log is as it was written.

use std::path::PathBuf;

use super::failure::Failure;
use super::out::Out;
use super::text::{Style, Text};
use crate::journal::{Verified, verify};

/// Look at the audit log
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check that no record was changed, removed, inserted or moved
    ///
    /// Each record carries the hash of the one before. That the end was cut off shows only beside an earlier run: keep the
    /// number and the hash that this prints.
    Verify {
        /// The log, or the data directory that has it (audit.jsonl)
        path: PathBuf,
    },
}

pub(super) fn audit(args: &AuditArgs, out: &mut Out) -> Result<(), Failure> {
    let AuditCommand::Verify { path } = &args.command;
    let path = if path.is_dir() { path.join("audit.jsonl") } else { path.clone() };
    match verify(&path) {
        Ok(verified) => out.line(whole(&verified)),
        Err(error) => Err(Failure::said(error.to_string())),
    }
}

fn whole(verified: &Verified) -> Text {
    let Verified { records, hash, torn } = verified;
    let text = Text::styled(Style::Good, "whole").then(format!(": {records} records, the last is {hash}"));
    if *torn == 0 { text } else { text.and(Style::Warn, format!("; {torn} more were torn by a crash")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_log_is_told_with_its_end() {
        let text = |torn| whole(&Verified { records: 3, hash: "ab".into(), torn }).render(false);
        assert_eq!(text(0), "whole: 3 records, the last is ab");
        assert_eq!(text(1), "whole: 3 records, the last is ab; 1 more were torn by a crash");
    }
}

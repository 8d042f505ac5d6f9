//! The door: arguments to one command, one error report, one exit code.

use std::process::ExitCode;

use brownout::cli;

fn main() -> ExitCode {
    match cli::main(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}

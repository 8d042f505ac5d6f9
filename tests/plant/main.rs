//! The other side of the closed loop: a service with a real capacity, open-loop load on it, and a load on the daemon itself.
//! `tests/e2e/closed_loop.py` and `tests/e2e/evaluations.py` run it; each of its parts is one process on one thread.
//!
//! `plant service --listen HOST:PORT [--agent HOST:PORT --switch NAME] [--armed yes] [--limited no]`
//! `plant load --to HOST:PORT --phases 100x10,2000x30,100x25`
//! `plant hammer --to HOST:PORT --path PATH [--body JSON] [--connections N] [--rate R]`

#![expect(clippy::print_stdout, reason = "what it measured is printed for the script that runs it")]

mod arguments;
mod hammer;
mod http;
mod load;
mod service;

use arguments::Arguments;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let arguments = Arguments::read(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match what.as_str() {
            "service" => service::run(&arguments).await,
            "load" => load::run(&arguments).await,
            "hammer" => hammer::run(&arguments).await,
            _ => Err("plant service|load|hammer; see the head of tests/plant/main.rs".into()),
        }
    })
}

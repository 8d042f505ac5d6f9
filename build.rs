//! One setting of the link: relocations in their packed form, where the C library of this host knows it (glibc from 2.36).
//!
//! They are read once, at the start, and stay in memory: packed they are some kilobytes and not half a megabyte, which is
//! 3 % of what the daemon needs. A build for another host does without.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "this is how cargo tells and is told")]

use std::process::Command;

/// The first glibc whose loader takes packed relocations.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let own = |name: &str| std::env::var(name).unwrap_or_default();
    let at_home = own("HOST") == own("TARGET") && own("CARGO_CFG_TARGET_ENV") == "gnu";
    if at_home && own("CARGO_CFG_TARGET_OS") == "linux" && glibc().is_some_and(|version| version >= FIRST) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this host's glibc.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix("glibc ")?.split('.').map_while(|part| part.parse::<u32>().ok());
    Some((numbers.next()?, numbers.next()?))
}

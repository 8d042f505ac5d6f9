//! Puts the functions that a daemon at work runs beside each other in the release binary. Memory is counted in pages, and pages
//! of the binary are most of what the daemon occupies: so ordered, far fewer of them are touched.
//!
//! `link-order.txt` names those functions; `link-order.sh` makes it anew. A name that is not there any more is passed over, so
//! an old list costs only some of the gain. Where the linker is not the one that Rust brings along nothing is ordered.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the list was made: elsewhere the names differ.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join("deploy/link-order.txt");
    println!("cargo:rerun-if-changed=deploy/build.rs");
    println!("cargo:rerun-if-changed={}", order.display());
    if variable("PROFILE") == "release" && variable("TARGET") == TARGET && order.is_file() && links_with_lld() {
        println!("cargo:rustc-link-arg-bin=brownout=-Wl,--symbol-ordering-file={}", order.display());
        println!("cargo:rustc-link-arg-bin=brownout=-Wl,--no-warn-symbol-ordering");
    }
}

#[expect(clippy::disallowed_methods, reason = "this is how cargo speaks to a build script")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Whether rustc links with the lld of its own, as it does by itself since 1.90: with no linker named, and no flags that might.
fn links_with_lld() -> bool {
    if !variable("CARGO_ENCODED_RUSTFLAGS").is_empty() || !variable("RUSTC_LINKER").is_empty() {
        return false;
    }
    let asked = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let Ok(answer) = asked else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    sysroot.join("lib/rustlib").join(TARGET).join("bin/gcc-ld/ld.lld").is_file()
}

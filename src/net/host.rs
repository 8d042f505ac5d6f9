//! How this host calls itself.

/// The host's name as the kernel has it; `localhost` when it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() || name == "(none)" { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_has_the_kernels_name() {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(super::host_name(), kernel.trim());
    }
}

//! Who this daemon is to its fleet: an id that is the same over its restarts, and an address for people.

use std::net::UdpSocket;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::Checked;
use crate::net;

const NAME: &str = "instance";

/// An id of this daemon: random, kept in its data directory, and joined with the boot of the system, as a copied disk has
/// the same one. One that cannot be kept holds until the next start.
pub(super) fn instance(folder: &Path) -> String {
    let path = folder.join(NAME);
    let kept = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
    let id = kept.filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let id = id.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            tracing::error!("the system gives no random numbers: another host of this name is not told apart");
        }
        let id = format!("{:016x}", u64::from_be_bytes(bytes));
        if let Err(error) = std::fs::write(&path, format!("{id}\n")) {
            tracing::warn!(path = %path.display(), %error, "who this daemon is could not be kept");
        }
        id
    });
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{id}-{}", boot.trim().split('-').next().unwrap_or_default())
}

/// Where this host is: the page's address if it means something on other hosts, else the one from which the store is
/// reached, with the port that is listened on.
pub(super) fn address(checked: &Checked, port: u16, endpoints: &[String]) -> String {
    let page = &checked.serve.external_url;
    let is_local = ["://127.", "://localhost:", "://[::1]"].iter().any(|local| page.contains(local));
    if !page.is_empty() && !is_local {
        return page.clone();
    }
    // A datagram socket is connected without a word being sent.
    let own = endpoints.iter().find_map(|endpoint| {
        let (_, place) = endpoint.split_once("://")?;
        let to: std::net::SocketAddr = place.parse().ok()?;
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    });
    format!("{}:{port}", own.unwrap_or_else(net::host_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_the_same_one_after_a_restart_and_another_one_elsewhere() {
        let folder = |name: &str| {
            let folder = std::env::temp_dir().join(format!("brownout-instance-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            folder
        };
        let (one, two) = (folder("one"), folder("two"));
        let id = instance(&one);
        assert_eq!(instance(&one), id);
        assert_ne!(instance(&two), id);
        std::fs::write(one.join(NAME), "short").expect("written");
        assert_ne!(instance(&one), id, "a broken file is replaced");
        for folder in [one, two] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    }
}

//! Telling systemd how we are: `sd_notify(3)`, one datagram each.

use std::os::unix::net::UnixDatagram;

/// The way to systemd; does nothing when we were not started by it.
#[derive(Debug)]
pub(super) struct Systemd {
    socket: Option<(UnixDatagram, String)>,
}

impl Systemd {
    /// `path` is the value of `NOTIFY_SOCKET`.
    pub(super) fn new(path: Option<String>) -> Systemd {
        let socket = path.and_then(|path| Some((UnixDatagram::unbound().ok()?, path)));
        Systemd { socket }
    }

    /// Sends one state, for example `READY=1`. Failures are systemd's to notice.
    pub(super) fn tell(&self, state: &str) {
        let Some((socket, path)) = &self.socket else { return };
        let sent = match path.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)
                    .and_then(|address| socket.send_to_addr(state.as_bytes(), &address))
            }
            None => socket.send_to(state.as_bytes(), path),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, state, "cannot notify systemd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_the_socket() {
        let path = std::env::temp_dir().join(format!("brownout-notify-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let receiver = UnixDatagram::bind(&path).expect("bound");
        Systemd::new(Some(path.display().to_string())).tell("READY=1");
        let mut buffer = [0; 64];
        let length = receiver.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"READY=1");
        Systemd::new(None).tell("READY=1");
        std::fs::remove_file(&path).expect("removed");
    }
}

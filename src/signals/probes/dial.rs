//! From a name to a connection, as blackbox_exporter goes: one address is chosen and tried, nothing races.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::settings::IpProtocol;
use super::sheet::{Failed, Sheet};
use crate::limits;
use crate::net::{NetError, Resolver, TlsSettings, tls_config};
use crate::time::Clock;

/// Either kind of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the probes of one job share.
#[derive(Debug)]
pub(super) struct Tools {
    pub clock: Clock,
    pub resolver: Resolver,
    tls: Mutex<Option<(Duration, Arc<ClientConfig>)>>,
}

impl Tools {
    pub fn new(clock: Clock) -> Tools {
        Tools { clock, resolver: Resolver::new(), tls: Mutex::new(None) }
    }

    /// The TLS set-up: built once and kept for a minute, so that changed files are seen and the roots are not read each
    /// second. Sessions are never resumed, as each probe is to see a whole handshake.
    pub async fn tls(&self, settings: &TlsSettings) -> Result<Arc<ClientConfig>, NetError> {
        let mut kept = self.tls.lock().await;
        if let Some((built, config)) = kept.as_ref()
            && self.clock.elapsed().saturating_sub(*built) < limits::PROBE_TLS_AGE
        {
            return Ok(Arc::clone(config));
        }
        *kept = None;
        let settings = settings.clone();
        let build = tokio::task::spawn_blocking(move || tls_config(&settings)).await;
        let mut config = build.map_err(|_| NetError::Tls("the set-up broke off".to_owned()))??;
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        *kept = Some((self.clock.elapsed(), Arc::clone(&config)));
        Ok(config)
    }

    /// Chooses the address of a host and notes time, protocol and hash of it. Gives the time of the lookup too.
    pub async fn choose(&self, ip: IpProtocol, host: &str, sheet: &mut Sheet) -> Result<(IpAddr, f64), Failed> {
        sheet.set("probe_ip_protocol", 0.0);
        sheet.set("probe_dns_lookup_time_seconds", 0.0);
        sheet.set("probe_ip_addr_hash", 0.0);
        let start = self.clock.elapsed();
        let found = self.lookup(ip, host).await;
        let took = (self.clock.elapsed() - start).as_secs_f64();
        sheet.set("probe_dns_lookup_time_seconds", took);
        let address = found.map_err(|problem| sheet.fail(problem))?;
        sheet.say(format!("resolved {host} to {address}"));
        sheet.set("probe_ip_protocol", if address.is_ipv4() { 4.0 } else { 6.0 });
        sheet.set("probe_ip_addr_hash", f64::from(address_hash(address)));
        Ok((address, took))
    }

    /// Chooses the address of a host and notes nothing.
    pub async fn lookup(&self, ip: IpProtocol, host: &str) -> Result<IpAddr, String> {
        let addresses = self.resolver.lookup(host).await.map_err(|error| error.to_string())?;
        let preferred = addresses.iter().find(|at| at.is_ipv4() == ip.prefer_ip4);
        let other = addresses.first().filter(|_| ip.fallback);
        preferred.or(other).copied().ok_or_else(|| {
            let wanted = if ip.prefer_ip4 { "IPv4" } else { "IPv6" };
            format!("{host} has no {wanted} address, and ip_protocol_fallback is false")
        })
    }

    /// Starts TLS on a connection; the name is sent and checked.
    pub async fn start_tls<S: Stream>(
        &self,
        settings: &TlsSettings,
        name: &str,
        stream: S,
        sheet: &mut Sheet,
    ) -> Result<TlsStream<S>, Failed> {
        let config = self.tls(settings).await.map_err(|error| sheet.fail(error.to_string()))?;
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let Ok(server) = ServerName::try_from(bare) else {
            return Err(sheet.fail(format!("{name:?} is no name that TLS could check")));
        };
        let started = TlsConnector::from(config).connect(server, stream).await;
        started.map_err(|error| sheet.fail(format!("tls handshake with {name}: {error}")))
    }
}

/// Connects; a refusal comes back at once.
pub(super) async fn connect(to: SocketAddr, from: Option<IpAddr>, sheet: &mut Sheet) -> Result<TcpStream, Failed> {
    let dial = async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    };
    dial.await.map_err(|error| sheet.fail(format!("connect to {to}: {error}")))
}

/// Splits `host:port`; IPv6 hosts stand in brackets.
pub(super) fn host_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

/// 32-bit FNV-1a over the address's bytes, as blackbox_exporter has it.
fn address_hash(address: IpAddr) -> u32 {
    let add = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    match address.to_canonical() {
        IpAddr::V4(v4) => add(&v4.octets()),
        IpAddr::V6(v6) => add(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_hash_is_blackboxs() {
        assert_eq!(address_hash("127.0.0.1".parse().unwrap()), 3_668_918_509);
    }

    #[test]
    fn addresses_split_into_host_and_port() {
        assert_eq!(host_port("db.test:5432"), Some(("db.test", 5432)));
        assert_eq!(host_port("[::1]:25"), Some(("::1", 25)));
        for wrong in ["db.test", "::1:25", "[::1:25", "db.test:x", "db.test:99999"] {
            assert_eq!(host_port(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_preferred_protocol_wins_and_the_fallback_is_a_choice() {
        let tools = Tools::new(Clock::start());
        let choose = |prefer_ip4, fallback| tools.lookup(IpProtocol { prefer_ip4, fallback }, "127.0.0.1");
        assert!(choose(true, false).await.is_ok());
        assert!(choose(false, true).await.is_ok());
        assert!(choose(false, false).await.unwrap_err().contains("has no IPv6 address"));
    }
}

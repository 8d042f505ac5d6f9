//! The `icmp` prober: one echo request, one reply.
//!
//! A raw socket is used where the process may open one (it shows the reply's hop limit for IPv4), else an unprivileged
//! datagram socket (Linux: `net.ipv4.ping_group_range`). `probe_icmp_reply_hop_limit` is left out where it cannot be seen.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use tokio::net::UdpSocket;

use super::dial::Tools;
use super::settings::{IcmpProbe, ProbeTarget};
use super::sheet::{Failed, Sheet};

const PHASES: &str = "probe_icmp_duration_seconds";
/// blackbox_exporter's payload is 36 bytes long.
const PAYLOAD: usize = 36;
/// The least payload: it tells our reply from those of others.
const NONCE: usize = 12;

struct Echo {
    /// A connected ICMP socket; the type only lends its `send` and `recv`, which know nothing of UDP.
    socket: UdpSocket,
    raw: bool,
}

pub(super) async fn probe_icmp(
    tools: &Tools,
    settings: &IcmpProbe,
    target: &ProbeTarget,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    for phase in ["resolve", "setup", "rtt"] {
        sheet.set_with(PHASES, &[("phase", phase)], 0.0);
    }
    let (ip, took) = tools.choose(settings.ip, &target.address, sheet).await?;
    sheet.set_with(PHASES, &[("phase", "resolve")], took);
    let start = tools.clock.elapsed();
    let echo = open(ip, settings).map_err(|error| {
        let hint = "the process needs CAP_NET_RAW, or its group in net.ipv4.ping_group_range";
        sheet.fail(format!("open an ICMP socket: {error} ({hint})"))
    })?;
    let nonce = (start.as_nanos() as u64) ^ crate::model::Labels::named(&target.address).hash64().rotate_left(17);
    let request = request(ip, settings, nonce);
    sheet.set_with(PHASES, &[("phase", "setup")], (tools.clock.elapsed() - start).as_secs_f64());
    let sent_at = tools.clock.elapsed();
    let sent = echo.socket.send(&request).await;
    sent.map_err(|error| sheet.fail(format!("send to {ip}: {error}")))?;
    let mut buffer = vec![0; request.len() + 128];
    loop {
        let read = echo.socket.recv(&mut buffer).await;
        let read = read.map_err(|error| sheet.fail(format!("receive from {ip}: {error}")))?;
        let packet = &buffer[..read];
        if let Some(hop_limit) = is_reply(packet, &request, ip.is_ipv4(), echo.raw) {
            sheet.set_with(PHASES, &[("phase", "rtt")], (tools.clock.elapsed() - sent_at).as_secs_f64());
            if let Some(hop_limit) = hop_limit {
                sheet.set("probe_icmp_reply_hop_limit", f64::from(hop_limit));
            }
            return Ok(());
        }
    }
}

fn open(ip: IpAddr, settings: &IcmpProbe) -> io::Result<Echo> {
    let (family, protocol) = match ip {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let open = |kind| rustix::net::socket_with(family, kind, flags, Some(protocol));
    let (socket, raw) = match open(SocketType::RAW) {
        Ok(socket) => (socket, true),
        Err(_) => (open(SocketType::DGRAM)?, false),
    };
    if let Some(from) = settings.source_ip_address {
        rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    }
    if let Some(ttl) = settings.ttl {
        match ip {
            IpAddr::V4(_) => sockopt::set_ip_ttl(&socket, u32::from(ttl))?,
            IpAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&socket, Some(ttl))?,
        }
    }
    rustix::net::connect(&socket, &SocketAddr::new(ip, 0))?;
    Ok(Echo { socket: UdpSocket::from_std(socket.into())?, raw })
}

/// An echo request: type, code, checksum, identifier, sequence, payload. The kernel writes the checksum of IPv6, and the
/// identifier of datagram sockets.
fn request(ip: IpAddr, settings: &IcmpProbe, nonce: u64) -> Vec<u8> {
    let size = if settings.payload_size == 0 { PAYLOAD } else { usize::from(settings.payload_size).max(NONCE) };
    let mut packet = vec![0; 8 + size];
    packet[0] = if ip.is_ipv4() { 8 } else { 128 };
    packet[4..6].copy_from_slice(&(nonce as u16).to_be_bytes());
    packet[6..8].copy_from_slice(&1_u16.to_be_bytes());
    packet[8..16].copy_from_slice(&nonce.to_be_bytes());
    packet[16..20].copy_from_slice(b"brwn");
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether a packet is the reply to a request, and if so the hop limit where the packet shows it.
fn is_reply(packet: &[u8], request: &[u8], ip4: bool, raw: bool) -> Option<Option<u8>> {
    let (icmp, hop_limit) = match (ip4, raw) {
        (true, true) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            (packet.get(header..)?, packet.get(8).copied())
        }
        _ => (packet, None),
    };
    let expected = if ip4 { 0 } else { 129 };
    (*icmp.first()? == expected && icmp.get(8..)? == &request[8..]).then_some(hop_limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let packet = request("127.0.0.1".parse().unwrap(), &IcmpProbe::default(), 0x0102_0304_0506_0708);
        assert_eq!((packet.len(), packet[0], checksum(&packet)), (44, 8, 0));
    }

    #[test]
    fn only_the_reply_to_our_request_counts() {
        let request = request("127.0.0.1".parse().unwrap(), &IcmpProbe::default(), 7);
        let mut reply = request.clone();
        assert_eq!(is_reply(&reply, &request, true, false), None);
        reply[0] = 0;
        assert_eq!(is_reply(&reply, &request, true, false), Some(None));
        let mut with_header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 57, 1];
        with_header.resize(20, 0);
        with_header.extend_from_slice(&reply);
        assert_eq!(is_reply(&with_header, &request, true, true), Some(Some(57)));
        reply[10] ^= 1;
        assert_eq!(is_reply(&reply, &request, true, false), None);
        assert_eq!(is_reply(&[0x4f], &request, true, true), None);
    }
}

//! A tunnel through an HTTP proxy (`CONNECT`), for probes of `https` targets.

use hyper::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::sheet::{Failed, Sheet};

/// The most that a proxy may say before the tunnel is open, in bytes.
const HEAD_BYTES: usize = 8 << 10;

/// Asks the proxy at the other end for a tunnel to `authority` (`host:port`).
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    authority: &str,
    headers: &[(String, String)],
    credentials: Option<&str>,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(credentials) = credentials {
        request.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
    }
    request.push_str("\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| sheet.fail(format!("send to the proxy: {error}")))?;
    // Byte by byte, as what follows the head belongs to the tunnel.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await;
        head.push(byte.map_err(|error| sheet.fail(format!("read from the proxy: {error}")))?);
        if head.len() > HEAD_BYTES {
            return Err(sheet.fail("the proxy's answer is too long"));
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(code) if line.starts_with("HTTP/1.") && code.len() == 3 && code.starts_with('2') => Ok(()),
        _ => Err(sheet.fail(format!("the proxy refused the tunnel: {line}"))),
    }
}

/// The `Proxy-Authorization` that a proxy URL's user and password make.
pub(super) fn credentials(proxy: &Uri) -> Option<String> {
    use base64::Engine as _;
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user)))
}

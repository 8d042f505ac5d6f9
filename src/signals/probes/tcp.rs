//! The `tcp` and `unix` probers: connect, perhaps TLS, perhaps a dialogue.

use std::net::SocketAddr;

use tokio::net::UnixStream;

use super::certs;
use super::check::ReadyStep;
use super::dial::{Stream, Tools, connect, host_port};
use super::dialogue::{Upgrade, talk};
use super::settings::{ProbeTarget, TcpProbe, UnixProbe};
use super::sheet::{Failed, Sheet};
use crate::net::TlsSettings;

pub(super) async fn probe_tcp(
    tools: &Tools,
    settings: &TcpProbe,
    steps: &[ReadyStep],
    target: &ProbeTarget,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    let Some((host, port)) = host_port(&target.address) else {
        return Err(sheet.fail(format!("{:?} is no address: write host:port", target.address)));
    };
    let (ip, _) = tools.choose(settings.ip, host, sheet).await?;
    let stream = connect(SocketAddr::new(ip, port), settings.source_ip_address, sheet).await?;
    let name = settings.tls_config.server_name.as_deref().or(target.hostname.as_deref()).unwrap_or(host);
    let upgrade = Upgrade { tools, settings: &settings.tls_config, name };
    let stream = secured(Box::new(stream), settings.tls, &upgrade, sheet).await?;
    talk(stream, steps, upgrade, sheet).await
}

pub(super) async fn probe_unix(
    tools: &Tools,
    settings: &UnixProbe,
    steps: &[ReadyStep],
    target: &ProbeTarget,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    let stream = UnixStream::connect(&target.address).await;
    let stream = stream.map_err(|error| sheet.fail(format!("connect to {}: {error}", target.address)))?;
    let name = settings.tls_config.server_name.as_deref().or(target.hostname.as_deref()).unwrap_or("localhost");
    let upgrade = Upgrade { tools, settings: &settings.tls_config, name };
    let stream = secured(Box::new(stream), settings.tls, &upgrade, sheet).await?;
    talk(stream, steps, upgrade, sheet).await
}

async fn secured(
    stream: Box<dyn Stream>,
    tls: bool,
    upgrade: &Upgrade<'_>,
    sheet: &mut Sheet,
) -> Result<Box<dyn Stream>, Failed> {
    if !tls {
        return Ok(stream);
    }
    let settings: &TlsSettings = upgrade.settings;
    let secure = upgrade.tools.start_tls(settings, upgrade.name, stream, sheet).await?;
    certs::note(secure.get_ref().1, !settings.insecure_skip_verify, false, sheet);
    Ok(Box::new(secure))
}

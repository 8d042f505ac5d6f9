//! A sign of life to an outside dead man's switch: it tells people when the signs stop.
//!
//! Each sign is asked for by whoever is alive (the loop that evaluates), never by a timer here. One request is on its way at
//! a time; signs that are asked for meanwhile are left out.

use tokio::sync::mpsc;

use crate::net::{self, HttpSettings, SecretSource};
use crate::telemetry::{Metric, Telemetry};

/// Where the signs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// The whole URL counts as a secret.
    pub url: SecretSource,
    pub interval: std::time::Duration,
    pub http: HttpSettings,
}

/// Sends a sign for each that is asked for, until the channel is closed.
pub async fn heartbeat(mut asked: mpsc::Receiver<HeartbeatSettings>, telemetry: Telemetry) {
    while let Some(settings) = asked.recv().await {
        match send(&settings).await {
            Ok(()) => telemetry.count(Metric::Heartbeats, &[]),
            Err(reason) => {
                telemetry.count(Metric::HeartbeatsFailed, &[]);
                tracing::warn!(reason, "the sign of life did not get through");
            }
        }
    }
}

async fn send(settings: &HeartbeatSettings) -> Result<(), String> {
    let url = settings.url.read().map_err(|error| error.to_string())?;
    let http = settings.http.clone();
    let client = tokio::task::spawn_blocking(move || net::client(&http)).await;
    let client = client.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let sent = client.send(|client| client.get(url.expose())).await.map_err(|error| error.to_string())?;
    let status = sent.status();
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
}

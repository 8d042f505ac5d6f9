//! HTTP and gRPC: `/metrics`, the Prometheus API, Alertmanager's API, the switches in the protocols of their readers, control, the page.
//!
//! Switches are told by OFREP, flagd, Envoy's runtime and rate limit service, HAProxy's agent-check, and plain HTTP with
//! long polls and events: all of them read one [`Value`] and write it in their words.
//!
//! Applications' reads are answered from a [`Switchboard`] in memory. Questions about series get a [`crate::series::View`] and
//! are worked out on the blocking pool, a few at a time, so that they never delay a tick. Nothing here changes state:
//! a wish to change something is handed to the shell as an [`Ask`] and answered by the engine.

mod act;
mod alertmanager;
mod control;
mod envoy;
mod exposition;
mod flagd;
mod fleet;
mod fleet_config;
mod grpc;
mod guard;
mod haproxy;
mod limits;
mod measure;
mod ofrep;
mod orders;
mod page;
mod plain;
mod prometheus;
mod server;
mod status;
mod stream;
mod switchboard;
#[cfg(test)]
mod tests;
mod value;
mod wrap;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request};
use regex::Regex;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

pub use envoy::layer as envoy_layer;
pub use haproxy::{AgentSettings, AgentWord, Agents, agents};
pub use limits::{LimitSettings, Limiters};
pub use prometheus::query_answer;
pub use server::{ServeError, serve};
#[cfg(test)]
pub(crate) use switchboard::sample;
pub use switchboard::{Flag, Switchboard};
pub use value::{Unit, Value, number_text, percent};

use crate::alerts::Alerts;
use crate::engine::{Command, Picture, Reply};
use crate::model::Labels;
use crate::rules::{Evaluation, Listed, RuleId};
use crate::series::View;
use crate::switches::{BundleFile, Push, StageWord};
use crate::telemetry::Telemetry;
use crate::time::{Clock, Timestamp};

/// What the server asks of the shell.
pub enum Ask {
    /// The state as it is now, with those rules described that are asked for.
    Picture(Listed, oneshot::Sender<Picture>),
    /// The series as they are now: cheaper than a picture.
    View(oneshot::Sender<View>),
    /// The last evaluations of the rules of a name, of one group or of all.
    Evaluations { group: Option<String>, rule: String, reply: oneshot::Sender<Vec<(RuleId, Vec<Evaluation>)>> },
    /// The alerts, groups and silences as they are now, to be read elsewhere.
    Alerts(oneshot::Sender<Box<Alerts>>),
    /// To change something.
    Command(Command, oneshot::Sender<Reply>),
    /// About the configuration of the fleet. The answer is JSON, or why not.
    FleetConfig(ConfigAsk, oneshot::Sender<Result<serde_json::Value, String>>),
    /// To load the configuration again; the answer says what is wrong with it, if anything.
    Reload(oneshot::Sender<Result<(), String>>),
}

/// What people ask of the fleet's configuration.
#[derive(Debug)]
pub enum ConfigAsk {
    /// A new revision; only checked when `try_only`.
    Push {
        files: Vec<BundleFile>,
        push: Push,
        try_only: bool,
    },
    Say(StageWord),
    /// The files of a revision.
    Bundle(u64),
}

/// What every handler shares. Cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<Parts>);

/// What the shell knows of the daemon itself. Replaced at each reload.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub host: String,
    pub version: &'static str,
    pub started: Timestamp,
    /// `observe` or `enforce`.
    pub mode: &'static str,
    /// The configuration file; empty without one.
    pub config_file: String,
    /// Why the file on disk is not in use, when it is not.
    pub config_problem: Option<String>,
    /// Host names besides loopback names and addresses that requests may come under.
    pub allowed_hosts: Vec<String>,
    /// Labels for what others are given.
    pub external_labels: Labels,
    /// The configuration as it was read, secrets masked.
    pub config_text: String,
    /// When it was taken into use.
    pub config_taken: Timestamp,
    /// Pages of which origins may read Prometheus' endpoints; `None` for those of no other.
    pub cors_origin: Option<Regex>,
    /// Jobs whose series `/metrics` shows beside our own, without their `job` and `instance`.
    pub exposed_jobs: Vec<String>,
}

/// What the configuration says of protocols that are not simply there. Replaced at each reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    pub agents: Vec<AgentSettings>,
    pub limits: Vec<LimitSettings>,
}

/// The parts of [`Shared`].
pub struct Parts {
    pub asks: mpsc::Sender<Ask>,
    pub switchboard: watch::Receiver<Arc<Switchboard>>,
    /// True once every source has been heard or has had its time.
    pub ready: watch::Receiver<bool>,
    pub telemetry: Telemetry,
    pub clock: Clock,
    pub about: watch::Receiver<Arc<About>>,
    /// The scrape targets as `/api/v1/targets` shows them.
    pub targets: Box<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>,
    /// The addresses of the Alertmanagers that alerts are forwarded to.
    pub alertmanagers: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// How many questions about series may be worked out at one time.
    pub queries: Arc<Semaphore>,
    pub delivery: watch::Receiver<Arc<Delivery>>,
    /// How many streams and long polls may be open at one time.
    pub streams: Arc<Semaphore>,
    /// How often somebody drew without a targeting key.
    pub draws: AtomicU64,
    pub limiters: Arc<Limiters>,
    pub agents: Agents,
}

/// Ends the connection that a request came by. Every request carries it.
#[derive(Clone)]
pub(crate) struct Kill(Arc<Notify>);

impl<S: Sync> axum::extract::FromRequestParts<S> for Kill {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Kill, StatusCode> {
        parts.extensions.get::<Kill>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// An answer whose body is known whole.
type Whole = axum::http::Response<Bytes>;

/// Such an answer in JSON.
fn whole_json(code: StatusCode, body: impl Into<Bytes>) -> Whole {
    let mut answer = Whole::new(body.into());
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Whether the asker has this entity already.
fn fresh(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = |tag: &str| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*";
    known.is_some_and(|known| known.split(',').any(same))
}

impl Shared {
    /// Shares the parts.
    pub fn new(parts: Parts) -> Shared {
        Shared(Arc::new(parts))
    }

    /// The series as they are now; `None` while the daemon shuts down.
    async fn view(&self) -> Option<View> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::View(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The last evaluations of the rules of a name; `None` while the daemon shuts down.
    async fn evaluations(&self, group: Option<String>, rule: String) -> Option<Vec<(RuleId, Vec<Evaluation>)>> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Evaluations { group, rule, reply }).await.ok()?;
        answer.await.ok()
    }

    /// The alerts as they are now; `None` while the daemon shuts down.
    async fn alerts(&self) -> Option<Box<Alerts>> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Alerts(reply)).await.ok()?;
        answer.await.ok()
    }

    /// What the engine says to a command; `None` while the daemon shuts down.
    async fn command(&self, command: Command) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Command(command, reply)).await.ok()?;
        answer.await.ok()
    }

    /// The state as it is now, with those rules described that are asked for; `None` while the daemon shuts down.
    async fn picture(&self, listed: Listed) -> Option<Picture> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Picture(listed, reply)).await.ok()?;
        answer.await.ok()
    }
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

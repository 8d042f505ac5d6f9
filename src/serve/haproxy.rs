//! HAProxy's agent-check: a connection is answered with one line that states everything, and closed.
//! <https://docs.haproxy.org/2.8/configuration.html#agent-check>.
//!
//! HAProxy keeps what it was last told: a weight until another is told, a drained server until `ready`, and all of it
//! for ever when the agent is gone. So each line has the whole state (`up ready 60%`), and before the daemon ends every
//! HAProxy that still asks is told `up ready 100%`.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::value::{Unit, Value};
use super::{Shared, Switchboard};
use crate::limits;
use crate::model::SwitchName;
use crate::telemetry::Metric;
use crate::time::{Clock, Timestamp};

const HEALTHY: &str = "up ready 100%";
/// A peer that did not ask for so long does not ask any more.
const FORGET: Duration = Duration::from_secs(60);
/// How long the end of the daemon waits for peers to ask once more.
const FAREWELL: Duration = Duration::from_secs(5);
/// A connection's whole time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server is told at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentWord {
    /// This weight, in per cent of the configured one.
    Weight(u32),
    /// No new sessions; those that are bound to it go on.
    Drain,
    Maintenance,
    Down,
}

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// `host:port`.
    pub listen: String,
    pub switch: SwitchName,
    /// What a feature's levels mean; a level that is not listed has the weight of its place on the ladder.
    pub levels: BTreeMap<String, AgentWord>,
}

/// What HAProxy is told.
fn line(settings: &AgentSettings, board: &Switchboard) -> String {
    let Some(flag) = board.flags.get(&settings.switch) else { return HEALTHY.to_owned() };
    // Never zero by itself: a server without any weight is a decision that somebody writes down.
    let weight = |share: f64| format!("up ready {}%", ((share * 100.0).round() as u32).max(1));
    match &flag.value {
        Value::Feature { level, .. } => match settings.levels.get(level) {
            Some(AgentWord::Weight(percent)) => format!("up ready {percent}%"),
            Some(AgentWord::Drain) => "up drain 100%".to_owned(),
            Some(AgentWord::Maintenance) => "up maint 100%".to_owned(),
            Some(AgentWord::Down) => "down ready 100%".to_owned(),
            None => weight(flag.value.share().unwrap_or(1.0)),
        },
        Value::Dimmer { share, .. } | Value::Rollout { share } => weight(*share),
        Value::Limit { value: Some(value), unit: Unit::InFlight } => {
            format!("{HEALTHY} maxconn:{}", (value.floor() as u64).max(1))
        }
        Value::Limit { .. } => HEALTHY.to_owned(),
    }
}

/// What each peer was told last, and when.
type Told = HashMap<(String, IpAddr), (String, Timestamp)>;

/// The agents' common state.
#[derive(Clone, Default)]
pub struct Agents(Arc<State>);

#[derive(Default)]
struct State {
    leaving: AtomicBool,
    told: Mutex<Told>,
}

impl Agents {
    /// Tells every peer that still asks that all is well, and waits until it was told, for at most five seconds.
    pub async fn leave(&self, clock: &Clock) {
        self.0.leaving.store(true, Ordering::Relaxed);
        let end = clock.now() + FAREWELL;
        while clock.now() < end && self.owes(clock.now()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn owes(&self, now: Timestamp) -> bool {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().any(|(line, at)| line != HEALTHY && now.since(*at) < FORGET)
    }

    fn note(&self, listen: &str, peer: IpAddr, line: &str, now: Timestamp) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, (_, at)| now.since(*at) < FORGET);
        if told.len() < limits::HTTP_CONNECTIONS {
            told.insert((listen.to_owned(), peer), (line.to_owned(), now));
        }
    }
}

struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the agents that the configuration names listening, until the task is dropped.
pub async fn agents(shared: Shared) {
    let mut settings = shared.delivery.clone();
    let mut running: Vec<(AgentSettings, Listening)> = Vec::new();
    loop {
        let wanted = settings.borrow_and_update().agents.clone();
        running.retain(|(agent, _)| wanted.contains(agent));
        for agent in wanted {
            if !running.iter().any(|(known, _)| *known == agent) {
                let task = tokio::spawn(listen(agent.clone(), shared.clone()));
                running.push((agent, Listening(task)));
            }
        }
        if settings.changed().await.is_err() {
            // The shell has ended; the agents go on until the process does.
            std::future::pending::<()>().await;
        }
    }
}

async fn listen(settings: AgentSettings, shared: Shared) {
    let listener = loop {
        match TcpListener::bind(&settings.listen).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(listen = settings.listen, %error, "the agent for HAProxy cannot listen; it tries again");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    };
    let settings = Arc::new(settings);
    let places = Arc::new(Semaphore::new(limits::AGENT_CONNECTIONS));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.telemetry.count(Metric::HttpRefused, &[]);
            continue;
        };
        let (settings, shared) = (Arc::clone(&settings), shared.clone());
        tokio::spawn(async move {
            drop(tokio::time::timeout(PATIENCE, answer(stream, peer, &settings, &shared)).await);
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, peer: SocketAddr, settings: &AgentSettings, shared: &Shared) {
    let text = if shared.agents.0.leaving.load(Ordering::Relaxed) {
        HEALTHY.to_owned()
    } else {
        line(settings, &shared.switchboard.borrow())
    };
    if stream.write_all(format!("{text}\n").as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    shared.agents.note(&settings.listen, peer.ip(), &text, shared.clock.now());
    shared.telemetry.count(Metric::AgentChecks, &[("switch", settings.switch.as_str())]);
    // What `agent-send` sent is read away: a close with something unread would take our line back.
    let mut rest = [0; 256];
    while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use super::super::switchboard::sample;
    use super::*;

    #[test]
    fn every_line_states_everything() {
        let check = |switch: &str, levels: &[(&str, AgentWord)], expected: &str| {
            let settings = AgentSettings {
                listen: String::new(),
                switch: SwitchName::new(switch).expect("a name"),
                levels: levels.iter().map(|(level, word)| ((*level).to_owned(), *word)).collect(),
            };
            assert_eq!(line(&settings, &sample()), expected, "{switch}");
        };
        check("recs", &[], "up ready 50%");
        check("recs", &[("cached", AgentWord::Weight(30))], "up ready 30%");
        check("recs", &[("cached", AgentWord::Drain)], "up drain 100%");
        check("recs", &[("cached", AgentWord::Maintenance)], "up maint 100%");
        check("recs", &[("cached", AgentWord::Down)], "down ready 100%");
        check("banner", &[], "up ready 100%");
        check("related", &[], "up ready 25%");
        check("checkout", &[], "up ready 100% maxconn:40");
        check("search", &[], "up ready 100%");
        check("gone", &[], "up ready 100%");
    }

    #[test]
    fn the_end_waits_for_peers_that_were_told_something_else_and_still_ask() {
        let (agents, peer) = (Agents::default(), IpAddr::from([127, 0, 0, 1]));
        let at = Timestamp::from_millis;
        assert!(!agents.owes(at(0)));
        agents.note("a", peer, "up ready 50%", at(0));
        assert!(agents.owes(at(1_000)));
        assert!(!agents.owes(at(61_000)), "it does not ask any more");
        agents.note("a", peer, HEALTHY, at(2_000));
        assert!(!agents.owes(at(2_000)));
    }
}

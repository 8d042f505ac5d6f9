//! Calls to a cluster of several endpoints: each try has a deadline, and what failed is tried at another endpoint at once.
//!
//! Errors that another endpoint may not have: no connection, no answer in time, `UNAVAILABLE` (no leader, a leader that
//! changed, a member that stops), and a full queue. Where no answer came in time in a large fleet, or before it is known
//! how large it is, the next try has twice the time: a store that is slow because everybody asks gets slower when everybody
//! asks again. Of thousands of hosts each gives it more time at once, and lets a call go after two tries that had no answer:
//! the store works on those, too. A write whose time is over takes its connection with it: it must not arrive when the
//! network is back. A token that is not valid any more is renewed once a call. All other
//! errors are etcd's answer and are given back in words that name the setting to look at.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use super::EtcdSettings;
use super::api;
use crate::limits;
use crate::net::grpc::{CallError, Channel, Messages};
use crate::net::wire::Message;
use crate::net::{Resolver, tls_config};
use crate::store::StoreError;
use crate::telemetry::{Metric, Telemetry};
use crate::time::Stopwatch;

const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

#[derive(Debug)]
pub(super) struct Client {
    settings: EtcdSettings,
    /// One place an endpoint; a connection is made when it is first needed.
    channels: Vec<tokio::sync::Mutex<Option<Channel>>>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    /// Since when an endpoint has answered no call.
    answered: Vec<Mutex<Option<Stopwatch>>>,
    /// Tries in a row that had no answer in time.
    slow: AtomicU32,
    /// How many hosts there are, or were not long ago; until that is known, very many.
    crowd: AtomicU64,
    /// When there were so many.
    counted: Mutex<Option<Stopwatch>>,
    /// This host stands for election: it is one of a few.
    stands: AtomicBool,
    token: Mutex<Token>,
    resolver: Resolver,
    telemetry: Telemetry,
}

#[derive(Clone, Debug, Default)]
enum Token {
    #[default]
    Unknown,
    /// The cluster asks nobody who they are.
    NotWanted,
    Is(HeaderValue),
}

/// What a call is answered with.
enum Answer {
    One(Vec<u8>),
    Stream(Box<Stream>),
}

/// What a call is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It may arrive late.
    Call,
    /// It must not.
    Write,
    /// Its answer may be long.
    List,
    Stream,
}

/// A stream of answers, and where to send more messages.
pub(super) type Stream = (tokio::sync::mpsc::Sender<axum::body::Bytes>, Messages);

impl Client {
    /// `start` spreads the hosts of a fleet over the endpoints.
    pub(super) fn new(settings: EtcdSettings, start: usize, telemetry: Telemetry) -> Client {
        let channels = settings.endpoints.iter().map(|_| tokio::sync::Mutex::default()).collect::<Vec<_>>();
        let current = AtomicUsize::new(start % channels.len().max(1));
        let answered = channels.iter().map(|_| Mutex::default()).collect();
        let (token, resolver) = (Mutex::default(), Resolver::new());
        let (slow, crowd) = (AtomicU32::new(0), AtomicU64::new(u64::MAX));
        let (counted, stands) = (Mutex::default(), AtomicBool::new(false));
        Client { settings, channels, current, answered, slow, crowd, counted, stands, token, resolver, telemetry }
    }

    /// Says how many hosts there are. Hosts that are not there because the store is slow come back: where there were more,
    /// there are more for some time.
    pub(super) fn of_fleet(&self, crowd: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let more = self.crowd().is_some_and(|known| known > crowd);
        let fresh = counted.as_ref().is_some_and(|counted| counted.elapsed() < limits::STORE_CROWD_LASTS);
        if !(more && fresh) {
            self.crowd.store(crowd, Ordering::Relaxed);
            *counted = Some(Stopwatch::start());
        }
    }

    /// Says whether this host stands for election.
    pub(super) fn stand(&self, stands: bool) {
        self.stands.store(stands, Ordering::Relaxed);
    }

    pub(super) fn stands(&self) -> bool {
        self.stands.load(Ordering::Relaxed)
    }

    /// How many hosts there are, or were not long ago, when that is known.
    pub(super) fn crowd(&self) -> Option<u64> {
        Some(self.crowd.load(Ordering::Relaxed)).filter(|crowd| *crowd < u64::MAX)
    }

    /// By how much signs of life are rarer than in a small fleet. Who stands for election gives them as in a small one.
    pub(super) fn spread(&self) -> u32 {
        if self.stands() { 1 } else { spread_of(self.crowd.load(Ordering::Relaxed)) }
    }

    /// Ends a connection that gives no sign of life any more; calls on it go to the next endpoint.
    pub(super) async fn abandon(&self, index: usize) {
        if let Some(channel) = self.channels[index].lock().await.take() {
            channel.abandon();
        }
    }

    /// How long the next try may take. Whoever stands for election must know soon whether its lease is kept; its writes and
    /// lists wait behind thousands of votes as those do, and a write that is given up takes the connection with it.
    fn patience(&self, kind: Kind) -> Duration {
        let crowd = self.crowd();
        let longer = if self.may_be_large() { 2_u32.pow(self.slow.load(Ordering::Relaxed).min(4)) } else { 1 };
        let spread = match crowd {
            None => 1,
            Some(crowd) if matches!(kind, Kind::Write | Kind::List) => spread_of(crowd),
            Some(_) => self.spread(),
        };
        (limits::STORE_TRY * longer.max(spread)).min(limits::STORE_TRY_LARGE)
    }

    /// Whether the fleet is large, or it is not known yet how large it is.
    fn may_be_large(&self) -> bool {
        self.crowd().is_none_or(|crowd| crowd > limits::STORE_CENSUS_FOR_ALL)
    }

    fn answered(&self, index: usize) -> MutexGuard<'_, Option<Stopwatch>> {
        self.answered[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long an endpoint has answered no call.
    pub(super) fn quiet(&self, index: usize) -> Duration {
        self.answered(index).as_ref().map_or(Duration::MAX, Stopwatch::elapsed)
    }

    /// Goes on with the next endpoint: this one has fallen silent.
    pub(super) fn move_on(&self, from: usize) {
        let next = (from + 1) % self.channels.len();
        if self.current.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.telemetry.count(Metric::StoreRetries, &[("endpoint", &self.settings.endpoints[from])]);
        }
    }

    /// A call with one answer.
    pub(super) async fn call(&self, path: &'static str, message: &Message) -> Result<Vec<u8>, StoreError> {
        self.one(path, message, Kind::Call).await
    }

    /// The same for what changes a switch: when it fails for want of an answer, it is not delivered later either.
    pub(super) async fn write(&self, path: &'static str, message: &Message) -> Result<Vec<u8>, StoreError> {
        self.one(path, message, Kind::Write).await
    }

    /// The same for what is read of a whole fleet.
    pub(super) async fn list(&self, path: &'static str, message: &Message) -> Result<Vec<u8>, StoreError> {
        self.one(path, message, Kind::List).await
    }

    async fn one(&self, path: &'static str, message: &Message, kind: Kind) -> Result<Vec<u8>, StoreError> {
        match self.anywhere(path, &message.0, kind).await? {
            (Answer::One(answer), _) => Ok(answer),
            (Answer::Stream(_), _) => Err(StoreError::Unreachable("a stream that nobody asked for".to_owned())),
        }
    }

    /// Opens a stream, and says at which endpoint.
    pub(super) async fn stream(&self, path: &'static str, first: &Message) -> Result<(Stream, usize), StoreError> {
        match self.anywhere(path, &first.0, Kind::Stream).await? {
            (Answer::Stream(stream), index) => Ok((*stream, index)),
            (Answer::One(_), _) => Err(StoreError::Unreachable("no stream although one was asked for".to_owned())),
        }
    }

    /// Tries every endpoint, and the first one twice; in a large fleet no more than two that have no answer in time.
    async fn anywhere(&self, path: &str, message: &[u8], kind: Kind) -> Result<(Answer, usize), StoreError> {
        let mut renewed = false;
        let mut unanswered = 0;
        let mut last = CallError::Broken("there is no endpoint".to_owned());
        for _ in 0..=self.channels.len() {
            let index = self.current.load(Ordering::Relaxed);
            let (patience, begun) = (self.patience(kind), Stopwatch::start());
            let error = match tokio::time::timeout(patience, self.at(index, path, message, kind)).await {
                Ok(answered) => {
                    if begun.elapsed() < limits::STORE_TRY / 2 {
                        self.slow.store(0, Ordering::Relaxed);
                    }
                    match answered {
                        Ok(answer) => {
                            *self.answered(index) = Some(Stopwatch::start());
                            return Ok((answer, index));
                        }
                        Err(error) => error,
                    }
                }
                Err(_) => {
                    self.slow.fetch_add(1, Ordering::Relaxed);
                    unanswered += 1;
                    if kind == Kind::Write {
                        self.abandon(index).await;
                    }
                    CallError::Broken(format!("{}: no answer in time", self.settings.endpoints[index]))
                }
            };
            if self.wants_token(&error) && !renewed {
                renewed = true;
                *self.token() = Token::Unknown;
            } else if elsewhere(&error) {
                self.move_on(index);
            } else {
                return Err(self.explain(error));
            }
            last = error;
            if unanswered >= limits::STORE_UNANSWERED && self.may_be_large() {
                break;
            }
        }
        Err(self.explain(last))
    }

    async fn at(&self, index: usize, path: &str, message: &[u8], kind: Kind) -> Result<Answer, CallError> {
        let channel = self.channel(index).await?;
        let mut metadata = HeaderMap::new();
        // A member that is cut off from its leader says so, instead of being silent.
        metadata.insert("hasleader", HeaderValue::from_static("true"));
        if let Token::Is(token) = self.signed_in(&channel).await? {
            metadata.insert("token", token);
        }
        let most = limits::STORE_ANSWER_BYTES;
        if kind == Kind::Stream {
            let stream = channel.stream(path, &metadata, message, most).await?;
            return Ok(Answer::Stream(Box::new(stream)));
        }
        channel.call(path, &metadata, message, most).await.map(Answer::One)
    }

    async fn channel(&self, index: usize) -> Result<Channel, CallError> {
        let mut place = self.channels[index].lock().await;
        if let Some(channel) = place.as_ref().filter(|channel| channel.is_open()) {
            return Ok(channel.clone());
        }
        let base = &self.settings.endpoints[index];
        let config = if base.starts_with("https://") {
            // Read anew for each connection, so that certificates can be renewed; off the event loop, as it reads files.
            let settings = self.settings.tls.clone();
            let read = tokio::task::spawn_blocking(move || tls_config(&settings)).await;
            let read = read.map_err(|error| CallError::Broken(error.to_string()))?;
            let mut config = read.map_err(|error| CallError::Certificate(error.to_string()))?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(Arc::new(config))
        } else {
            None
        };
        let name = self.settings.tls.server_name.as_deref();
        let channel = Channel::connect(base, config, name, &self.resolver, self.spread()).await?;
        *place = Some(channel.clone());
        Ok(channel)
    }

    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of our user; asks for one when we have none.
    async fn signed_in(&self, channel: &Channel) -> Result<Token, CallError> {
        let Some((user, password)) = &self.settings.user else { return Ok(Token::NotWanted) };
        let known = self.token().clone();
        if !matches!(known, Token::Unknown) {
            return Ok(known);
        }
        let password = password.read().map_err(|error| CallError::Certificate(error.to_string()))?;
        let message = api::authenticate(user, password.expose());
        let most = limits::STORE_ANSWER_BYTES;
        let answer = channel.call(api::AUTHENTICATE, &HeaderMap::new(), &message.0, most).await;
        let token = match answer {
            Ok(answer) => {
                let token = api::read_token(&answer).and_then(|token| HeaderValue::try_from(token).ok());
                Token::Is(token.ok_or_else(|| CallError::Broken("a token that cannot be sent".to_owned()))?)
            }
            Err(CallError::Status { code: FAILED_PRECONDITION, message }) if message.contains("not enabled") => {
                tracing::warn!(user, "the shared store has users turned off; it lets everybody in");
                Token::NotWanted
            }
            Err(error) => return Err(error),
        };
        *self.token() = token.clone();
        Ok(token)
    }

    fn wants_token(&self, error: &CallError) -> bool {
        let CallError::Status { code, message } = error else { return false };
        let unknown = message.contains("user name is empty") || message.contains("revision in header is old");
        let old = unknown || message.contains("auth store is old") || message.contains("invalid auth token");
        self.settings.user.is_some() && (*code == UNAUTHENTICATED || (*code == INVALID_ARGUMENT && old))
    }

    /// The error in words for the one who keeps the configuration.
    fn explain(&self, error: CallError) -> StoreError {
        let user = self.settings.user.as_ref().map(|(user, _)| user.as_str());
        match error {
            CallError::Status { code: UNAVAILABLE | RESOURCE_EXHAUSTED, message } => StoreError::Unreachable(message),
            CallError::Broken(why) => StoreError::Unreachable(why),
            CallError::Certificate(why) => StoreError::Refused(why),
            CallError::Status { message, .. } if message.contains("authentication failed") => {
                let user = user.unwrap_or_default();
                StoreError::Refused(format!(
                    "the password of user `{user}` is wrong, or there is no such user ({message})"
                ))
            }
            CallError::Status { message, .. } if message.contains("user name is empty") => {
                StoreError::Refused(format!("it wants a user: give `username` and `password_file` ({message})"))
            }
            CallError::Status { code: PERMISSION_DENIED, message } => {
                let nobody = "this client, which gives no `username`,".to_owned();
                let who = user.map_or(nobody, |user| format!("user `{user}`"));
                let prefix = &self.settings.prefix;
                StoreError::Refused(format!("{who} has no right to read and write keys under `{prefix}` ({message})"))
            }
            CallError::Status { code, message } => StoreError::Refused(format!("{message} (gRPC status {code})")),
        }
    }
}

/// By how much signs of life are rarer in a fleet of so many hosts: not at all below 2,000, five times from 5,000 on.
fn spread_of(crowd: u64) -> u32 {
    u32::try_from(crowd / limits::STORE_SPREAD).unwrap_or(u32::MAX).clamp(1, limits::STORE_SPREAD_MOST)
}

/// Whether another endpoint may do better.
fn elsewhere(error: &CallError) -> bool {
    match error {
        CallError::Broken(_) | CallError::Certificate(_) => true,
        CallError::Status { code, .. } => matches!(*code, UNAVAILABLE | RESOURCE_EXHAUSTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_rarer_from_two_thousand_hosts_on_and_at_most_five_times() {
        let table = [(0, 1), (1, 1), (1_999, 1), (2_000, 2), (4_999, 4), (5_000, 5), (10_000, 5), (u64::MAX, 5)];
        for (crowd, expected) in table {
            assert_eq!(spread_of(crowd), expected, "{crowd} hosts");
        }
    }

    #[test]
    fn an_endpoint_is_quiet_until_it_answers() {
        let client = Client::new(EtcdSettings::of_nobody(), 0, Telemetry::new());
        assert_eq!(client.quiet(0), Duration::MAX);
        *client.answered(0) = Some(Stopwatch::start());
        assert!(client.quiet(0) < Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_let_go_after_two_tries_without_an_answer_where_thousands_ask() {
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let ports = silent.iter().map(|silent| silent.local_addr().expect("an address").port());
        let endpoints: Vec<String> = ports.map(|port| format!("http://127.0.0.1:{port}")).collect();
        for (crowd, tries) in [(10_000, 2.0), (3, 4.0)] {
            let settings = EtcdSettings { endpoints: endpoints.clone(), ..EtcdSettings::of_nobody() };
            let client = Client::new(settings, 0, Telemetry::new());
            client.of_fleet(crowd);
            let answer = client.list(api::RANGE, &api::Range::key("k").message()).await;
            assert!(matches!(answer, Err(StoreError::Unreachable(_))), "{answer:?}");
            let tried = |endpoint: &String| client.telemetry.get(Metric::StoreRetries, &[("endpoint", endpoint)]);
            let tried: f64 = endpoints.iter().filter_map(tried).sum();
            assert!((tried - tries).abs() < 0.5, "{crowd} hosts: {tried}");
        }
    }

    #[test]
    fn a_fleet_stays_as_large_as_it_was_while_a_slow_store_shows_fewer() {
        let client = Client::new(EtcdSettings::of_nobody(), 0, Telemetry::new());
        let seen = |client: &Client| (client.crowd(), client.spread(), client.patience(Kind::Call));
        // Nothing is known: an answer is not waited for long, and the connection is made as for a large fleet.
        assert_eq!(seen(&client), (None, 5, limits::STORE_TRY));
        for (shown, crowd, spread, patience) in
            [(10, 10, 1, 1_500), (3_000, 3_000, 3, 4_500), (40, 3_000, 3, 4_500), (10_000, 10_000, 5, 6_000)]
        {
            client.of_fleet(shown);
            assert_eq!(seen(&client), (Some(crowd), spread, Duration::from_millis(patience)), "{shown} are shown");
        }
        // One of the few that stand for election.
        client.stand(true);
        assert_eq!(seen(&client), (Some(10_000), 1, limits::STORE_TRY));
        assert_eq!(client.patience(Kind::Write), limits::STORE_TRY_LARGE);
        assert_eq!(client.patience(Kind::List), limits::STORE_TRY_LARGE);
    }
}

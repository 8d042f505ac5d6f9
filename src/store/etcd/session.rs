//! The session: what its tasks share, and the task that follows the store.
//!
//! Following: read everything at one revision, watch from the next one, ask the watch for a sign of life every two seconds.
//! A watch that is silent for five seconds, breaks, or is cancelled is opened again at once, at another endpoint; the
//! table counts as stale only when that fails, too. What was silent is not used again for anything: its connection is ended.
//! Where there are thousands of hosts these times are longer, up to five times, and a call that was answered on the watch's
//! connection, such as the lease's, is a sign of life as well: theirs would be most of what the store has to do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::EtcdSettings;
use super::api::{self, Done, Op, Range, Ranged};
use super::cache;
use super::client::{Client, Stream};
use super::keys::Keys;
use super::lease::{Hold, unreadable};
use super::mirror::{Listed, Mirror, News};
use crate::limits;
use crate::net::grpc::framed;
use crate::rng::Rng;
use crate::store::{Reach, StoreError, Table};
use crate::switches::{Census, Member, Shares, Staged, Term};
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Stopwatch};

/// In a large fleet the votes are shown to the one who counts no more often than this.
const CENSUS_PAUSE: Duration = Duration::from_millis(50);

/// While nobody counts, in a fleet of more hosts only so many of their lists a minute do; the others go by what they knew.
const COUNTED_BY: u64 = 300;

/// A watch in a large fleet is looked at every so many times two seconds, however seldom it is asked for a sign of life.
const BEATS: u32 = 2;

/// How the reasons begin that are etcd's own answer.
const REFUSES: &str = "the store refuses";
/// How an error begins that says so too.
const OUT_OF_REACH: &str = "the store is out of reach: ";

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) settings: EtcdSettings,
    pub(super) keys: Keys,
    pub(super) client: Client,
    cache: Option<PathBuf>,
    clock: Clock,
    pub(super) telemetry: Telemetry,
    mirror: Mutex<Mirror>,
    hold: Mutex<Hold>,
    /// This host has something new to say.
    pub(super) said: Notify,
    /// Whether this host counts has changed: it may need the votes.
    pub(super) recount: Notify,
    pub(super) table: watch::Sender<Arc<Table>>,
    pub(super) census: watch::Sender<Arc<Census>>,
    pub(super) term: watch::Sender<Option<Term>>,
    pub(super) reach: watch::Sender<Reach>,
    pub(super) staged: watch::Sender<Arc<Staged>>,
    pub(super) shares: watch::Sender<Arc<Shares>>,
    /// Another host of this one's name.
    pub(super) rival: watch::Sender<Option<Member>>,
    /// Why the store cannot be used; empty when it can.
    pub(super) trouble: watch::Sender<String>,
    /// What was told since the store was in reach: its members have each their own words.
    told: Mutex<BTreeSet<String>>,
    rng: Mutex<Rng>,
    tasks: Mutex<Vec<AbortHandle>>,
    pub(super) writes: AtomicU64,
}

/// What is followed beside switches and configuration.
#[derive(Clone, Copy, PartialEq)]
struct Follows {
    /// Presence and votes.
    census: bool,
    /// Who stands for election.
    election: bool,
}

/// Why a watch ended.
enum Ended {
    /// It broke off, or lost its leader.
    Lost(String),
    /// It gave no sign of life.
    Silent,
    /// What it wanted to go on from is gone.
    Compacted,
    /// Votes or the election are to be followed that were not, or the other way round.
    Wanted,
}

impl Inner {
    pub(super) fn new(
        settings: EtcdSettings,
        cache: Option<PathBuf>,
        clock: Clock,
        telemetry: Telemetry,
    ) -> Arc<Inner> {
        let keys = Keys::new(&settings.prefix);
        let table = cache.as_deref().and_then(cache::read).unwrap_or_default();
        let now = clock.now();
        let named = settings.host.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mirror = Mirror::new(keys.clone(), table);
        let table = Arc::clone(&mirror.table);
        let client = Client::new(settings.clone(), named as usize % 1_000, telemetry.clone());
        let seed = named ^ now.as_millis().unsigned_abs();
        Arc::new(Inner {
            settings,
            keys,
            client,
            cache,
            clock,
            telemetry,
            mirror: Mutex::new(mirror),
            hold: Mutex::default(),
            said: Notify::new(),
            recount: Notify::new(),
            table: watch::Sender::new(table),
            census: watch::Sender::new(Arc::default()),
            term: watch::Sender::new(None),
            reach: watch::Sender::new(Reach::Lost { since: now }),
            staged: watch::Sender::new(Arc::default()),
            shares: watch::Sender::new(Arc::default()),
            rival: watch::Sender::default(),
            trouble: watch::Sender::default(),
            told: Mutex::default(),
            rng: Mutex::new(Rng::seeded(seed)),
            tasks: Mutex::default(),
            writes: Default::default(),
        })
    }

    pub(super) fn start(self: &Arc<Inner>) {
        self.telemetry.set(Metric::StoreConnected, &[], 0.0);
        let (follower, keeper, writer) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(tokio::spawn(async move { follower.follow().await }).abort_handle());
        tasks.push(tokio::spawn(async move { keeper.keep_lease().await }).abort_handle());
        tasks.push(tokio::spawn(async move { writer.keep_cache().await }).abort_handle());
    }

    pub(super) fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number in [0, 1).
    pub(super) fn lot(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).unit()
    }

    /// How long to wait after so many failures: twice as long each time, and longer where many hosts wait for one store.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let most = if self.is_large() { limits::STORE_PAUSE_LARGE } else { limits::STORE_PAUSE };
        (Duration::from_millis(200) * 2_u32.pow(failures.clamp(1, 10) - 1)).min(most).mul_f64(0.5 + self.lot())
    }

    /// How many hosts there are, as far as this one knows.
    pub(super) fn crowd(&self) -> u64 {
        self.client.crowd().unwrap_or(0)
    }

    fn is_large(&self) -> bool {
        self.crowd() > limits::STORE_CENSUS_FOR_ALL
    }

    /// Why a write is not tried now: whoever writes must not wait for deadlines, and nothing is to arrive late.
    pub(super) fn in_reach(&self) -> Result<(), StoreError> {
        if self.reach.borrow().is_connected() {
            return Ok(());
        }
        let trouble = self.trouble.borrow();
        let why = if trouble.is_empty() { "its first answer is not there yet" } else { trouble.as_str() };
        Err(StoreError::Unreachable(why.strip_prefix(OUT_OF_REACH).unwrap_or(why).to_owned()))
    }

    /// Tells an error once, not with every try.
    pub(super) fn troubled(&self, error: &StoreError) {
        let text = error.to_string();
        self.trouble.send_if_modified(|known| {
            // A server that does not want us may also just close: the better reason stays.
            let worse = matches!(error, StoreError::Unreachable(_)) && known.starts_with(REFUSES);
            let news = *known != text && !worse;
            if news {
                known.clone_from(&text);
            }
            news
        });
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < limits::STORE_TROUBLES && *self.trouble.borrow() == text && told.insert(text.clone()) {
            tracing::error!(error = text, "the shared store cannot be used; the last values stay");
        }
    }

    fn connected(&self) {
        self.telemetry.set(Metric::StoreConnected, &[], 1.0);
        self.synced();
        self.trouble.send_replace(String::new());
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if !self.reach.send_replace(Reach::Connected).is_connected() {
            tracing::info!("the shared store is in reach");
            self.said.notify_one();
        }
    }

    fn synced(&self) {
        self.telemetry.set(Metric::StoreLastSync, &[], self.clock.now().as_secs_f64());
    }

    fn lost(&self) {
        self.telemetry.set(Metric::StoreConnected, &[], 0.0);
        let since = self.clock.now();
        self.reach.send_if_modified(|reach| {
            let news = reach.is_connected();
            if news {
                *reach = Reach::Lost { since };
            }
            news
        });
    }

    /// Follows the store for as long as the session lasts.
    async fn follow(&self) {
        let mut failures = 0_u32;
        let mut reason = "begin";
        loop {
            match self.follow_once(reason).await {
                Ok(Ended::Wanted) => reason = "census",
                Ok(Ended::Compacted) => reason = "compacted",
                Ok(ended @ (Ended::Lost(_) | Ended::Silent)) => {
                    let why = if let Ended::Lost(why) = ended { why } else { "it fell silent".to_owned() };
                    tracing::warn!(why, "the watch of the shared store ended; it is opened again");
                    reason = "begin";
                    // Where a member was lost, thousands come to the others.
                    let crowd = Duration::from_micros(100) * u32::try_from(self.crowd()).unwrap_or(u32::MAX);
                    let apart = if self.is_large() { crowd.min(limits::STORE_APART) } else { Duration::ZERO };
                    tokio::time::sleep(apart.mul_f64(self.lot())).await;
                }
                Err(error) => {
                    self.lost();
                    self.troubled(&error);
                    failures += 1;
                    reason = "begin";
                    tokio::time::sleep(self.pause(failures)).await;
                    continue;
                }
            }
            failures = 0;
        }
    }

    async fn follow_once(&self, reason: &'static str) -> Result<Ended, StoreError> {
        let (from, crowd) = self.relist(reason, self.counts()).await?;
        let follows = self.wanted(crowd);
        // The crowd is known now; in a small one the votes are wanted, too.
        let from = if follows.census { self.relist(reason, true).await?.0 } else { from };
        let first = api::watch_prefix(&self.keys.all("switches"), from, 1);
        let (stream, endpoint) = self.client.stream(api::WATCH, &first).await?;
        let mut others =
            vec![(self.keys.all("config"), 2), (self.keys.told(&self.settings.host), 7), (self.keys.all("queries"), 8)];
        if follows.election {
            others.push((self.keys.all("counter"), 3));
        }
        if follows.census {
            others.extend([("members", 4), ("votes", 5), ("alerts", 6)].map(|(kind, id)| (self.keys.all(kind), id)));
        }
        for (prefix, id) in others {
            let message = api::watch_prefix(&prefix, from, id);
            drop(stream.0.send(framed(&message.0)).await);
        }
        self.connected();
        let ended = self.listen(stream, endpoint, follows).await;
        if matches!(ended, Ended::Lost(_) | Ended::Silent) {
            self.client.move_on(endpoint);
        }
        if matches!(ended, Ended::Silent) {
            self.client.abandon(endpoint).await;
        }
        Ok(ended)
    }

    /// Whether this host is the one that counts.
    fn counts(&self) -> bool {
        self.term.borrow().is_some()
    }

    /// What to follow in a fleet of so many hosts. In a large one a change of those who stand would be thousands of
    /// messages: only they follow it.
    fn wanted(&self, crowd: u64) -> Follows {
        let census = crowd <= limits::STORE_CENSUS_FOR_ALL || self.counts();
        Follows { census, election: census || self.client.stands() }
    }

    /// Whether who stands is known at every moment; else it is as of the last list.
    pub(super) fn follows_election(&self) -> bool {
        self.wanted(self.crowd()).election
    }

    /// Takes what a watch at an endpoint says until it ends.
    async fn listen(&self, (sender, mut messages): Stream, endpoint: usize, follows: Follows) -> Ended {
        let mut heard = Stopwatch::start();
        // Whoever counts must not be deaf for long, and is one.
        let rarer = || if follows.census { 1 } else { self.client.spread() };
        let mut spread = rarer();
        let mut beat = tokio::time::interval(limits::STORE_HEARTBEAT * spread.min(BEATS));
        // Hosts that began at one moment do not all read everything at one moment.
        let first_relist = limits::STORE_RELIST.mul_f64(0.5 + self.lot());
        let mut relist = tokio::time::interval_at(soon(first_relist), limits::STORE_RELIST);
        let mut show = None;
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ended::Lost("it was closed".to_owned()),
                        Err(error) => return Ended::Lost(error.to_string()),
                    };
                    heard = Stopwatch::start();
                    self.synced();
                    let Some(watched) = api::read_watch(&message) else {
                        return Ended::Lost("an answer that is none of etcd's".to_owned());
                    };
                    if watched.compacted > 0 {
                        return Ended::Compacted;
                    }
                    if watched.cancelled {
                        return Ended::Lost(watched.reason);
                    }
                    let (news, crowd) = {
                        let mut mirror = self.mirror();
                        (mirror.hear(&watched.events), mirror.census.members.len() as u64)
                    };
                    if self.take(&news) && show.is_none() {
                        show = Some(soon(self.census_pause()));
                    }
                    if follows.census && !self.wanted(crowd).census {
                        return Ended::Wanted;
                    }
                }
                () = at(show) => {
                    show = None;
                    self.show_census();
                }
                _ = beat.tick() => {
                    let mut quiet = heard.elapsed();
                    if spread > 1 {
                        // Calls have the watch's connection: an answer to one is a sign of life, too.
                        quiet = quiet.min(self.client.quiet(endpoint));
                    }
                    if quiet > limits::STORE_SILENCE * spread {
                        return Ended::Silent;
                    }
                    if spread == 1 || quiet > limits::STORE_QUIET * spread {
                        // A full queue means that the one before was not sent yet.
                        drop(sender.try_send(framed(&api::watch_progress().0)));
                    }
                }
                _ = relist.tick() => match self.relist_by_the_minute(follows.census).await {
                    Ok(None) => {}
                    Ok(Some(crowd)) => {
                        if self.wanted(crowd) != follows {
                            return Ended::Wanted;
                        }
                        if spread != rarer() {
                            spread = rarer();
                            beat = tokio::time::interval(limits::STORE_HEARTBEAT * spread.min(BEATS));
                        }
                    }
                    Err(error) => return Ended::Lost(error.to_string()),
                },
                () = self.recount.notified() => {
                    let wanted = self.wanted(self.crowd());
                    if (wanted.census && !follows.census) || (wanted.election && !follows.election) {
                        return Ended::Wanted;
                    }
                }
            }
        }
    }

    fn census_pause(&self) -> Duration {
        match self.mirror().census.members.len() {
            0..=200 => Duration::ZERO,
            201..=2_000 => CENSUS_PAUSE,
            _ => CENSUS_PAUSE * 2,
        }
    }

    /// Reads everything although the watch says all that changes; gives how many hosts there are. The watch waits meanwhile,
    /// so in a large fleet the list has the time of one try, and a store that is too slow for it is asked in a minute again:
    /// `None`. It still says what changes, and opening thousands of watches anew would make it slower.
    async fn relist_by_the_minute(&self, with_census: bool) -> Result<Option<u64>, StoreError> {
        let asked = self.ask_for_all("minute", with_census);
        let asked = if self.is_large() {
            match tokio::time::timeout(limits::STORE_TRY, asked).await {
                Ok(Err(StoreError::Unreachable(_))) | Err(_) => {
                    tracing::debug!(
                        "the shared store is too slow for a list that is only to be sure; the watch goes on"
                    );
                    return Ok(None);
                }
                Ok(asked) => asked?,
            }
        } else {
            asked.await?
        };
        self.listed(asked, with_census).await.map(|(_, crowd)| Some(crowd))
    }

    /// Reads everything at one revision. Gives the revision to watch from, and how many hosts there are.
    pub(super) async fn relist(&self, reason: &'static str, with_census: bool) -> Result<(u64, u64), StoreError> {
        let asked = self.ask_for_all(reason, with_census).await?;
        self.listed(asked, with_census).await
    }

    /// Asks for everything; gives the answer, and how many hosts there are where that is known without it.
    async fn ask_for_all(&self, reason: &'static str, with_census: bool) -> Result<(Done, Option<u64>), StoreError> {
        self.telemetry.count(Metric::StoreRelists, &[("reason", reason)]);
        let members = Range::prefix(&self.keys.all("members"));
        let mut ops = vec![
            Op::Range(Range::prefix(&self.keys.all("switches"))),
            Op::Range(Range::prefix(&self.keys.all("counter"))),
            Op::Range(Range::prefix(&self.keys.all("config"))),
            Op::Range(Range::key(&self.keys.told(&self.settings.host))),
            Op::Range(Range::prefix(&self.keys.all("queries"))),
        ];
        // etcd walks over all keys that it counts: where there are thousands, few lists do that.
        let told = self.mirror().elected().is_some_and(|elected| elected.hosts.is_some());
        let walks = |crowd: u64| with_census || (!told && self.lot() * (crowd as f64) < COUNTED_BY as f64);
        let known = self.client.crowd().filter(|crowd| !walks(*crowd));
        if known.is_none() {
            ops.push(Op::Range(Range { count_only: !with_census, ..members }));
        }
        if with_census {
            ops.extend(["votes", "alerts"].map(|kind| Op::Range(Range::prefix(&self.keys.all(kind)))));
        }
        let answer = self.client.list(api::TXN, &api::txn(&[], &ops, &[])).await?;
        Ok((api::read_txn(&answer).ok_or_else(unreadable)?, known))
    }

    /// Takes what was read.
    async fn listed(&self, asked: (Done, Option<u64>), with_census: bool) -> Result<(u64, u64), StoreError> {
        let (done, known) = asked;
        let mut answers = done.answers.into_iter();
        let (Some(switches), Some(counters), Some(config)) = (answers.next(), answers.next(), answers.next()) else {
            return Err(unreadable());
        };
        let told = answers.by_ref().take(2).flat_map(|told| told.kvs).collect();
        let members = if known.is_none() { answers.next().ok_or_else(unreadable)? } else { Ranged::default() };
        let counted = members.count;
        let census = with_census.then(|| members.kvs.into_iter().chain(answers.flat_map(|more| more.kvs)).collect());
        let (switches, counters, config) = (switches.kvs, counters.kvs, config.kvs);
        let news = {
            let mut mirror = self.mirror();
            let mut news = mirror.list(Listed { header: done.header, switches, counters, config, census, told });
            if !with_census {
                news.census |= mirror.forget_census();
            }
            news
        };
        // Who counts knows best, and says it.
        let told = self.mirror().elected().and_then(|elected| elected.hosts).filter(|_| !with_census);
        let crowd = told.or(known).unwrap_or(counted);
        if told.is_some() || known.is_none() {
            self.client.of_fleet(crowd);
        }
        if self.take(&news) {
            self.show_census();
        }
        self.synced();
        for (place, name, record) in &news.lost {
            tracing::error!(switch = %name, "the shared store lost a switch; it is put there again");
            self.put_again(place, name, record).await?;
        }
        if news.lost_stage {
            self.put_stage_again().await?;
        }
        Ok((done.header.revision + 1, crowd))
    }

    /// Shows what is new of the table and the election; true when the census is new, too.
    pub(super) fn take(&self, news: &News) -> bool {
        for problem in &news.problems {
            tracing::error!(problem, "the shared store holds something that cannot be read; it is left aside");
        }
        if news.table {
            let table = Arc::clone(&self.mirror().table);
            self.table.send_if_modified(|shown| {
                let newer = shown.revision < table.revision;
                if newer {
                    *shown = table;
                }
                newer
            });
            self.look_at_turn();
        }
        if news.staged {
            self.staged.send_replace(Arc::clone(&self.mirror().staged));
        }
        if news.shares {
            self.shares.send_replace(Arc::clone(&self.mirror().shares));
        }
        if news.counters {
            self.decide_office();
            // There may be room to stand for election.
            self.said.notify_one();
        }
        news.census
    }

    fn show_census(&self) {
        let mut census = self.mirror().census.clone();
        if self.rival.borrow().is_some() {
            // It is said of the other.
            census.told.clear();
        }
        self.census.send_replace(Arc::new(census));
    }

    /// Keeps the last table on the disk.
    async fn keep_cache(&self) {
        let Some(path) = self.cache.clone() else { return };
        let mut tables = self.table.subscribe();
        while tables.changed().await.is_ok() {
            let (table, path) = (Arc::clone(&tables.borrow_and_update()), path.clone());
            let written = tokio::task::spawn_blocking(move || cache::write(&path, &table)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, "the copy of the shared store on the disk is old");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to sleep until, not a time to decide by")]
fn soon(after: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + after
}

/// Sleeps until an instant; for ever without one.
async fn at(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

//! The embedded store: one JSON file a person can read, replaced whole at each change, and an append-only list of
//! decisions.
//!
//! A write appends its decision to `decisions.jsonl`, then replaces `switches.json` (new file, fsync, rename, fsync of
//! the folder), and only then shows the new table to readers. The file before stays as `switches.json.bak` and is read
//! when the newer one is damaged.
//!
//! It is a fleet of one: always in reach, and this host is always the one that counts; what the host says of itself is
//! all there is of a census.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::{Mine, Reach, Store, StoreError, Table};
use crate::journal::sync_folder;
use crate::limits;
use crate::model::SwitchName;
use crate::switches::{
    Bundle, Census, Decision, HandOver, Member, Place, Record, Shares, Shelf, StageWrite, Staged, Term, Write,
};

/// The store of one host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Held while a write is on its way to the disk.
    writing: Mutex<()>,
    table: watch::Sender<Arc<Table>>,
    /// How the host calls itself.
    host: String,
    census: watch::Sender<Arc<Census>>,
    term: watch::Sender<Option<Term>>,
    reach: watch::Sender<Reach>,
    rival: watch::Sender<Option<Member>>,
    /// Lost with the process: of one host, the journal keeps what is under way.
    outbox: Mutex<BTreeMap<String, Value>>,
}

/// Records by the names of their switches.
type Records = BTreeMap<String, Record>;

#[derive(Serialize, Deserialize)]
pub(super) struct OnDisk {
    format: u32,
    revision: u64,
    switches: Records,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    zones: BTreeMap<String, Records>,
}

impl OnDisk {
    pub(super) fn of(table: &Table) -> OnDisk {
        let text = |records: &BTreeMap<SwitchName, Record>| -> Records {
            records.iter().map(|(name, record)| (name.to_string(), record.clone())).collect()
        };
        let zones = table.zones.iter().map(|(zone, records)| (zone.clone(), text(records))).collect();
        OnDisk { format: 1, revision: table.revision, switches: text(&table.switches), zones }
    }

    pub(super) fn into_table(self) -> std::io::Result<Table> {
        let zones = self.zones.into_iter().map(|(zone, records)| Ok((zone, named(records)?)));
        let zones = zones.collect::<std::io::Result<_>>()?;
        Ok(Table { revision: self.revision, switches: named(self.switches)?, zones })
    }
}

fn named(records: Records) -> std::io::Result<BTreeMap<SwitchName, Record>> {
    let named = |(name, record): (String, Record)| SwitchName::new(&name).map(|name| (name, record));
    records.into_iter().map(named).collect::<Result<_, _>>().map_err(std::io::Error::other)
}

impl Embedded {
    /// Opens the store in a folder; a missing file is an empty store.
    ///
    /// # Errors
    /// When the folder cannot be made, or neither the file nor its backup can be read although one exists.
    pub fn open(folder: &Path, host: &str) -> Result<Embedded, StoreError> {
        let path = folder.join("switches.json");
        let fail = |action: &'static str| {
            let path = path.clone();
            move |error| StoreError::Io { path, action, error: Arc::new(error) }
        };
        std::fs::create_dir_all(folder).map_err(fail("make its folder"))?;
        let table = match read_table(&path) {
            Ok(table) => table,
            Err(error) => match read_table(&path.with_extension("json.bak")) {
                Ok(Some(backup)) => {
                    tracing::warn!(path = %path.display(), %error, "switches file is damaged, using its backup");
                    std::fs::copy(&path, path.with_extension("json.damaged")).map_err(fail("set it aside"))?;
                    Some(backup)
                }
                _ => return Err(fail("read it")(error)),
            },
        };
        let inner = Inner {
            folder: folder.to_owned(),
            writing: Mutex::new(()),
            table: watch::Sender::new(Arc::new(table.unwrap_or_default())),
            host: host.to_owned(),
            census: watch::Sender::new(Arc::new(Census { counter: Some(host.to_owned()), ..Census::default() })),
            term: watch::Sender::new(Some(Term { key: String::new(), number: 1 })),
            reach: watch::Sender::new(Reach::Connected),
            rival: watch::Sender::default(),
            outbox: Mutex::default(),
        };
        Ok(Embedded { inner: Arc::new(inner) })
    }

    fn put(&self, write: &Write) -> Result<Arc<Table>, StoreError> {
        let _one_at_a_time = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = Arc::clone(&self.inner.table.borrow());
        if write.place == Place::Host {
            return Err(StoreError::NotShared(write.name.clone()));
        }
        let known = current.get(&write.place, &write.name);
        if known == Some(&write.record) {
            return Ok(current);
        }
        let found = known.map_or(0, |record| record.revision);
        if found != write.expected {
            return Err(StoreError::Conflict { name: write.name.clone(), expected: write.expected, found });
        }
        let known = known.and_then(|record| record.decision.as_ref());
        if let Some(decision) = write.record.decision.as_ref().filter(|decision| Some(*decision) != known) {
            self.append_decision(decision)?;
        }
        let mut table = Table::clone(&current);
        table.revision += 1;
        table.put(&write.place, write.name.clone(), write.record.clone());
        self.write_table(&table)?;
        let table = Arc::new(table);
        self.inner.table.send_replace(Arc::clone(&table));
        Ok(table)
    }

    fn append_decision(&self, decision: &Decision) -> Result<(), StoreError> {
        let path = self.inner.folder.join("decisions.jsonl");
        let append = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(decision)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(&line)?;
            file.sync_data()
        };
        append().map_err(|error| StoreError::Io {
            path: path.clone(),
            action: "append a decision",
            error: Arc::new(error),
        })
    }

    fn write_table(&self, table: &Table) -> Result<(), StoreError> {
        let path = self.inner.folder.join("switches.json");
        let new_path = path.with_extension("json.new");
        let replace = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new_path)?;
            file.write_all(&serde_json::to_vec_pretty(&OnDisk::of(table))?)?;
            file.sync_all()?;
            if path.exists() {
                let backup = path.with_extension("json.bak");
                drop(std::fs::remove_file(&backup));
                std::fs::hard_link(&path, &backup).or_else(|_| std::fs::copy(&path, &backup).map(drop))?;
            }
            std::fs::rename(&new_path, &path)?;
            sync_folder(&self.inner.folder)
        };
        replace().map_err(|error| StoreError::Io { path: path.clone(), action: "write it", error: Arc::new(error) })
    }
}

impl Store for Embedded {
    fn watch(&self) -> watch::Receiver<Arc<Table>> {
        self.inner.table.subscribe()
    }

    async fn compare_and_put(&self, write: Write) -> Result<Arc<Table>, StoreError> {
        let store = self.clone();
        let path = self.inner.folder.clone();
        let put = tokio::task::spawn_blocking(move || store.put(&write));
        put.await.unwrap_or_else(|error| {
            Err(StoreError::Io { path, action: "write it", error: Arc::new(std::io::Error::other(error)) })
        })
    }

    async fn decisions(&self, most: usize) -> Result<Vec<Decision>, StoreError> {
        let path = self.inner.folder.join("decisions.jsonl");
        match tokio::fs::read_to_string(&path).await {
            Ok(text) => {
                // A line that was torn by a crash is no decision; the record beside it still has the latest.
                // One that was appended right before a crash, and never came into force, has the revision of the one
                // that did, or none that the switch has reached.
                let table = Arc::clone(&self.inner.table.borrow());
                let mut seen = std::collections::BTreeSet::new();
                let mut came_true = |decision: &Decision| {
                    let records = table.zones.values().chain([&table.switches]).flatten();
                    let named = records.filter(|(name, _)| name.as_str() == decision.switch);
                    let reached = named.map(|(_, record)| record.revision).max();
                    reached.is_none_or(|revision| decision.revision <= revision)
                        && seen.insert((decision.switch.clone(), decision.scope.clone(), decision.revision))
                };
                let lines = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
                let mut latest: Vec<Decision> = lines.filter(|d| came_true(d)).take(most).collect();
                latest.reverse();
                Ok(latest)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::Io { path, action: "read it", error: Arc::new(error) }),
        }
    }

    fn census(&self) -> watch::Receiver<Arc<Census>> {
        self.inner.census.subscribe()
    }

    fn term(&self) -> watch::Receiver<Option<Term>> {
        self.inner.term.subscribe()
    }

    fn reach(&self) -> watch::Receiver<Reach> {
        self.inner.reach.subscribe()
    }

    fn rival(&self) -> watch::Receiver<Option<Member>> {
        self.inner.rival.subscribe()
    }

    fn put_mine(&self, mine: Mine) {
        let host = self.inner.host.clone();
        self.inner.census.send_modify(|census| mine.put_into(Arc::make_mut(census), &host));
    }

    async fn hand_over(&self, what: Vec<HandOver>) -> Result<(), StoreError> {
        let mut outbox = self.inner.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for what in what {
            match what.shelf {
                Shelf::Outbox => put_into(&mut outbox, what)?,
                Shelf::Told | Shelf::Alerts | Shelf::Queries => told.push(what),
            }
        }
        if !told.is_empty() {
            self.inner
                .census
                .send_modify(|census| told.into_iter().for_each(|what| shelve(Arc::make_mut(census), what)));
        }
        Ok(())
    }

    async fn outbox(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        Ok(self.inner.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn staged(&self) -> watch::Receiver<Arc<Staged>> {
        watch::Sender::new(Arc::default()).subscribe()
    }

    async fn put_stage(&self, _: StageWrite) -> Result<Arc<Staged>, StoreError> {
        Err(StoreError::NoFleet)
    }

    async fn bundle(&self, _: u64) -> Result<Option<Bundle>, StoreError> {
        Err(StoreError::NoFleet)
    }

    async fn put_bundle_again(&self, _: Bundle) -> Result<(), StoreError> {
        Err(StoreError::NoFleet)
    }

    fn shares(&self) -> watch::Receiver<Arc<Shares>> {
        watch::Sender::new(Arc::default()).subscribe()
    }

    async fn put_shares(&self, _: Shares, _: Term) -> Result<(), StoreError> {
        Err(StoreError::NoFleet)
    }
}

/// Puts or removes what is said of a host's alerts.
pub(super) fn shelve(census: &mut Census, what: HandOver) {
    let shelf = match what.shelf {
        Shelf::Told => &mut census.told,
        Shelf::Queries => &mut census.queries,
        Shelf::Alerts | Shelf::Outbox => &mut census.alerts,
    };
    match what.state {
        Some(state) => drop(shelf.insert(what.id, Arc::new(state))),
        None => drop(shelf.remove(&what.id)),
    }
    census.revision += 1;
}

/// Puts or removes a key of an outbox that is in memory.
pub(super) fn put_into(outbox: &mut BTreeMap<String, Value>, what: HandOver) -> Result<(), StoreError> {
    let Some(state) = what.state else {
        outbox.remove(&what.id);
        return Ok(());
    };
    if outbox.len() >= limits::STORE_OUTBOX && !outbox.contains_key(&what.id) {
        return Err(StoreError::Full { what: what.id, most: limits::STORE_OUTBOX });
    }
    outbox.insert(what.id, state);
    Ok(())
}

fn read_table(path: &Path) -> std::io::Result<Option<Table>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let on_disk: OnDisk = serde_json::from_slice(&bytes)?;
    on_disk.into_table().map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::contract::{contract, no_fleet_contract, write};
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("brownout-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    #[tokio::test]
    async fn the_embedded_store_keeps_the_contract_and_survives_a_restart() {
        let folder = folder("contract");
        let store = Embedded::open(&folder, "h1").expect("opens");
        contract(&store).await;
        no_fleet_contract(&store).await;
        let before = Arc::clone(&store.watch().borrow());
        let again = Embedded::open(&folder, "h1").expect("opens");
        assert_eq!(**again.watch().borrow(), *before);
        // A crash between the decision and the switch: the decision never came into force.
        let lost = write("a", 3, "off").record.decision.expect("a decision");
        again.append_decision(&lost).expect("appended");
        let before = again.decisions(9).await.expect("decisions");
        assert!(!before.contains(&lost));
        again.compare_and_put(write("a", 3, "cached")).await.expect("taken");
        let decisions = again.decisions(9).await.expect("decisions");
        assert_eq!(decisions.len(), before.len() + 1);
        assert_eq!(decisions.last().map(|d| d.to.as_str()), Some("cached"));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[tokio::test]
    async fn a_damaged_file_gives_way_to_its_backup() {
        let folder = folder("damaged");
        let store = Embedded::open(&folder, "h1").expect("opens");
        store.compare_and_put(write("a", 1, "off")).await.expect("taken");
        store.compare_and_put(write("a", 2, "full")).await.expect("taken");
        std::fs::write(folder.join("switches.json"), "{\"format\":1,").expect("writes");
        let again = Embedded::open(&folder, "h1").expect("opens");
        assert_eq!(again.watch().borrow().revision, 1);
        std::fs::remove_file(folder.join("switches.json.bak")).expect("removed");
        assert!(Embedded::open(&folder, "h1").is_err(), "a damaged file without a backup is for a person to decide");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! The embedded store: one JSON file a person can read, replaced whole at each change, and an append-only list of
//! decisions.
//!
//! A write appends its decision to `decisions.jsonl`, then replaces `switches.json` (new file, fsync, rename, fsync of
//! the folder), and only then shows the new table to readers. The file before stays as `switches.json.bak` and is read
//! when the newer one is damaged.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Store, StoreError, Table};
use crate::journal::sync_folder;
use crate::model::SwitchName;
use crate::switches::{Decision, Record, Write};

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
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    revision: u64,
    switches: std::collections::BTreeMap<String, Record>,
}

impl Embedded {
    /// Opens the store in a folder; a missing file is an empty store.
    ///
    /// # Errors
    /// When the folder cannot be made, or neither the file nor its backup can be read although one exists.
    pub fn open(folder: &Path) -> Result<Embedded, StoreError> {
        let path = folder.join("switches.json");
        let fail = |action: &'static str| {
            let path = path.clone();
            move |error| StoreError::Io { path, action, error }
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
        let (table, _) = watch::channel(Arc::new(table.unwrap_or_default()));
        Ok(Embedded { inner: Arc::new(Inner { folder: folder.to_owned(), writing: Mutex::new(()), table }) })
    }

    fn put(&self, write: &Write) -> Result<Arc<Table>, StoreError> {
        let _one_at_a_time = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = Arc::clone(&self.inner.table.borrow());
        let found = current.switches.get(&write.name).map_or(0, |record| record.revision);
        if found != write.expected {
            return Err(StoreError::Conflict { name: write.name.clone(), expected: write.expected, found });
        }
        let known = current.switches.get(&write.name).and_then(|record| record.decision.as_ref());
        if let Some(decision) = write.record.decision.as_ref().filter(|decision| Some(*decision) != known) {
            self.append_decision(decision)?;
        }
        let mut table = Table::clone(&current);
        table.revision += 1;
        table.switches.insert(write.name.clone(), write.record.clone());
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
        append().map_err(|error| StoreError::Io { path: path.clone(), action: "append a decision", error })
    }

    fn write_table(&self, table: &Table) -> Result<(), StoreError> {
        let path = self.inner.folder.join("switches.json");
        let new_path = path.with_extension("json.new");
        let replace = || -> std::io::Result<()> {
            let switches = table.switches.iter().map(|(name, record)| (name.to_string(), record.clone())).collect();
            let on_disk = OnDisk { format: 1, revision: table.revision, switches };
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new_path)?;
            file.write_all(&serde_json::to_vec_pretty(&on_disk)?)?;
            file.sync_all()?;
            if path.exists() {
                let backup = path.with_extension("json.bak");
                drop(std::fs::remove_file(&backup));
                std::fs::hard_link(&path, &backup).or_else(|_| std::fs::copy(&path, &backup).map(drop))?;
            }
            std::fs::rename(&new_path, &path)?;
            sync_folder(&self.inner.folder)
        };
        replace().map_err(|error| StoreError::Io { path: path.clone(), action: "write it", error })
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
            Err(StoreError::Io { path, action: "write it", error: std::io::Error::other(error) })
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
                    let named = table.switches.iter().find(|(name, _)| name.as_str() == decision.switch);
                    let reached = named.is_none_or(|(_, record)| decision.revision <= record.revision);
                    reached && seen.insert((decision.switch.clone(), decision.revision))
                };
                let lines = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
                let mut latest: Vec<Decision> = lines.filter(|d| came_true(d)).take(most).collect();
                latest.reverse();
                Ok(latest)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::Io { path, action: "read it", error }),
        }
    }
}

fn read_table(path: &Path) -> std::io::Result<Option<Table>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let on_disk: OnDisk = serde_json::from_slice(&bytes)?;
    let named = |(name, record): (String, Record)| SwitchName::new(&name).map(|name| (name, record));
    let switches = on_disk.switches.into_iter().map(named).collect::<Result<_, _>>().map_err(std::io::Error::other)?;
    Ok(Some(Table { revision: on_disk.revision, switches }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::{Actor, Mode, Place};
    use crate::time::Timestamp;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("brownout-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn write(name: &str, revision: u64, level: &str) -> Write {
        let at = Timestamp::from_millis(revision as i64);
        let decision = Decision {
            switch: name.into(),
            at,
            from: "full".into(),
            to: level.into(),
            by: Actor::System,
            reason: "test".into(),
            mode: Mode::Enforce,
            revision,
            scope: "fleet".into(),
            votes: None,
        };
        let asks = Default::default();
        let record = Record {
            level: level.into(),
            value: None,
            since: at,
            revision,
            asks,
            pin: None,
            decision: Some(decision),
            expires_at: None,
        };
        Write::at(Place::Fleet, SwitchName::new(name).expect("a name"), record, revision - 1)
    }

    /// What every store must do; an implementation hands in one that is empty.
    async fn contract(store: &impl Store) {
        let mut watch = store.watch();
        assert_eq!(**watch.borrow_and_update(), Table::default());
        let table = store.compare_and_put(write("a", 1, "off")).await.expect("taken");
        assert_eq!((table.revision, table.switches.len()), (1, 1));
        assert!(watch.has_changed().expect("open"));
        assert_eq!(**watch.borrow_and_update(), *table);
        let stale = store.compare_and_put(write("a", 1, "full")).await;
        assert!(matches!(stale, Err(StoreError::Conflict { found: 1, expected: 0, .. })), "{stale:?}");
        assert!(!watch.has_changed().expect("open"));
        store.compare_and_put(write("a", 2, "full")).await.expect("taken");
        store.compare_and_put(write("b", 1, "off")).await.expect("taken");
        let decisions = store.decisions(2).await.expect("decisions");
        assert_eq!(decisions.iter().map(|d| d.switch.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[tokio::test]
    async fn the_embedded_store_keeps_the_contract_and_survives_a_restart() {
        let folder = folder("contract");
        let store = Embedded::open(&folder).expect("opens");
        contract(&store).await;
        let before = Arc::clone(&store.watch().borrow());
        let again = Embedded::open(&folder).expect("opens");
        assert_eq!(**again.watch().borrow(), *before);
        // A crash between the decision and the switch: the decision never came into force.
        let lost = write("a", 3, "off").record.decision.expect("a decision");
        again.append_decision(&lost).expect("appended");
        assert_eq!(again.decisions(9).await.expect("decisions").len(), 3);
        again.compare_and_put(write("a", 3, "cached")).await.expect("taken");
        let decisions = again.decisions(9).await.expect("decisions");
        assert_eq!(decisions.iter().map(|d| d.to.as_str()).collect::<Vec<_>>(), ["off", "full", "off", "cached"]);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[tokio::test]
    async fn a_damaged_file_gives_way_to_its_backup() {
        let folder = folder("damaged");
        let store = Embedded::open(&folder).expect("opens");
        store.compare_and_put(write("a", 1, "off")).await.expect("taken");
        store.compare_and_put(write("a", 2, "full")).await.expect("taken");
        std::fs::write(folder.join("switches.json"), "{\"format\":1,").expect("writes");
        let again = Embedded::open(&folder).expect("opens");
        assert_eq!(again.watch().borrow().revision, 1);
        std::fs::remove_file(folder.join("switches.json.bak")).expect("removed");
        assert!(Embedded::open(&folder).is_err(), "a damaged file without a backup is for a person to decide");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! The fleet's configuration on this host: follows which revision it is to run, fetches that, keeps a copy for a start while
//! the store is away, and carries what people say to the store.
//!
//! What is loaded, and whether, is for the loop ([`super::shell`]): it is asked by an [`Order`] and says what it runs. A
//! revision that it did not take is not tried again until the host's own files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::DiskFiles;
use crate::config::{Checked, bundle_problem, load_with};
use crate::rng::Rng;
use crate::serve::ConfigAsk;
use crate::store::{Etcd, Store, StoreError};
use crate::switches::{Bundle, BundleFile, ConfigRefused, Push, StageRefused, StageWord, StageWrite};
use crate::time::{Clock, millis};
use crate::yaml::{Severity, SourceFile, render_problems};

/// How long after a failure the store is asked for a bundle again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a word is said again to a stage that somebody else changed meanwhile.
const TRIES: usize = 3;
/// The copy holds what the host runs and what it ran before: a rollback fetches nothing.
const COPIES: usize = 2;

/// What the loop is asked to load.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// `None`: the host's own files alone.
    Take(Option<Arc<Bundle>>),
    /// The store does not have this revision.
    Missing(u64),
    /// What was refused is not wanted any more, or may be good now.
    Forgive,
}

/// What this host runs of the fleet's configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Central {
    pub bundle: Option<Arc<Bundle>>,
    /// What it should run and does not take.
    pub refused: Option<ConfigRefused>,
}

impl Central {
    /// 0: nothing but the host's own files.
    pub fn revision(&self) -> u64 {
        self.bundle.as_ref().map_or(0, |bundle| bundle.revision)
    }
}

/// What the loop has: where it says what it runs, and the way to the store. Without a fleet nobody listens.
#[derive(Debug)]
pub(super) struct Desk {
    pub runs: watch::Sender<Central>,
    pub store: Option<Etcd>,
    pub copy: PathBuf,
}

fn copy_path(folder: &Path) -> PathBuf {
    folder.join("fleet-config.json")
}

/// The bundles that were kept, what the host ran first.
fn copies(path: &Path) -> Vec<Bundle> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "the copy of the fleet's configuration is damaged; it is left aside");
        Vec::new()
    })
}

/// Keeps what the host runs, whole or not at all. Without a bundle the one before is kept all the same, marked by an empty
/// one in front of it.
fn keep(path: &Path, bundle: Option<&Bundle>) -> std::io::Result<()> {
    let first = bundle.cloned().unwrap_or_default();
    let before = copies(path).into_iter().filter(|kept| kept.revision != first.revision && kept.revision > 0);
    let kept: Vec<Bundle> = std::iter::once(first.clone()).chain(before.take(COPIES - 1)).collect();
    let new_path = path.with_extension("new");
    std::fs::write(&new_path, serde_json::to_vec(&kept)?)?;
    std::fs::File::open(&new_path)?.sync_all()?;
    std::fs::rename(&new_path, path)
}

/// The configuration at a start: with the bundle that the host ran last, if it is still good beside the host's own files.
pub(super) fn at_start(config: Option<&Path>, folder: &Path, own: Checked) -> (Checked, Central) {
    let kept = copies(&copy_path(folder)).into_iter().next().filter(|kept| kept.revision > 0);
    let Some(bundle) = kept.filter(|_| own.store.is_some()).map(Arc::new) else { return (own, Central::default()) };
    let loaded = load_with(config, &DiskFiles, Some(&bundle));
    match loaded.checked {
        Some(checked) => {
            tracing::info!(
                revision = bundle.revision,
                "a revision of the fleet's configuration is in use from its copy"
            );
            (*checked, Central { bundle: Some(bundle), refused: None })
        }
        None => {
            let refused = refusal(bundle.revision, &loaded.problems);
            (own, Central { bundle: None, refused: Some(refused) })
        }
    }
}

/// Why a revision is not taken: its first error, for the others; all of them, for the log.
pub(super) fn refusal(revision: u64, problems: &[crate::yaml::Problem]) -> ConfigRefused {
    let errors = || problems.iter().filter(|problem| problem.severity == Severity::Error);
    for problem in errors() {
        tracing::error!(revision, "{}", problem.one_line());
    }
    tracing::error!(revision, "a revision of the fleet's configuration was not taken; the one before stays in use");
    let why = errors().next().map(crate::yaml::Problem::one_line);
    ConfigRefused { revision, why: why.unwrap_or_else(|| "it cannot be used here".to_owned()) }
}

impl Desk {
    pub fn new(central: Central, store: Option<Etcd>, folder: &Path) -> Desk {
        Desk { runs: watch::Sender::new(central), store, copy: copy_path(folder) }
    }

    /// The loop took this, or did not.
    pub fn now(&self, central: Central) {
        self.runs.send_replace(central);
    }

    /// Answers what people ask, in a task of its own.
    pub fn answer(&self, ask: ConfigAsk, config: Option<PathBuf>, clock: Clock, reply: Reply) {
        let Some(store) = self.store.clone() else {
            drop(reply.send(Err(StoreError::NoFleet.to_string())));
            return;
        };
        tokio::spawn(async move {
            let answer = match ask {
                ConfigAsk::Push { files, push, try_only } => {
                    push_files(&store, config, clock, files, push, try_only).await
                }
                ConfigAsk::Say(word) => say(&store, clock, word, None).await,
                ConfigAsk::Bundle(revision) => files_of(&store, revision).await,
            };
            drop(reply.send(answer));
        });
    }
}

type Reply = tokio::sync::oneshot::Sender<Result<Value, String>>;

/// Follows the stage: whenever this host is to run something else, it is fetched and ordered.
pub(super) async fn follow(
    store: Etcd,
    host: String,
    copy: PathBuf,
    mut runs: watch::Receiver<Central>,
    orders: mpsc::Sender<Order>,
) {
    let (mut staged, mut reach) = (store.staged(), store.reach());
    let mut written = runs.borrow().revision();
    let mut rng = Rng::seeded(host.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let mut known: Vec<Arc<Bundle>> =
        copies(&copy).into_iter().filter(|kept| kept.revision > 0).map(Arc::new).collect();
    loop {
        let stage = staged.borrow_and_update().stage.clone();
        let central = runs.borrow_and_update().clone();
        let (running, refused) = (central.revision(), central.refused.as_ref().map(|refused| refused.revision));
        if running != written {
            write_copy(copy.clone(), central.bundle).await;
            written = running;
        }
        let wanted = stage.wanted(&host);
        // A store where nothing was ever pushed has lost what this host runs, or was not heard yet.
        let news = stage.last > 0 && wanted != running && Some(wanted) != refused;
        let connected = reach.borrow_and_update().is_connected();
        if news {
            let in_hand = known.iter().find(|bundle| bundle.revision == wanted).cloned();
            let order = match in_hand {
                Some(bundle) => Some(Order::Take(Some(bundle))),
                None if wanted == 0 => Some(Order::Take(None)),
                None if !connected => None,
                None => {
                    let spread = millis(stage.spread()).unsigned_abs();
                    tokio::time::sleep(Duration::from_millis(rng.below(spread.max(1)))).await;
                    if staged.has_changed().unwrap_or(false) {
                        continue;
                    }
                    fetched(&store, wanted).await
                }
            };
            match order {
                Some(order) => {
                    if let Order::Take(Some(bundle)) = &order {
                        known.retain(|kept| kept.revision != bundle.revision);
                        known.insert(0, Arc::clone(bundle));
                        known.truncate(COPIES + 1);
                    }
                    if orders.send(order).await.is_err() {
                        return;
                    }
                }
                None if connected => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                None => {}
            }
        } else if stage.last > 0 && wanted == running && refused.is_some() {
            if orders.send(Order::Forgive).await.is_err() {
                return;
            }
        } else if connected && store.term().borrow().is_some() {
            put_again(&store, &known, stage.stable).await;
        }
        tokio::select! {
            Ok(()) = staged.changed() => {}
            Ok(()) = runs.changed() => {}
            Ok(()) = reach.changed() => {}
            else => return,
        }
    }
}

async fn write_copy(path: PathBuf, bundle: Option<Arc<Bundle>>) {
    let shown = path.display().to_string();
    let kept = tokio::task::spawn_blocking(move || keep(&path, bundle.as_deref())).await;
    if let Ok(Err(error)) = kept {
        tracing::error!(%error, path = shown, "the copy of the fleet's configuration was not written");
    }
}

/// `None`: to be tried again.
async fn fetched(store: &Etcd, revision: u64) -> Option<Order> {
    match store.bundle(revision).await {
        Ok(Some(bundle)) => Some(Order::Take(Some(Arc::new(bundle)))),
        Ok(None) => Some(Order::Missing(revision)),
        Err(error) => {
            tracing::warn!(%error, revision, "a revision of the fleet's configuration was not fetched yet");
            None
        }
    }
}

/// The host that counts sees that what everybody runs is in the store: one that lost its data gets it again.
async fn put_again(store: &Etcd, known: &[Arc<Bundle>], stable: u64) {
    let Some(bundle) = known.iter().find(|bundle| bundle.revision == stable) else { return };
    if matches!(store.bundle(stable).await, Ok(None)) {
        tracing::error!(
            revision = stable,
            "the shared store lost a revision of the configuration; it is put there again"
        );
        drop(store.put_bundle_again(Bundle::clone(bundle)).await);
    }
}

/// Says a word to the stage as it is now; gives the stage that follows.
async fn say(store: &Etcd, clock: Clock, word: StageWord, files: Option<Vec<BundleFile>>) -> Result<Value, String> {
    if let StageWord::RollBack { to: Some(to), .. } = &word
        && *to > 0
        && store.bundle(*to).await.map_err(|error| error.to_string())?.is_none()
    {
        return Err(StageRefused::Unknown(*to).to_string());
    }
    for _ in 0..TRIES {
        let staged = Arc::clone(&store.staged().borrow());
        let stage = staged.stage.say(clock.now(), &word).map_err(|refused| refused.to_string())?;
        let bundle = files.clone().map(|files| Bundle { revision: stage.last, files });
        let write = StageWrite { expected: staged.revision, stage, bundle, term: None };
        match store.put_stage(write).await {
            Ok(staged) => {
                tracing::info!(word = ?word, last = staged.stage.last, stable = staged.stage.stable, "the fleet's configuration: a person's word");
                return Ok(json!({ "last": staged.stage.last, "stable": staged.stage.stable }));
            }
            Err(StoreError::StageMoved) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(StoreError::StageMoved.to_string())
}

/// A new revision: checked as every host will, beside this host's own files.
async fn push_files(
    store: &Etcd,
    config: Option<PathBuf>,
    clock: Clock,
    files: Vec<BundleFile>,
    push: Push,
    try_only: bool,
) -> Result<Value, String> {
    let bundle = Bundle { revision: 0, files };
    if let Some(problem) = bundle_problem(&bundle) {
        return Err(problem);
    }
    let checked = tokio::task::spawn_blocking(move || {
        let loaded = load_with(config.as_deref(), &DiskFiles, Some(&bundle));
        (bundle, loaded)
    });
    let (bundle, loaded) = checked.await.map_err(|error| error.to_string())?;
    let errors: Vec<_> =
        loaded.problems.iter().filter(|problem| problem.severity == Severity::Error).cloned().collect();
    if !errors.is_empty() {
        return Err(render_problems(&errors));
    }
    let of_bundle = |file: &SourceFile| bundle.files.iter().any(|own| own.name == file.name);
    let warnings: Vec<_> = loaded.problems.into_iter().filter(|problem| of_bundle(&problem.file)).collect();
    let warnings = if warnings.is_empty() { String::new() } else { render_problems(&warnings) };
    let stable = store.staged().borrow().stage.stable;
    let same = store.bundle(stable).await.map_err(|error| error.to_string())?;
    if same.is_some_and(|same| same.files == bundle.files) {
        return Err(format!("these files are what revision {stable} is, and everybody runs that already"));
    }
    if try_only {
        return Ok(json!({ "warnings": warnings }));
    }
    let mut said = say(store, clock, StageWord::Push(push), Some(bundle.files)).await?;
    said["warnings"] = json!(warnings);
    Ok(said)
}

async fn files_of(store: &Etcd, revision: u64) -> Result<Value, String> {
    if revision == 0 {
        return Ok(json!({ "revision": 0, "files": [] }));
    }
    match store.bundle(revision).await {
        Ok(Some(bundle)) => serde_json::to_value(bundle).map_err(|error| error.to_string()),
        Ok(None) => Err(StageRefused::Unknown(revision).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(revision: u64) -> Bundle {
        let files = vec![BundleFile { name: "r.yaml".into(), text: "groups: []".into() }];
        Bundle { revision, files }
    }

    #[test]
    fn the_copy_holds_what_runs_and_what_ran_before() {
        let folder = std::env::temp_dir().join(format!("brownout-central-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = copy_path(&folder);
        let revisions = || copies(&path).iter().map(|bundle| bundle.revision).collect::<Vec<_>>();
        assert_eq!(revisions(), [] as [u64; 0]);
        for (revision, expected) in [(1, &[1][..]), (2, &[2, 1]), (3, &[3, 2]), (2, &[2, 3])] {
            keep(&path, Some(&bundle(revision))).expect("written");
            assert_eq!(revisions(), expected);
        }
        keep(&path, None).expect("written");
        assert_eq!(revisions(), [0, 2], "nothing runs, and a way back is there");
        std::fs::write(&path, "[{\"rev").expect("written");
        assert_eq!(revisions(), [] as [u64; 0]);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

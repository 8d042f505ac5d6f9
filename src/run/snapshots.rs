//! The series on the disk, beside the journal: every minute and at exit. Losing them costs only the rules' windows.
//!
//! They are written piece by piece, a piece a second, so that neither the loop waits for long nor a second copy of all
//! samples is ever in memory. A snapshot that is not finished takes the place of none.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::series::{Progress, SnapshotRun, SnapshotSum};
use crate::time::Timestamp;

/// How often the series are written to the disk.
const INTERVAL: Duration = Duration::from_secs(60);
/// In how many pieces large stores are written.
const PIECES: usize = 20;
/// Series in a piece at the least.
const LEAST: usize = 1_000;
/// Pieces that wait for the disk.
const WAITING: usize = 2;

/// When the series are to be written, and the snapshot that is on its way.
pub(super) struct Snapshots {
    path: PathBuf,
    due: Timestamp,
    writing: Option<Writing>,
    /// What writes, or wrote last: two never write at one time, as both would write to one file.
    task: Option<JoinHandle<()>>,
}

struct Writing {
    run: SnapshotRun,
    pieces: mpsc::Sender<Piece>,
}

/// What goes to the disk.
enum Piece {
    Bytes(Vec<u8>),
    Last(Vec<u8>),
}

impl Snapshots {
    pub(super) fn new(path: PathBuf, now: Timestamp) -> Snapshots {
        Snapshots { path, due: now + INTERVAL, writing: None, task: None }
    }

    /// The clock was set: the next one is due in an interval.
    pub(super) fn put_off(&mut self, now: Timestamp) {
        self.due = now + INTERVAL;
    }

    /// Begins a snapshot when one is due, or goes on with it.
    pub(super) fn tick(&mut self, now: Timestamp, engine: &Engine) {
        if now >= self.due && self.writing.is_none() && self.task.as_ref().is_none_or(JoinHandle::is_finished) {
            self.due = now + INTERVAL;
            self.begin(engine);
        }
        let Some(writing) = &mut self.writing else { return };
        match writing.pieces.try_reserve() {
            Ok(place) => {
                let most = (engine.series_count() / PIECES).max(LEAST);
                if let Some(piece) = next(engine, &mut writing.run, most) {
                    let goes_on = matches!(piece, Piece::Bytes(_));
                    place.send(piece);
                    if goes_on {
                        return;
                    }
                }
            }
            // The disk is slow: the next second may do.
            Err(mpsc::error::TrySendError::Full(())) => return,
            Err(mpsc::error::TrySendError::Closed(())) => {}
        }
        self.writing = None;
    }

    fn begin(&mut self, engine: &Engine) {
        let (run, head) = engine.begin_series_snapshot();
        let (pieces, waiting) = mpsc::channel(WAITING);
        let path = self.path.clone();
        self.task = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = write(&path, &head, waiting) {
                tracing::warn!(path = %path.display(), %error, "the series were not written; a restart begins with empty windows");
            }
        }));
        self.writing = Some(Writing { run, pieces });
    }

    /// Writes all at once, at exit.
    pub(super) async fn whole(mut self, engine: &Engine) {
        // One that is on its way ends unfinished.
        self.writing = None;
        self.wait().await;
        self.begin(engine);
        if let Some(Writing { mut run, pieces }) = self.writing.take() {
            while let Some(piece) = next(engine, &mut run, LEAST) {
                let goes_on = matches!(piece, Piece::Bytes(_));
                if pieces.send(piece).await.is_err() || !goes_on {
                    break;
                }
            }
        }
        self.wait().await;
    }

    async fn wait(&mut self) {
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }
}

/// The next piece; `None` when the snapshot is void.
fn next(engine: &Engine, run: &mut SnapshotRun, most: usize) -> Option<Piece> {
    let mut bytes = Vec::new();
    match engine.series_snapshot_piece(run, most, &mut bytes) {
        Progress::More => Some(Piece::Bytes(bytes)),
        Progress::Last => Some(Piece::Last(bytes)),
        Progress::Void => None,
    }
}

fn write(path: &Path, head: &[u8], mut pieces: mpsc::Receiver<Piece>) -> std::io::Result<()> {
    let new_path = path.with_extension("new");
    let (mut file, mut sum) = (File::create(&new_path)?, SnapshotSum::default());
    let mut put = |file: &mut File, bytes: &[u8]| {
        sum.add(bytes);
        file.write_all(bytes)
    };
    put(&mut file, head)?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => put(&mut file, &bytes)?,
            Piece::Last(bytes) => {
                put(&mut file, &bytes)?;
                file.write_all(&sum.bytes())?;
                return std::fs::rename(&new_path, path);
            }
        }
    }
    Ok(())
}

//! What a job must not forget: the places in its files and the values that the lines before these places led to.
//!
//! Both are one value, so that a crash neither loses a line nor counts one twice: whichever checkpoint is restored, its
//! counters hold exactly the lines before its offsets. Lines read after the checkpoint are read again, from counters that
//! do not know them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::time::Timestamp;

/// The state of one job.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    pub files: Vec<FileMark>,
    /// The journal's cursor, for a job that reads the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub metrics: Vec<MetricState>,
}

/// A place in a file, and how to know the file again.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FileMark {
    /// The path under which the file was followed first.
    pub path: PathBuf,
    /// False: the path already leads elsewhere; this one is drained.
    pub attached: bool,
    pub dev: u64,
    pub ino: u64,
    /// Bytes that are done with; the beginning of a line unless `skipping`.
    pub offset: u64,
    /// How many bytes before the offset `hash` covers.
    pub marker: usize,
    /// FNV-1a of these bytes.
    pub hash: u64,
    /// The offset lies within a line that was cut: the rest of it is skipped.
    #[serde(default)]
    pub skipping: bool,
    /// The file's last change of state, by its file system's clock, in nanoseconds since the epoch.
    #[serde(default)]
    pub changed: i64,
    /// It was rotated and read to its end: only known so that it is not taken for a new one. Without a path.
    #[serde(default)]
    pub done: bool,
    /// The file's birth, likewise; only of one that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<i64>,
}

/// The series of one metric.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MetricState {
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    #[serde(default)]
    pub buckets: Vec<f64>,
    pub series: Vec<SeriesState>,
}

/// One series of a metric.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SeriesState {
    pub labels: BTreeMap<String, String>,
    /// One number; of a histogram: the count of each bucket with `+Inf` last, not cumulated, then the sum.
    pub values: Vec<f64>,
    /// When a line last changed it.
    pub met: Timestamp,
}

/// FNV-1a, 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

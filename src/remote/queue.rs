//! The queue on the disk between us and one receiver: segments of checksummed records, oldest first.
//!
//! A record is one finished request. It is handed to the kernel at once, so what was put in survives the end of the
//! process, however it ends; a segment is synced when it is full and at a shutdown, so a power cut can cost the last
//! segment. How far the receiver has taken them stands in a file of its own, written after each request; after a crash the
//! last request may go out twice, which receivers take.
//!
//! The queue never holds more than its limit: the oldest segment goes when there is no room, and what was in it is
//! counted. A damaged record costs the rest of its segment, and that is counted too.
//!
//! Calls block on the disk.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::limits;
use crate::time::Timestamp;

/// Length of the body, checksum of the rest, samples, newest time.
const HEAD: usize = 4 + 4 + 4 + 8;
const POSITION: &str = "position";

/// One request as it waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub samples: u32,
    /// The time of its newest sample.
    pub newest: Timestamp,
    pub body: Vec<u8>,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(HEAD + self.body.len());
        rest.extend_from_slice(&self.samples.to_le_bytes());
        rest.extend_from_slice(&self.newest.as_millis().to_le_bytes());
        rest.extend_from_slice(&self.body);
        let mut bytes = (self.body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
        bytes
    }
}

/// A record with its place in the queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub record: Record,
    segment: u64,
    offset: u64,
}

/// What was lost by one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Samples of segments that had to make room.
    pub samples: u64,
    /// Bytes of damaged records and what followed them.
    pub damaged_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Samples in it that are not taken yet, as far as they can be read.
    samples: u64,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    folder: PathBuf,
    limit: u64,
    /// Oldest first; the last is the one written to, if a file is open.
    segments: VecDeque<Segment>,
    writing: Option<File>,
    /// How much of the oldest segment was taken.
    taken: u64,
    next_number: u64,
}

impl Queue {
    /// Opens or makes the queue in `folder`. What cannot be read there is left out and counted.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub(super) fn open(folder: &Path, limit: u64) -> std::io::Result<(Queue, Lost)> {
        std::fs::create_dir_all(folder)?;
        let (position, offset) = read_position(folder).unwrap_or((0, 0));
        let mut numbers: Vec<u64> = std::fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".queue")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let next_number = numbers.last().copied().unwrap_or(0).max(position) + 1;
        let mut queue =
            Queue { folder: folder.to_owned(), limit, segments: VecDeque::new(), writing: None, taken: 0, next_number };
        let mut lost = Lost::default();
        for number in numbers {
            if number < position {
                drop(std::fs::remove_file(queue.path(number)));
                continue;
            }
            let from = if number == position { offset } else { 0 };
            let (end, samples) = scan(&queue.path(number), from)?;
            let size = std::fs::metadata(queue.path(number))?.len();
            lost.damaged_bytes += size.saturating_sub(end);
            if end <= from {
                drop(std::fs::remove_file(queue.path(number)));
                continue;
            }
            if queue.segments.is_empty() {
                queue.taken = from;
            }
            queue.segments.push_back(Segment { number, bytes: end, samples });
        }
        lost.samples += queue.make_room(0);
        Ok((queue, lost))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.queue"))
    }

    /// A segment is full at a sixteenth of the limit, so that making room costs little at a time.
    fn segment_bytes(&self) -> u64 {
        (self.limit / 16).clamp(limits::REMOTE_SEGMENT_LEAST, limits::REMOTE_SEGMENT_MOST)
    }

    /// Puts a record behind all others.
    ///
    /// # Errors
    /// When the disk does not take it. The record is not in the queue then.
    pub(super) fn push(&mut self, record: &Record) -> std::io::Result<Lost> {
        let bytes = record.encode();
        let lost = Lost { samples: self.make_room(bytes.len() as u64), damaged_bytes: 0 };
        let result = self.write(&bytes);
        if result.is_err() {
            // What may be half a record ends its segment.
            self.writing = None;
            return result.map(|()| lost);
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes.len() as u64;
            segment.samples += u64::from(record.samples);
        }
        Ok(lost)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let full = self.segments.back().is_some_and(|segment| segment.bytes >= self.segment_bytes());
        if full && let Some(file) = self.writing.take() {
            file.sync_data()?;
        }
        let file = match &mut self.writing {
            Some(file) => file,
            None => {
                let number = self.next_number;
                let file = OpenOptions::new().create_new(true).append(true).open(self.path(number))?;
                self.next_number += 1;
                self.segments.push_back(Segment { number, bytes: 0, samples: 0 });
                if self.segments.len() == 1 {
                    self.taken = 0;
                }
                self.writing.insert(file)
            }
        };
        file.write_all(bytes)
    }

    /// Drops the oldest segments until there is room; gives the samples in them.
    fn make_room(&mut self, wanted: u64) -> u64 {
        let mut lost = 0;
        while self.bytes() + wanted > self.limit {
            let Some(oldest) = self.segments.pop_front() else { break };
            lost += oldest.samples;
            if self.segments.is_empty() {
                self.writing = None;
            }
            self.taken = 0;
            drop(std::fs::remove_file(self.path(oldest.number)));
        }
        lost
    }

    /// The oldest record that is not taken; it stays until [`Queue::took`].
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub(super) fn peek(&mut self) -> std::io::Result<(Option<Waiting>, Lost)> {
        let mut lost = Lost::default();
        while let Some(oldest) = self.segments.front() {
            if self.taken < oldest.bytes {
                let mut file = File::open(self.path(oldest.number))?;
                file.seek(SeekFrom::Start(self.taken))?;
                match read_record(&mut file)? {
                    Some(record) => {
                        let waiting = Waiting { record, segment: oldest.number, offset: self.taken };
                        return Ok((Some(waiting), lost));
                    }
                    None => lost.damaged_bytes += oldest.bytes - self.taken,
                }
            } else if self.segments.len() == 1 && self.writing.is_some() {
                return Ok((None, lost));
            }
            // It is taken as a whole, or damaged from here on.
            if let Some(done) = self.segments.pop_front() {
                if self.segments.is_empty() {
                    self.writing = None;
                }
                drop(std::fs::remove_file(self.path(done.number)));
            }
            self.taken = 0;
        }
        Ok((None, lost))
    }

    /// False when the record had to make room since it was given.
    pub(super) fn has(&self, waiting: &Waiting) -> bool {
        self.segments.front().is_some_and(|oldest| oldest.number == waiting.segment) && self.taken == waiting.offset
    }

    /// The record that [`Queue::peek`] gave was taken, or nobody wants it. One that had to make room meanwhile is none of
    /// the queue's any more.
    pub(super) fn took(&mut self, waiting: &Waiting) {
        if !self.has(waiting) {
            return;
        }
        let Some(oldest) = self.segments.front_mut() else { return };
        self.taken += (HEAD + waiting.record.body.len()) as u64;
        oldest.samples = oldest.samples.saturating_sub(u64::from(waiting.record.samples));
        let text = format!("{} {}\n", oldest.number, self.taken);
        // Losing this costs a request that goes out twice.
        drop(std::fs::write(self.folder.join(POSITION), text));
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>().saturating_sub(self.taken)
    }

    /// Samples that wait.
    pub(super) fn samples(&self) -> u64 {
        self.segments.iter().map(|segment| segment.samples).sum()
    }

    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        match &self.writing {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }
}

fn read_position(folder: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(folder.join(POSITION)).ok()?;
    let (number, offset) = text.trim_end().split_once(' ')?;
    Some((number.parse().ok()?, offset.parse().ok()?))
}

/// Where the last whole record ends, and the samples from `from` on.
fn scan(path: &Path, from: u64) -> std::io::Result<(u64, u64)> {
    let mut file = std::io::BufReader::new(File::open(path)?);
    file.seek(SeekFrom::Start(from))?;
    let (mut end, mut samples) = (from, 0);
    while let Some(record) = read_record(&mut file)? {
        end += (HEAD + record.body.len()) as u64;
        samples += u64::from(record.samples);
    }
    Ok((end, samples))
}

/// The record at the reader's place; `None` when there is no whole one.
fn read_record(reader: &mut impl Read) -> std::io::Result<Option<Record>> {
    let mut head = Vec::with_capacity(8);
    reader.by_ref().take(8).read_to_end(&mut head)?;
    let Some((length, crc)) =
        head.split_first_chunk::<4>().and_then(|(length, crc)| Some((*length, crc.first_chunk::<4>()?)))
    else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(length) as usize;
    if length > limits::REMOTE_REQUEST_BYTES {
        return Ok(None);
    }
    let mut rest = Vec::with_capacity(length + HEAD - 8);
    reader.by_ref().take((length + HEAD - 8) as u64).read_to_end(&mut rest)?;
    if rest.len() < length + HEAD - 8 || crc32fast::hash(&rest) != u32::from_le_bytes(*crc) {
        return Ok(None);
    }
    let (Some((samples, after)), Some(body)) = (rest.split_first_chunk::<4>(), rest.get(12..)) else { return Ok(None) };
    let Some(newest) = after.first_chunk::<8>() else { return Ok(None) };
    Ok(Some(Record {
        samples: u32::from_le_bytes(*samples),
        newest: Timestamp::from_millis(i64::from_le_bytes(*newest)),
        body: body.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("brownout-remote-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn record(number: u32, size: usize) -> Record {
        Record {
            samples: 10,
            newest: Timestamp::from_millis(i64::from(number)),
            body: number.to_le_bytes().iter().copied().cycle().take(size).collect(),
        }
    }

    fn open(folder: &Path) -> (Queue, Lost) {
        Queue::open(folder, 64 << 20).expect("opens")
    }

    /// The times of all records that come out.
    fn drain(queue: &mut Queue) -> Vec<i64> {
        let mut times = Vec::new();
        while let (Some(waiting), _) = queue.peek().expect("reads") {
            times.push(waiting.record.newest.as_millis());
            queue.took(&waiting);
            assert!(!queue.has(&waiting));
        }
        times
    }

    #[test]
    fn records_come_out_in_order_and_across_restarts_once() {
        let folder = folder("order");
        let (mut queue, _) = open(&folder);
        for number in 0..5 {
            queue.push(&record(number, 100)).expect("written");
        }
        assert_eq!((queue.samples(), queue.bytes()), (50, 5 * 120));
        let (first, _) = queue.peek().expect("reads");
        queue.took(&first.expect("a record"));
        // The process ends here, without a word.
        let (mut queue, lost) = open(&folder);
        assert_eq!((queue.samples(), lost), (40, Lost::default()));
        queue.push(&record(5, 100)).expect("written");
        assert_eq!(drain(&mut queue), [1, 2, 3, 4, 5]);
        assert_eq!((queue.samples(), queue.bytes()), (0, 0));
        let (mut queue, lost) = open(&folder);
        assert_eq!((drain(&mut queue), lost), (vec![], Lost::default()));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn cut_at_any_byte_the_whole_records_before_are_there() {
        let folder = folder("cut");
        let (mut queue, _) = open(&folder);
        for number in 0..3 {
            queue.push(&record(number, 30)).expect("written");
        }
        let path = queue.path(1);
        drop(queue);
        let whole = std::fs::read(&path).expect("reads");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("writes");
            let (mut queue, lost) = open(&folder);
            let kept = cut / 50;
            assert_eq!(lost.damaged_bytes as usize, cut - kept * 50, "cut at {cut}");
            assert_eq!(drain(&mut queue), (0..kept as i64).collect::<Vec<_>>(), "cut at {cut}");
            drop(queue);
            drop(std::fs::remove_file(folder.join(POSITION)));
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_flipped_bit_costs_the_rest_of_its_segment_only() {
        let folder = folder("bit");
        let (mut queue, _) = open(&folder);
        for number in 0..3 {
            queue.push(&record(number, 30)).expect("written");
        }
        let first = queue.path(1);
        drop(queue);
        let (mut queue, _) = open(&folder);
        for number in 3..5 {
            queue.push(&record(number, 30)).expect("written");
        }
        drop(queue);
        let mut bytes = std::fs::read(&first).expect("reads");
        bytes[75] ^= 1;
        std::fs::write(&first, &bytes).expect("writes");
        let (mut queue, lost) = open(&folder);
        assert_eq!((drain(&mut queue), lost.damaged_bytes), (vec![0, 3, 4], 100));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn past_its_limit_the_oldest_go_and_are_counted() {
        let folder = folder("limit");
        let (mut queue, _) = Queue::open(&folder, 1 << 20).expect("opens");
        let mut lost = 0;
        for number in 0..200 {
            lost += queue.push(&record(number, 20_000)).expect("written").samples;
            assert!(queue.bytes() <= 1 << 20, "{number}: {}", queue.bytes());
        }
        let out = drain(&mut queue);
        assert_eq!(*out.last().expect("some"), 199);
        assert!(out.windows(2).all(|pair| pair[1] == pair[0] + 1), "no hole: {out:?}");
        assert_eq!(lost, (200 - out.len() as u64) * 10);
        assert!(out.len() > 40, "a segment at a time: {}", out.len());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! The frames in the order of their acceptance, and what follows from them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};

use crate::acceptance::{self, LOOK_BACK_COMMITS_MAX, Past, Reach, RecentCommits, Verdict};
use crate::append::{Append, Appended};
use crate::error::{AppendError, ReadError};
use crate::frame::{self, FactKind, FramePlace, RecordRef, RecordedCommit};
use crate::index::HeadRow;
use crate::log::{Head, StreamHead};

/// The largest frame, as in the durable store's defaults.
const FRAME_BYTES_MAX: u64 = 16 << 20;

/// All commits, durable or still staged, with what follows from them.
#[derive(Default)]
pub(super) struct Journal {
    frames: Frames,
    streams: HashMap<Box<str>, Stream>,
    recent: RecentCommits,
    /// So many of the frames are durable, and visible.
    durable: usize,
    /// Frames from here on reached the disk and were never synced: they stay invisible until the log is
    /// opened again.
    unsynced_from: Option<usize>,
    /// As of the durable frames.
    facts: BTreeMap<(FactKind, Bytes), (Bytes, LogSequence)>,
}

#[derive(Default)]
struct Frames(Vec<RecordedCommit>);

struct Stream {
    head: HeadRow,
    /// Indexes of the frames that have a part of it.
    frames: Vec<usize>,
}

impl Past for Frames {
    fn commit_at(&self, log_offset: u64) -> Result<RecordedCommit, ReadError> {
        let found = self
            .0
            .binary_search_by_key(&log_offset, RecordedCommit::log_offset);
        let commit = found.ok().and_then(|at| self.0.get(at));
        commit.cloned().ok_or_else(|| ReadError::Index {
            reason: format!("there is no frame at log offset {log_offset}").into(),
        })
    }
}

impl Journal {
    /// A journal that holds these frames, all durable.
    pub(super) fn of(frames: Vec<RecordedCommit>) -> Self {
        let mut journal = Self::default();
        for commit in frames {
            journal.push(commit);
        }
        journal.make_durable();
        journal
    }

    /// Judges an append and stages its frame, if it is new and has anything to hold.
    pub(super) fn accept(&mut self, append: &Append) -> Result<Appended, AppendError> {
        acceptance::check(append)?;
        let heads: Vec<Option<HeadRow>> = append
            .parts
            .iter()
            .map(|part| {
                self.streams
                    .get(part.stream.key())
                    .map(|stream| stream.head)
            })
            .collect();
        let reach = Reach::commits(LOOK_BACK_COMMITS_MAX);
        match acceptance::judge(append, &heads, &self.frames, &mut self.recent, reach)? {
            Verdict::Repetition(original) => return Ok(original),
            Verdict::FurtherBack(refusal) => return Err(refusal),
            Verdict::New => {}
        }
        let end = self.end();
        let sequence = end.sequence.next();
        let first_position = end.position.next();
        let timestamp = append.at.max(end.timestamp);
        let parts = acceptance::accepted_parts(append, &heads, first_position);
        let recorded: Vec<bool> = acceptance::recorded_parts(append).collect();
        if append.records.is_empty() && !recorded.contains(&true) {
            let (sequence, timestamp) = (end.sequence, end.timestamp);
            return Ok(Appended {
                sequence,
                timestamp,
                parts,
                duplicate: false,
            });
        }
        let last = self.frames.0.last();
        let place = FramePlace {
            previous_checksum: last.map_or(0, |last| last.header().checksum),
            sequence,
            first_position,
            timestamp,
            log_offset: last.map_or(0, |last| last.log_offset() + last.as_bytes().len() as u64),
            parts: &parts
                .iter()
                .zip(&heads)
                .zip(&recorded)
                .map(|((part, head), recorded)| {
                    recorded.then(|| (part.first_version, head.map(|head| head.log_offset)))
                })
                .collect::<Vec<_>>(),
        };
        let mut bytes = Vec::new();
        let sealed = frame::encode(append, &place, &mut bytes);
        if sealed.is_none() || bytes.len() as u64 > FRAME_BYTES_MAX {
            let (bytes, bytes_max) = (bytes.len() as u64, FRAME_BYTES_MAX);
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let commit =
            RecordedCommit::parse(&Bytes::from(bytes), place.log_offset).map_err(|error| {
                AppendError::Invalid {
                    reason: error.to_string(),
                }
            })?;
        self.push(commit);
        Ok(Appended {
            sequence,
            timestamp,
            parts,
            duplicate: false,
        })
    }

    /// Makes everything staged durable and visible.
    pub(super) fn make_durable(&mut self) {
        let end = self.unsynced_from.unwrap_or(self.frames.0.len());
        for commit in self.frames.0.iter().take(end).skip(self.durable) {
            for record in commit.records() {
                let RecordRef::Fact { kind, key, value } = record else {
                    continue;
                };
                let key = (kind, Bytes::copy_from_slice(key));
                match value {
                    Some(value) => {
                        let value = Bytes::copy_from_slice(value);
                        self.facts.insert(key, (value, commit.sequence()));
                    }
                    None => {
                        self.facts.remove(&key);
                    }
                }
            }
        }
        self.durable = end;
    }

    /// The same; if it is accepted, neither it nor anything after it becomes durable.
    pub(super) fn accept_unsynced(&mut self, append: &Append) -> Result<Appended, AppendError> {
        let before = self.frames.0.len();
        let appended = self.accept(append)?;
        self.unsynced_from.get_or_insert(before);
        Ok(appended)
    }

    /// What is found when the log is opened again: what was durable, and what reached the disk behind it before
    /// a failed sync, which reopening copies and syncs.
    pub(super) fn frames_on_disk(&self) -> Vec<RecordedCommit> {
        let all_before_are_durable = self.unsynced_from == Some(self.durable);
        let count = if all_before_are_durable {
            self.frames.0.len()
        } else {
            self.durable
        };
        self.frames.0.iter().take(count).cloned().collect()
    }

    pub(super) fn head(&self) -> Head {
        self.durable
            .checked_sub(1)
            .and_then(|last| self.frames.0.get(last))
            .map(head_of)
            .unwrap_or_default()
    }

    pub(super) fn commit(&self, index: usize) -> Option<RecordedCommit> {
        self.frames.0.get(index).cloned()
    }

    pub(super) fn durable_count(&self) -> usize {
        self.durable
    }

    /// The durable frames that have a part of a stream, by index.
    pub(super) fn frames_of(&self, key: &str) -> Vec<usize> {
        let frames = self.streams.get(key).map(|stream| stream.frames.as_slice());
        let durable = |index: &usize| *index < self.durable;
        frames
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(durable)
            .collect()
    }

    pub(super) fn stream_head(&self, key: &str) -> Option<StreamHead> {
        let frames = self.frames_of(key);
        let first = self.commit(*frames.first()?)?;
        let last = self.commit(*frames.last()?)?;
        let version = last
            .parts()
            .find(|part| part.stream_key() == key)?
            .last_version();
        Some(StreamHead {
            version,
            sequence: last.sequence(),
            commit_id: last.commit_id(),
            first_at: first.timestamp(),
            last_at: last.timestamp(),
        })
    }

    pub(super) fn facts(&self) -> &BTreeMap<(FactKind, Bytes), (Bytes, LogSequence)> {
        &self.facts
    }

    fn end(&self) -> Head {
        self.frames.0.last().map(head_of).unwrap_or_default()
    }

    fn push(&mut self, commit: RecordedCommit) {
        let index = self.frames.0.len();
        for part in commit.parts() {
            let head = HeadRow {
                version: part.last_version(),
                sequence: commit.sequence(),
                log_offset: commit.log_offset(),
                commit_id: commit.commit_id(),
                first_at: commit.timestamp(),
                last_at: commit.timestamp(),
            };
            let new = || Stream {
                head,
                frames: Vec::new(),
            };
            let stream = self
                .streams
                .entry(part.stream_key().into())
                .or_insert_with(new);
            stream.head = HeadRow {
                first_at: stream.head.first_at,
                ..head
            };
            stream.frames.push(index);
        }
        self.frames.0.push(commit);
    }
}

fn head_of(commit: &RecordedCommit) -> Head {
    Head {
        sequence: commit.sequence(),
        position: commit.last_position(),
        timestamp: commit.timestamp(),
    }
}

/// Whether a version range has any of these versions; see [`crate::StreamQuery`].
pub(super) fn in_range(
    first: StreamVersion,
    last: StreamVersion,
    from: StreamVersion,
    to: StreamVersion,
) -> bool {
    if last < first {
        return from.previous() <= last && last <= to;
    }
    first <= to && from <= last
}

/// Whether a commit lies before a time; see [`crate::Start::Time`].
pub(super) fn is_before(commit: &RecordedCommit, at: Timestamp) -> bool {
    commit.timestamp() < at
}

/// Whether all of a commit lies before a position; see [`crate::Start::Position`].
pub(super) fn ends_before(commit: &RecordedCommit, position: GlobalPosition) -> bool {
    if commit.event_count() == 0 {
        return commit.first_position() < position;
    }
    commit.last_position() < position
}

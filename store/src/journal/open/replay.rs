//! Bringing heads and facts after the journal, from where the index ends.

use bytes::Bytes;
use chronicler_domain::LogSequence;
use uuid::Uuid;

use crate::error::{OpenError, ReadError};
use crate::frame::{RecordRef, RecordedCommit};
use crate::index::{HeadRow, Index, IndexBatch, IndexError, Watermark};
use crate::journal::marker::LogEnd;
use crate::journal::memory::{FactTable, FactValue, HeadTable};
use crate::journal::options::{ReplayListener, ReplayProgress};
use crate::journal::read::LogView;
use crate::journal::write::head_in_index;

/// How much is read before the index is written to: bounds what a rebuild holds in memory.
const APPLY_EVERY_BYTES: u64 = 64 << 20;
/// How often the listener is told.
const TOLD_EVERY_COMMITS: u64 = 65_536;

/// Whether the journal holds the frame that a watermark names; the reason if not.
pub(crate) fn holds(view: &LogView, store_id: Uuid, watermark: &Watermark) -> Result<(), String> {
    if watermark.store_id != store_id {
        return Err("it is of another store".to_owned());
    }
    if watermark.sequence > view.end.sequence {
        return Err(format!(
            "it knows commit {}, and the journal ends with {}",
            watermark.sequence, view.end.sequence
        ));
    }
    if watermark.sequence == LogSequence::ZERO {
        return Ok(());
    }
    let commit = view.reader().commit_at(watermark.log_offset);
    let commit = commit.map_err(|error| error.to_string())?;
    let same =
        commit.sequence() == watermark.sequence && commit.header().checksum == watermark.checksum;
    if same {
        Ok(())
    } else {
        Err("it followed another journal".to_owned())
    }
}

/// Fills an empty index from the whole journal, for as long as that `goes_on`.
pub(crate) fn fill(
    index: &dyn Index,
    view: &LogView,
    store_id: Uuid,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), IndexError> {
    let failed = |reason: String| IndexError {
        operation: "filling",
        reason,
    };
    let replay = Replay {
        view,
        store_id,
        index,
        heads: &HeadTable::default(),
        facts: &FactTable::default(),
    };
    let mut reader = view.reader();
    let (mut offset, mut applied_to) = (0, 0);
    while offset < view.end.offset {
        if !goes_on() {
            return Err(failed("the store is being closed".to_owned()));
        }
        let commit = reader.commit_at(offset);
        let commit = commit.map_err(|error| failed(error.to_string()))?;
        offset += commit.as_bytes().len() as u64;
        let taken = replay.commit(&commit);
        taken.map_err(|error| failed(error.to_string()))?;
        if offset - applied_to >= APPLY_EVERY_BYTES || offset >= view.end.offset {
            applied_to = offset;
            replay.apply(&LogEnd::after(commit.frame()))?;
        }
    }
    Ok(())
}

/// Reads the journal from the index's watermark to its end.
pub(super) struct Replay<'a> {
    pub view: &'a LogView,
    pub store_id: Uuid,
    pub index: &'a dyn Index,
    pub heads: &'a HeadTable,
    pub facts: &'a FactTable,
}

impl Replay<'_> {
    /// How many commits were read.
    pub(super) fn run(&self, listener: Option<&ReplayListener>) -> Result<u64, OpenError> {
        let (mut offset, from) = self.start()?;
        let mut reader = self.view.reader();
        let (mut read, mut applied_to) = (0, offset);
        let end = self.view.end;
        let mut index_works = true;
        while offset < end.offset {
            let commit = reader.commit_at(offset).map_err(OpenError::Damaged)?;
            offset += commit.as_bytes().len() as u64;
            self.commit(&commit).map_err(OpenError::Damaged)?;
            read += 1;
            if index_works && offset - applied_to >= APPLY_EVERY_BYTES {
                applied_to = offset;
                if let Err(error) = self.apply(&LogEnd::after(commit.frame())) {
                    // Heads and facts stay in memory, and the next opening begins anew.
                    tracing::warn!(%error, "the index failed while it was rebuilt");
                    index_works = false;
                }
            }
            if let Some(listener) = listener
                && (read % TOLD_EVERY_COMMITS == 0 || offset >= end.offset)
            {
                listener(ReplayProgress {
                    at: LogSequence::new(from.get() + read),
                    of: end.sequence,
                });
            }
        }
        Ok(read)
    }

    /// Where to begin: behind the watermark if the journal holds it, else at the beginning of an empty index.
    fn start(&self) -> Result<(u64, LogSequence), OpenError> {
        if let Some(watermark) = self.index.watermark() {
            match holds(self.view, self.store_id, &watermark) {
                Ok(()) if watermark.sequence == LogSequence::ZERO => {
                    return Ok((0, LogSequence::ZERO));
                }
                Ok(()) => {
                    let commit = self.view.reader().commit_at(watermark.log_offset);
                    let commit = commit.map_err(OpenError::Damaged)?;
                    let behind = watermark.log_offset + commit.as_bytes().len() as u64;
                    return Ok((behind, watermark.sequence));
                }
                Err(reason) => {
                    tracing::warn!(%reason, "the index does not fit the journal and is rebuilt");
                }
            }
        }
        self.index.clear().map_err(|error| OpenError::Io {
            operation: "clearing the index".to_owned(),
            source: std::io::Error::other(error),
        })?;
        Ok((0, LogSequence::ZERO))
    }

    fn commit(&self, commit: &RecordedCommit) -> Result<(), ReadError> {
        for part in commit.parts() {
            let key = part.stream_key();
            let index = |key: &str| head_in_index(self.index, key);
            let previous = match part.previous_offset() {
                Some(_) => self.heads.newest(key, index)?,
                None => None,
            };
            let row = HeadRow {
                version: part.last_version(),
                sequence: commit.sequence(),
                log_offset: commit.log_offset(),
                commit_id: commit.commit_id(),
                first_at: previous.map_or(commit.timestamp(), |row| row.first_at),
                last_at: commit.timestamp(),
            };
            self.heads.set(key, row, previous, LogSequence::MAX);
        }
        for record in commit.records() {
            if let RecordRef::Fact { kind, key, value } = record {
                let value = FactValue {
                    value: value.map(Bytes::copy_from_slice),
                    sequence: commit.sequence(),
                };
                let key = Bytes::copy_from_slice(key);
                self.facts.set(kind, key, value, LogSequence::MAX);
            }
        }
        Ok(())
    }

    fn apply(&self, end: &LogEnd) -> Result<(), IndexError> {
        let batch = IndexBatch {
            heads: self.heads.collect(|| LogSequence::MAX),
            facts: self.facts.collect(|| LogSequence::MAX),
            watermark: Watermark {
                store_id: self.store_id,
                sequence: end.sequence,
                log_offset: end.last_offset,
                checksum: end.checksum,
            },
        };
        self.index.apply(&batch)?;
        self.heads.applied(&batch.heads);
        self.facts.applied(&batch.facts);
        Ok(())
    }
}

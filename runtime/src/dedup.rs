//! What an instance remembers of commands that must not take effect twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{Outcome, OutcomeResult, RecordRef, RecordedCommit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The outcome of one command.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) rejected: bool,
    pub(crate) codec: CodecId,
    pub(crate) payload: bytes::Bytes,
    pub(crate) command_hash: Option<u64>,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) first_version: StreamVersion,
    pub(crate) version: StreamVersion,
    /// Empty until the commit is durable.
    pub(crate) place: Arc<OnceLock<Place>>,
}

/// Where the outcome's commit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) sequence: LogSequence,
    pub(crate) position: GlobalPosition,
}

impl Remembered {
    pub(crate) fn result(&self) -> OutcomeResult {
        if self.rejected {
            OutcomeResult::Rejection
        } else {
            OutcomeResult::Reply
        }
    }

    /// What became of the command.
    pub(crate) fn became(&self) -> Outcome {
        if self.rejected {
            Outcome::NotApplied
        } else {
            Outcome::Applied
        }
    }

    /// Reads the outcome out of a commit of this stream, if it has one.
    pub(crate) fn read(commit: &RecordedCommit, stream_key: &str) -> Option<Self> {
        let part = commit
            .parts()
            .find(|part| part.stream_key() == stream_key)?;
        let outcome = commit.records().find_map(|record| match record {
            RecordRef::Outcome {
                result,
                decided_at,
                command_hash,
                codec,
                payload,
                ..
            } => Some((result, decided_at, command_hash, codec, payload)),
            _ => None,
        });
        let (result, decided_at, command_hash, codec, payload) = outcome?;
        let caller = chronicler_domain::CommandId::from_uuid(commit.commit_id()).ok();
        let place = Place {
            sequence: commit.sequence(),
            position: commit.last_position(),
        };
        Some(Self {
            rejected: result == OutcomeResult::Rejection,
            codec,
            payload: bytes::Bytes::copy_from_slice(payload),
            command_hash,
            issued_at: caller
                .filter(|_| decided_at.is_none())
                .map(|id| id.issued_at()),
            first_version: part.first_version(),
            version: part.last_version(),
            place: Arc::new(OnceLock::from(place)),
        })
    }
}

/// The outcomes that one instance remembers, the latest [`limit`](Self::new) of them.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    outcomes: HashMap<Uuid, Remembered>,
    order: VecDeque<Uuid>,
    /// Callers' ids issued up to here may have been forgotten.
    forgotten_through: Timestamp,
    /// Outcomes of commits up to here may have been forgotten.
    complete_after: LogSequence,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            outcomes: HashMap::new(),
            order: VecDeque::new(),
            forgotten_through: Timestamp::EPOCH,
            complete_after: LogSequence::ZERO,
        }
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<&Remembered> {
        self.outcomes.get(&id)
    }

    pub(crate) fn remember(&mut self, id: Uuid, outcome: Remembered) {
        if self.outcomes.insert(id, outcome).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            let Some(forgotten) = self.outcomes.remove(&oldest) else {
                continue;
            };
            if let Some(issued_at) = forgotten.issued_at {
                self.forgotten_through = self.forgotten_through.max(issued_at);
            }
            if let Some(place) = forgotten.place.get() {
                self.complete_after = self.complete_after.max(place.sequence);
            }
        }
    }

    /// Ids that callers issued up to here may have been forgotten.
    pub(crate) fn forgotten_through(&self) -> Timestamp {
        self.forgotten_through
    }

    /// Whether an effect decided in this commit would be remembered, had it been carried out.
    pub(crate) fn reaches_back_to(&self, decided_at: LogSequence) -> bool {
        self.complete_after <= decided_at
    }

    /// It as it is now. Where the commits in flight lie is not known yet, and shows in the copy once it is.
    pub(crate) fn copy(&self) -> MemoryCopy {
        let known = |id: &Uuid| Some((*id, self.outcomes.get(id)?.clone()));
        MemoryCopy {
            outcomes: self.order.iter().filter_map(known).collect(),
            forgotten_through: self.forgotten_through,
            complete_after: self.complete_after,
        }
    }

    /// Restores what a snapshot kept.
    pub(crate) fn restore(limit: usize, image: MemoryImage) -> Self {
        let mut memory = Self::new(limit);
        memory.forgotten_through = image.forgotten_through;
        memory.complete_after = image.complete_after;
        for outcome in image.outcomes {
            let remembered = Remembered {
                rejected: outcome.rejected,
                codec: CodecId::new(outcome.codec),
                payload: outcome.payload.into(),
                command_hash: outcome.command_hash,
                issued_at: outcome.issued_at,
                first_version: outcome.first_version,
                version: outcome.version,
                place: Arc::new(OnceLock::from(outcome.place)),
            };
            memory.remember(outcome.id, remembered);
        }
        memory
    }
}

/// A memory as it was when a snapshot was begun.
pub(crate) struct MemoryCopy {
    outcomes: Vec<(Uuid, Remembered)>,
    forgotten_through: Timestamp,
    complete_after: LogSequence,
}

impl MemoryCopy {
    /// What a snapshot keeps of it; `None` while one of its outcomes is not durable.
    pub(crate) fn image(&self) -> Option<MemoryImage> {
        let outcomes = self.outcomes.iter().map(|(id, outcome)| {
            Some(OutcomeImage {
                id: *id,
                rejected: outcome.rejected,
                codec: outcome.codec.number(),
                payload: outcome.payload.to_vec(),
                command_hash: outcome.command_hash,
                issued_at: outcome.issued_at,
                first_version: outcome.first_version,
                version: outcome.version,
                place: outcome.place.get().copied()?,
            })
        });
        Some(MemoryImage {
            outcomes: outcomes.collect::<Option<_>>()?,
            forgotten_through: self.forgotten_through,
            complete_after: self.complete_after,
        })
    }
}

/// A memory as a snapshot holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryImage {
    outcomes: Vec<OutcomeImage>,
    forgotten_through: Timestamp,
    complete_after: LogSequence,
}

#[derive(Debug, Serialize, Deserialize)]
struct OutcomeImage {
    id: Uuid,
    rejected: bool,
    codec: u8,
    payload: Vec<u8>,
    command_hash: Option<u64>,
    issued_at: Option<Timestamp>,
    first_version: StreamVersion,
    version: StreamVersion,
    place: Place,
}

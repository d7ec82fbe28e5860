//! A memory as a snapshot holds it: the newest outcomes, and of the older ones where they lie.

use std::sync::{Arc, OnceLock};

use chronicler_domain::{LogSequence, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::outcome::{Place, Remembered};
use super::rules::Rules;
use super::run::{Entry, Summary};

/// A memory as it was when a snapshot was begun.
pub(crate) struct MemoryCopy {
    pub(super) rules: Arc<Rules>,
    pub(super) outcomes: Vec<(Uuid, Remembered)>,
    pub(super) runs: Vec<Summary>,
    pub(super) forgotten_through: Timestamp,
    pub(super) effects_left_through: LogSequence,
}

impl MemoryCopy {
    /// What a snapshot keeps of it; `None` while one of its outcomes is not durable.
    pub(crate) fn image(self) -> Option<MemoryImage> {
        let Self {
            rules, outcomes, ..
        } = self;
        let (mut kept, mut bytes) = (0, 0);
        for (_, outcome) in outcomes.iter().rev().take(rules.outcomes_max.max(1)) {
            bytes += outcome.payload.len();
            if bytes > rules.answer_bytes_max && kept > 0 {
                break;
            }
            kept += 1;
        }
        // Those that were in flight, and were kept whole for that only.
        let older = outcomes.len() - kept;
        let mut run = Summary::EMPTY;
        for (id, outcome) in outcomes.iter().take(older) {
            run.add(&Entry::of(*id, outcome, rules.ahead_max)?);
        }
        let mut runs = self.runs;
        if run.count > 0 {
            runs.push(run);
        }
        let newest = outcomes.iter().skip(older);
        Some(MemoryImage {
            outcomes: newest
                .map(|(id, outcome)| OutcomeImage::of(*id, outcome))
                .collect::<Option<_>>()?,
            runs,
            forgotten_through: self.forgotten_through,
            effects_left_through: self.effects_left_through,
        })
    }
}

/// A memory as a snapshot holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryImage {
    pub(super) outcomes: Vec<OutcomeImage>,
    pub(super) runs: Vec<Summary>,
    pub(super) forgotten_through: Timestamp,
    pub(super) effects_left_through: LogSequence,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutcomeImage {
    id: Uuid,
    rejected: bool,
    codec: u8,
    payload: Vec<u8>,
    command_hash: Option<u64>,
    issued_at: Option<Timestamp>,
    at: Timestamp,
    first_version: StreamVersion,
    version: StreamVersion,
    place: Place,
}

impl OutcomeImage {
    fn of(id: Uuid, outcome: &Remembered) -> Option<Self> {
        Some(Self {
            id,
            rejected: outcome.rejected,
            codec: outcome.codec.number(),
            payload: outcome.payload.to_vec(),
            command_hash: outcome.command_hash,
            issued_at: outcome.issued_at,
            at: outcome.at,
            first_version: outcome.first_version,
            version: outcome.version,
            place: outcome.place.get().copied()?,
        })
    }

    pub(super) fn outcome(self) -> (Uuid, Remembered) {
        let outcome = Remembered {
            rejected: self.rejected,
            codec: CodecId::new(self.codec),
            payload: self.payload.into(),
            command_hash: self.command_hash,
            issued_at: self.issued_at,
            at: self.at,
            first_version: self.first_version,
            version: self.version,
            place: Arc::new(OnceLock::from(self.place)),
        };
        (self.id, outcome)
    }
}

//! The outcome of one command, as it is remembered.

use std::sync::{Arc, OnceLock};

use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{Outcome, OutcomeResult, RecordRef, RecordedCommit};
use serde::{Deserialize, Serialize};

/// The outcome of one command.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) rejected: bool,
    pub(crate) codec: CodecId,
    pub(crate) payload: bytes::Bytes,
    pub(crate) command_hash: Option<u64>,
    /// When the caller made the id; `None` for an effect.
    pub(crate) issued_at: Option<Timestamp>,
    /// When the command was decided.
    pub(crate) at: Timestamp,
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
            at: commit.timestamp(),
            first_version: part.first_version(),
            version: part.last_version(),
            place: Arc::new(OnceLock::from(place)),
        })
    }
}

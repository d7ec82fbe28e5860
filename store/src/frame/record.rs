//! Side records: what a commit holds beside events. Each has a kind and a length, so that an unknown one
//! can be skipped.

use bytes::Bytes;
use chronicler_domain::{LogSequence, SchemaVersion};

use super::varint::{self, Cursor};
use crate::codec::CodecId;

/// The kind of a keyed fact: something true that no event can be folded into.
///
/// A fact has a key and a value; a later fact of the same kind and key replaces it, and one without a value
/// removes it. The store keeps the latest of each, rebuilt from the journal when its index is lost.
/// The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactKind(u16);

impl FactKind {
    /// How far a side-effecting consumer has come; key: its name.
    pub const CURSOR: Self = Self(16);
    /// A timer that is armed; key: due time (8 bytes big-endian), then owner and name.
    pub const TIMER: Self = Self(17);
    /// A saga that has not ended; key: the stream key of the instance.
    pub const OPEN_SAGA: Self = Self(18);
    /// An instance or consumer set aside after too many failures; key: its stream key or name.
    pub const QUARANTINE: Self = Self(19);
    /// An input set aside after failing; key: consumer, then position.
    pub const PARKED: Self = Self(20);
    /// A saga or consumer that has been registered, and where it starts; key: its name.
    pub const REGISTRATION: Self = Self(21);
    /// A pause; key: what is paused. Nothing writes one: the number is kept, since it is in the golden bytes.
    pub const PAUSE: Self = Self(22);
    /// What an operator did, and why; key: time and number.
    pub const OPERATOR_VERB: Self = Self(23);

    /// The first number that applications may use for facts of their own.
    pub const APPLICATION_FIRST: u16 = 1_024;
    const FIRST: u16 = 16;

    /// A kind by its number; `None` below 16, where the other side records live.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::FIRST {
            None
        } else {
            Some(Self(number))
        }
    }

    /// Its number on disk.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What a command answered, kept so that its repetition is answered the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// Whether the command was accepted. Its id is that of the commit.
    pub result: OutcomeResult,
    /// The log sequence of the commit that decided the effect; `None` for a command whose caller gave the id.
    pub decided_at: Option<LogSequence>,
    /// A hash of the command, so that another command under the same id is found out; `None`: not known.
    pub command_hash: Option<u64>,
    /// The type of the reply or rejection.
    pub type_name: String,
    /// Its schema version.
    pub schema_version: SchemaVersion,
    /// How the payload is encoded.
    pub codec: CodecId,
    /// The reply or rejection.
    pub payload: Bytes,
}

/// Whether the domain said yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeResult {
    /// Accepted; the payload is the reply.
    Reply,
    /// Rejected; the payload is the rejection.
    Rejection,
}

/// Something that a commit holds beside its events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SideRecord {
    /// What the command answered. Belongs to the commit's first stream part.
    Outcome(OutcomeRecord),
    /// An effect that a saga decided, in the saga's own encoding. Nothing writes one: sagas journal effects as events, and
    /// the number is kept, since it is in the golden bytes.
    Effect(Bytes),
    /// A keyed fact, set or (without value) removed.
    Fact {
        /// Its kind.
        kind: FactKind,
        /// Its key, unique within the kind. At most 1,024 bytes.
        key: Bytes,
        /// Its value; `None` removes it.
        value: Option<Bytes>,
    },
}

/// A side record as it lies in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordRef<'a> {
    /// What the command answered.
    Outcome {
        /// Reply or rejection.
        result: OutcomeResult,
        /// The commit that decided the effect, if it was one.
        decided_at: Option<LogSequence>,
        /// A hash of the command, if it is known.
        command_hash: Option<u64>,
        /// The type of the payload.
        type_name: &'a str,
        /// Its schema version.
        schema_version: SchemaVersion,
        /// How it is encoded.
        codec: CodecId,
        /// The payload.
        payload: &'a [u8],
    },
    /// An effect that a saga decided.
    Effect(&'a [u8]),
    /// A keyed fact.
    Fact {
        /// Its kind.
        kind: FactKind,
        /// Its key.
        key: &'a [u8],
        /// Its value; `None` removes it.
        value: Option<&'a [u8]>,
    },
    /// A record of a kind that this version does not know.
    Unknown {
        /// Its number.
        kind: u64,
        /// Its bytes.
        body: &'a [u8],
    },
}

const OUTCOME: u64 = 1;
const EFFECT: u64 = 2;
// 3 is kept free for a base: the heads and facts as of a sequence, in front of an archived log.

const REJECTED: u8 = 1;
const EFFECT_OF: u8 = 2;
const HASHED: u8 = 4;

impl SideRecord {
    /// Appends kind, length and body.
    pub(super) fn write(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        scratch.clear();
        let kind = match self {
            Self::Outcome(outcome) => {
                let rejected = matches!(outcome.result, OutcomeResult::Rejection);
                let effect = outcome.decided_at.is_some();
                let hashed = outcome.command_hash.is_some();
                let flag = |set: bool, bit: u8| if set { bit } else { 0 };
                scratch.push(
                    flag(rejected, REJECTED) | flag(effect, EFFECT_OF) | flag(hashed, HASHED),
                );
                if let Some(sequence) = outcome.decided_at {
                    varint::put(scratch, sequence.get());
                }
                if let Some(hash) = outcome.command_hash {
                    scratch.extend_from_slice(&hash.to_le_bytes());
                }
                scratch.push(outcome.codec.number());
                varint::put_bytes(scratch, outcome.type_name.as_bytes());
                varint::put(scratch, u64::from(outcome.schema_version.get()));
                scratch.extend_from_slice(&outcome.payload);
                OUTCOME
            }
            Self::Effect(body) => {
                scratch.extend_from_slice(body);
                EFFECT
            }
            Self::Fact { kind, key, value } => {
                varint::put_bytes(scratch, key);
                scratch.push(u8::from(value.is_some()));
                scratch.extend_from_slice(value.as_deref().unwrap_or_default());
                u64::from(kind.number())
            }
        };
        varint::put(out, kind);
        varint::put_bytes(out, scratch);
    }
}

impl<'a> RecordRef<'a> {
    /// Reads one record; `None` if the bytes are not one.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let kind = cursor.varint()?;
        let body = cursor.bytes()?;
        let mut inner = Cursor::new(body);
        match kind {
            OUTCOME => {
                let flags = inner.byte()?;
                if flags & !(REJECTED | EFFECT_OF | HASHED) != 0 {
                    return None;
                }
                let rejected = flags & REJECTED != 0;
                let decided_at = if flags & EFFECT_OF != 0 {
                    Some(inner.varint()?)
                } else {
                    None
                };
                let hash = if flags & HASHED != 0 {
                    Some(inner.array()?)
                } else {
                    None
                };
                Some(Self::Outcome {
                    result: if rejected {
                        OutcomeResult::Rejection
                    } else {
                        OutcomeResult::Reply
                    },
                    decided_at: decided_at.map(LogSequence::new),
                    command_hash: hash.map(u64::from_le_bytes),
                    codec: CodecId::new(inner.byte()?),
                    type_name: inner.text()?,
                    schema_version: SchemaVersion::new(u32::try_from(inner.varint()?).ok()?),
                    payload: inner.rest(),
                })
            }
            EFFECT => Some(Self::Effect(body)),
            _ => match u16::try_from(kind).ok().and_then(FactKind::new) {
                Some(kind) => {
                    let key = inner.bytes()?;
                    let present = match inner.byte()? {
                        0 => false,
                        1 => true,
                        _ => return None,
                    };
                    Some(Self::Fact {
                        kind,
                        key,
                        value: present.then_some(inner.rest()),
                    })
                }
                None => Some(Self::Unknown { kind, body }),
            },
        }
    }
}

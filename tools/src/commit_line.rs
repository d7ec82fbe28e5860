//! One commit as a line of an export, and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use chronicler_domain::{LogSequence, Metadata, SchemaVersion, StreamId, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::frame::derived_event_id;
use chronicler_store::journal::ImportedCommit;
use chronicler_store::{
    Append, EventRef, Expected, FactKind, NewEvent, OutcomeRecord, OutcomeResult, PartRef,
    RecordRef, RecordedCommit, SideRecord, StreamAppend, hex,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::payload::{codec_name, codec_of};

/// One commit: everything that its frame holds. A field that it does not know is refused, so that nothing is lost.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitLine {
    sequence: u64,
    first_position: u64,
    time_micros: u64,
    commit_id: Uuid,
    correlation_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    causation_depth: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
    parts: Vec<PartLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<RecordLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartLine {
    tenant: String,
    category: String,
    id: String,
    first_version: u64,
    events: Vec<EventLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    codec: String,
    /// The payload, if it is JSON: the text byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata_hex: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "record", rename_all = "snake_case")]
enum RecordLine {
    Outcome {
        rejected: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decided_at: Option<u64>,
        /// 16 hexadecimal digits: more than a number of JSON holds in many languages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command_hash: Option<String>,
        #[serde(rename = "type")]
        type_name: String,
        schema_version: u32,
        codec: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload_text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload_hex: Option<String>,
    },
    Effect {
        body_hex: String,
    },
    Fact {
        kind: u16,
        key_hex: String,
        /// None: the fact is removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_hex: Option<String>,
    },
    /// Of a kind that this release does not know: only a newer one can import it.
    Unknown {
        kind: u64,
        body_hex: String,
    },
}

impl CommitLine {
    /// Everything that a frame holds.
    pub(crate) fn new(commit: &RecordedCommit) -> Self {
        let metadata = commit.metadata();
        Self {
            sequence: commit.sequence().get(),
            first_position: commit.first_position().get(),
            time_micros: commit.timestamp().as_micros(),
            commit_id: commit.commit_id(),
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            principal: metadata.principal.as_deref().map(str::to_owned),
            causation_depth: metadata.causation_depth,
            extra: metadata.extra,
            parts: commit.parts().map(PartLine::new).collect(),
            records: commit.records().map(RecordLine::new).collect(),
        }
    }

    /// The commit that it is to become.
    ///
    /// # Errors
    /// What in it is not understood.
    pub(crate) fn into_commit(self) -> Result<ImportedCommit, String> {
        let mut append = Append::new(self.commit_id, Timestamp::from_micros(self.time_micros));
        append.metadata = Metadata {
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            principal: self.principal.map(Into::into),
            causation_depth: self.causation_depth,
            extra: self.extra,
        };
        let mut first_versions = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            first_versions.push(StreamVersion::new(part.first_version));
            append.parts.push(part.into_append(self.commit_id)?);
        }
        let records = self.records.into_iter().map(RecordLine::into_record);
        append.records = records.collect::<Result<_, _>>()?;
        Ok(ImportedCommit {
            sequence: LogSequence::new(self.sequence),
            first_position: self.first_position.into(),
            first_versions,
            append,
        })
    }
}

impl PartLine {
    fn new(part: PartRef<'_>) -> Self {
        Self {
            tenant: part.tenant().to_owned(),
            category: part.category().to_owned(),
            id: part.id().to_owned(),
            first_version: part.first_version().get(),
            events: part.events().map(|event| EventLine::new(&event)).collect(),
        }
    }

    fn into_append(self, commit_id: Uuid) -> Result<StreamAppend, String> {
        let key = format!("{}\0{}\0{}", self.tenant, self.category, self.id);
        let stream = StreamId::from_key(&key)
            .ok_or_else(|| format!("{:?} is no name of a stream", key.replace('\0', "/")))?;
        let event = |(offset, event): (u64, EventLine)| {
            // A first version that is out of range is refused by the import, later.
            let version = StreamVersion::new(self.first_version.wrapping_add(offset));
            event.into_event(derived_event_id(commit_id, stream.key(), version))
        };
        let events = (0..).zip(self.events).map(event);
        Ok(StreamAppend {
            events: events.collect::<Result<_, _>>()?,
            stream,
            expected: Expected::Any,
        })
    }
}

impl EventLine {
    fn new(event: &EventRef<'_>) -> Self {
        let (payload_text, payload_hex) = shown(event.codec(), event.payload());
        Self {
            id: event.id(),
            event_type: event.event_type().to_owned(),
            schema_version: event.schema_version().get(),
            codec: codec_name(event.codec()),
            payload_text,
            payload_hex,
            metadata_hex: hex::encode(event.metadata()),
        }
    }

    fn into_event(self, derived: Uuid) -> Result<NewEvent, String> {
        Ok(NewEvent {
            id: (self.id != derived).then_some(self.id),
            event_type: self.event_type.into(),
            schema_version: SchemaVersion::new(self.schema_version),
            codec: codec_of(&self.codec)?,
            payload: payload(self.payload_text, self.payload_hex)?,
            metadata: bytes_of(&self.metadata_hex)?,
        })
    }
}

impl RecordLine {
    fn new(record: RecordRef<'_>) -> Self {
        match record {
            RecordRef::Outcome {
                result,
                decided_at,
                command_hash,
                type_name,
                schema_version,
                codec,
                payload,
            } => {
                let (payload_text, payload_hex) = shown(codec, payload);
                Self::Outcome {
                    rejected: result == OutcomeResult::Rejection,
                    decided_at: decided_at.map(LogSequence::get),
                    command_hash: command_hash.map(|hash| format!("{hash:016x}")),
                    type_name: type_name.to_owned(),
                    schema_version: schema_version.get(),
                    codec: codec_name(codec),
                    payload_text,
                    payload_hex,
                }
            }
            RecordRef::Effect(body) => Self::Effect {
                body_hex: hex::encode(body),
            },
            RecordRef::Fact { kind, key, value } => Self::Fact {
                kind: kind.number(),
                key_hex: hex::encode(key),
                value_hex: value.map(hex::encode),
            },
            RecordRef::Unknown { kind, body } => Self::Unknown {
                kind,
                body_hex: hex::encode(body),
            },
            // The enum may grow; what is not written out cannot be read back as anything else.
            _ => Self::Unknown {
                kind: 0,
                body_hex: String::new(),
            },
        }
    }

    fn into_record(self) -> Result<SideRecord, String> {
        Ok(match self {
            Self::Outcome {
                rejected,
                decided_at,
                command_hash,
                type_name,
                schema_version,
                codec,
                payload_text,
                payload_hex,
            } => SideRecord::Outcome(OutcomeRecord {
                result: if rejected {
                    OutcomeResult::Rejection
                } else {
                    OutcomeResult::Reply
                },
                decided_at: decided_at.map(LogSequence::new),
                command_hash: command_hash.map(|digits| hash_of(&digits)).transpose()?,
                type_name,
                schema_version: SchemaVersion::new(schema_version),
                codec: codec_of(&codec)?,
                payload: payload(payload_text, payload_hex)?,
            }),
            Self::Effect { body_hex } => SideRecord::Effect(bytes_of(&body_hex)?),
            Self::Fact {
                kind,
                key_hex,
                value_hex,
            } => SideRecord::Fact {
                kind: FactKind::new(kind).ok_or_else(|| format!("{kind} is no kind of fact"))?,
                key: bytes_of(&key_hex)?,
                value: value_hex.map(|value| bytes_of(&value)).transpose()?,
            },
            Self::Unknown { kind, .. } => {
                return Err(format!(
                    "it has a side record of kind {kind}, which this release does not know: import it with the release that wrote it, or a newer one"
                ));
            }
        })
    }
}

/// A payload as text or as hexadecimal digits: text only where it is the same bytes again.
fn shown(codec: CodecId, payload: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(payload) {
        Ok(text) if codec == CodecId::JSON => (Some(text.to_owned()), None),
        _ => (None, Some(hex::encode(payload))),
    }
}

fn payload(text: Option<String>, digits: Option<String>) -> Result<Bytes, String> {
    match (text, digits) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(digits)) => bytes_of(&digits),
        _ => Err("a payload is either payload_text or payload_hex".to_owned()),
    }
}

fn bytes_of(digits: &str) -> Result<Bytes, String> {
    Ok(hex::decode(digits)?.into())
}

fn hash_of(digits: &str) -> Result<u64, String> {
    let wrong = |_| format!("{digits:?} are no 16 hexadecimal digits");
    u64::from_str_radix(digits, 16).map_err(wrong)
}

fn is_zero(depth: &u16) -> bool {
    *depth == 0
}

#[cfg(test)]
mod tests {
    use chronicler_domain::GlobalPosition;
    use chronicler_store::frame::{FramePlace, encode};
    use proptest::prelude::*;

    use super::*;

    fn frame(commit: &ImportedCommit) -> Bytes {
        let parts: Vec<_> = commit
            .first_versions
            .iter()
            .map(|first| Some((*first, None)))
            .collect();
        let place = FramePlace {
            previous_checksum: 0,
            sequence: commit.sequence,
            first_position: commit.first_position,
            timestamp: commit.append.at,
            log_offset: 0,
            parts: &parts,
        };
        let mut out = Vec::new();
        encode(&commit.append, &place, &mut out).unwrap();
        out.into()
    }

    /// Payloads as applications write them, with whatever white space and numbers, and any bytes at all.
    fn payloads() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let json = any::<(f64, u64, i64, String)>().prop_map(|(float, large, small, text)| {
            format!("{{ \"a\":\t[{float:e}, {large} ],\n\"b\" : {small}, \"c\": {text:?}}}")
                .into_bytes()
        });
        prop_oneof![
            (any::<u8>(), any::<Vec<u8>>()),
            json.prop_map(|json| (CodecId::JSON.number(), json)),
        ]
    }

    proptest! {
        #[test]
        fn c5_a_commit_that_is_exported_and_imported_is_the_same_to_the_byte(
            (codec, payload) in payloads(),
            (reply_codec, reply) in payloads(),
            (hash, decided_at, rejected) in any::<(Option<u64>, Option<u64>, bool)>(),
            sequence in 1_u64..1 << 62,
            position in 1_u64..1 << 62,
            version in 1_u64..1 << 62,
            at in 0_u64..1 << 62,
        ) {
            let mut append = Append::new(Uuid::from_u128(7), Timestamp::from_micros(at));
            append.parts.push(StreamAppend {
                stream: "%73aga:a%3Ab/c%25/:".parse().unwrap(),
                expected: Expected::Any,
                events: vec![NewEvent {
                    id: None,
                    event_type: "Paid".into(),
                    schema_version: SchemaVersion::new(u32::MAX),
                    codec: CodecId::new(codec),
                    payload: payload.into(),
                    metadata: Bytes::new(),
                }],
            });
            append.records.push(SideRecord::Outcome(OutcomeRecord {
                result: if rejected { OutcomeResult::Rejection } else { OutcomeResult::Reply },
                decided_at: decided_at.map(LogSequence::new),
                command_hash: hash,
                type_name: "Reply".to_owned(),
                schema_version: SchemaVersion::FIRST,
                codec: CodecId::new(reply_codec),
                payload: reply.into(),
            }));
            let before = frame(&ImportedCommit {
                sequence: LogSequence::new(sequence),
                first_position: GlobalPosition::new(position),
                first_versions: vec![StreamVersion::new(version)],
                append,
            });
            let read = RecordedCommit::parse(&before, 0).unwrap();
            let line = serde_json::to_string(&CommitLine::new(&read)).unwrap();
            let line: CommitLine = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(frame(&line.into_commit().unwrap()), before);
        }
    }
}

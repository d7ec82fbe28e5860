//! The form of an answer in streams and in snapshots.

use chronicler_store::codec::CodecId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::definition::answer::Answer;
use crate::definition::payload::Payload;

/// An answer as it is written. Names, fields and their order are on disk.
#[derive(Serialize)]
#[serde(rename = "Answer")]
enum Written<'a> {
    Done { codec: u8, payload: &'a [u8] },
    Rejected { codec: u8, payload: &'a [u8] },
    Unknown { reason: &'a str },
}

/// The same as it is read.
#[derive(Deserialize)]
#[serde(rename = "Answer")]
enum Read {
    Done { codec: u8, payload: Vec<u8> },
    Rejected { codec: u8, payload: Vec<u8> },
    Unknown { reason: String },
}

pub(super) fn serialize<S: Serializer>(answer: &Answer, serializer: S) -> Result<S::Ok, S::Error> {
    let codec = |payload: &Payload| payload.codec().number();
    let written = match answer {
        Answer::Done(reply) => Written::Done {
            codec: codec(reply),
            payload: reply.bytes(),
        },
        Answer::Rejected(reason) => Written::Rejected {
            codec: codec(reason),
            payload: reason.bytes(),
        },
        Answer::Unknown(reason) => Written::Unknown { reason },
    };
    written.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Answer, D::Error> {
    let payload = |codec, bytes| Payload::new(CodecId::new(codec), bytes);
    Ok(match Read::deserialize(deserializer)? {
        Read::Done {
            codec,
            payload: reply,
        } => Answer::Done(payload(codec, reply)),
        Read::Rejected {
            codec,
            payload: reason,
        } => Answer::Rejected(payload(codec, reason)),
        Read::Unknown { reason } => Answer::Unknown(reason),
    })
}

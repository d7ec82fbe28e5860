//! That what was written is read as what it was, found out before it is in the log.
//!
//! serde lets a type write what it cannot read, and worse, what it reads as something else: `serde(skip)` on a variant
//! shifts those after it for a positional codec, and JSON has one word for `None` and `Some(None)`.

use bytes::Bytes;
use chronicler_domain::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decoder::read;
use super::digest::digest;
use super::event::write_event;
use super::left_out::leaves_out;
use super::payload::buffered;
use super::{CodecError, PayloadCodec, decode, encode};
use crate::append::NewEvent;

/// Reads back an event that was encoded a moment ago, as a recovery will, and compares.
///
/// # Errors
/// [`CodecError::Unencodable`] when it cannot be read, or is another value.
pub fn read_back<E: Event>(event: &E, encoded: &NewEvent) -> Result<E, CodecError> {
    let codec = encoded.codec;
    let codec = PayloadCodec::from_id(codec).ok_or(CodecError::UnknownCodec { codec })?;
    let (event_type, version) = (&encoded.event_type, encoded.schema_version);
    let unreadable = |reason: &dyn std::fmt::Display| CodecError::Unencodable {
        type_name: std::any::type_name::<E>(),
        reason: format!(
            "what was written for {event_type:?} {reason}: leave out skip_serializing_if, untagged enums, and skip on \
             a variant"
        ),
    };
    let read = read::<E>(codec, event_type, version, &encoded.payload)
        .map_err(|error| unreadable(&format_args!("cannot be read back ({error})")))?;
    let is_same = is_same(codec, event, &read, &encoded.payload, |buffer| {
        write_event(codec, &read, buffer).is_ok_and(|name| *event_type == name)
    });
    match is_same {
        true => Ok(read),
        false => Err(unreadable(&"is read back as another value")),
    }
}

/// Turns a value into bytes, and makes sure that they are read as that value.
///
/// # Errors
/// [`CodecError::Unencodable`] when it cannot be written, cannot be read back, or is then another value.
pub fn encode_certainly<T: Serialize + DeserializeOwned>(
    codec: PayloadCodec,
    value: &T,
) -> Result<Bytes, CodecError> {
    let payload = encode(codec, value)?;
    let unencodable = |reason: String| CodecError::Unencodable {
        type_name: std::any::type_name::<T>(),
        reason,
    };
    let read: T = decode(codec.id(), &payload)
        .map_err(|error| unencodable(format!("it cannot be read back: {error}")))?;
    let is_same = is_same(codec, value, &read, &payload, |buffer| {
        codec.write(&read, buffer).is_ok()
    });
    match is_same {
        true => Ok(payload),
        false => Err(unencodable("it is read back as another value".to_owned())),
    }
}

/// Whether a value that was read is the one that was written.
fn is_same<T: Serialize>(
    codec: PayloadCodec,
    written: &T,
    read: &T,
    payload: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> bool,
) -> bool {
    // The same bytes are the same value, except in JSON, and in bincode where a field is left out: what comes after it is
    // taken for it, and can have the same bytes.
    let are_bytes_enough = match codec {
        PayloadCodec::Json => false,
        PayloadCodec::ByName => true,
        PayloadCodec::Bincode => !leaves_out(written),
    };
    let same_bytes = are_bytes_enough && buffered(|buffer| write(buffer) && buffer == payload);
    // Other bytes may be the same value all the same: a map is read into another order.
    same_bytes || {
        let is_human_readable = codec == PayloadCodec::Json;
        let before = digest(written, is_human_readable);
        before.is_some() && before == digest(read, is_human_readable)
    }
}

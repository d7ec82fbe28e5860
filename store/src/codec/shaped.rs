//! Values that can be made again from events: read only as exactly the type that they were written as.
//!
//! A snapshot whose type has gained a field could be read with that field empty, as a command would be; but folded from
//! the events it may not be empty. So what is derived is read strictly, or not at all.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CodecError;
use super::by_name::{Reader, Writer};
use super::payload::buffered;

/// What such bytes begin with, so that those of releases that wrote bincode are told from them: 8 bytes, the last one
/// the version.
const MARK: &[u8; 8] = b"\0shaped\x01";

/// Turns a value into bytes that say what its fields and variants are called.
///
/// # Errors
/// [`CodecError::Unencodable`] when the value has something that cannot be written, or whose shape could not be checked
/// when it is read (`serde(flatten)`).
pub fn encode_shaped<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    buffered(|buffer| {
        buffer.extend_from_slice(MARK);
        let written = value.serialize(&mut Writer::new(buffer, true));
        written.map_err(|error| CodecError::Unencodable {
            type_name: std::any::type_name::<T>(),
            reason: error.to_string(),
        })?;
        Ok(Bytes::copy_from_slice(buffer))
    })
}

/// Turns the bytes of [`encode_shaped`] into a value, if the type has the same fields and variants as when they were
/// written. Variants and fields may have been reordered, and variants added.
///
/// # Errors
/// [`CodecError::Undecodable`], which names the first difference. No bytes make this panic.
pub fn decode_shaped<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let undecodable = |reason: String| CodecError::Undecodable {
        type_name: std::any::type_name::<T>(),
        reason,
    };
    let Some(bytes) = bytes.strip_prefix(MARK) else {
        let reason = "they do not say what its fields were called: an earlier release wrote them";
        return Err(undecodable(reason.to_owned()));
    };
    let mut reader = Reader::new(bytes, true);
    let value = T::deserialize(&mut reader).map_err(|error| undecodable(error.to_string()))?;
    let end = reader.end();
    end.map_err(|error| undecodable(error.to_string()))?;
    Ok(value)
}

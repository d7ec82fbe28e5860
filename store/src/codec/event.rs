//! From an event to what is appended.

use std::borrow::Cow;
use std::cell::Cell;

use bytes::Bytes;
use chronicler_domain::Event;
use serde::{Serialize, Serializer};

use super::named::NameOff;
use super::payload::encode;
use super::{CodecError, PayloadCodec};
use crate::append::NewEvent;

/// Encodes an event under the stable name of its type; see [`Event`] for what that is.
///
/// # Errors
/// [`CodecError::Unencodable`] when it has something that the codec cannot write, or is neither an enum nor a
/// struct.
pub fn encode_event<E: Event>(codec: PayloadCodec, event: &E) -> Result<NewEvent, CodecError> {
    let name = Cell::new(None);
    let payload = encode(codec, &Nameless { event, name: &name })?;
    let event_type = name.get().ok_or_else(|| CodecError::Unencodable {
        type_name: std::any::type_name::<E>(),
        reason: "it has no name".to_owned(),
    })?;
    Ok(NewEvent {
        id: None,
        event_type: Cow::Borrowed(event_type),
        schema_version: E::schema_version(event_type),
        codec: codec.id(),
        payload,
        metadata: Bytes::new(),
    })
}

/// Appends what [`encode_event`] would write, and gives the name.
pub(super) fn write_event<E: Serialize>(
    codec: PayloadCodec,
    event: &E,
    out: &mut Vec<u8>,
) -> Result<&'static str, CodecError> {
    let name = Cell::new(None);
    codec.write(&Nameless { event, name: &name }, out)?;
    Ok(name.get().unwrap_or_default())
}

struct Nameless<'a, E> {
    event: &'a E,
    name: &'a Cell<Option<&'static str>>,
}

impl<E: Serialize> Serialize for Nameless<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.event.serialize(NameOff {
            inner: serializer,
            name: self.name,
        })
    }
}

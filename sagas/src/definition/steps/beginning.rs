//! The beginning of an instance of a step saga, as it was written.

use std::fmt::{self, Debug};
use std::sync::Arc;

use chronicler_store::codec::{CodecError, CodecId, decode, encode_certainly};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::encoding::GIVEN;

use crate::definition::error::DefinitionError;

/// The beginning of an instance: the bytes, and what this release reads them as. An instance whose beginning the present
/// type cannot be read from is still folded, shown, and undone by what its stream holds.
pub struct Beginning<T> {
    codec: u8,
    payload: Arc<[u8]>,
    read: Result<Arc<T>, CodecError>,
}

impl<T: Serialize + DeserializeOwned> Beginning<T> {
    /// As it is to be written.
    ///
    /// # Errors
    /// When it cannot be.
    pub(super) fn new(start: T) -> Result<Self, CodecError> {
        let payload = encode_certainly(GIVEN, &start)?;
        Ok(Self {
            codec: GIVEN.id().number(),
            payload: (&*payload).into(),
            read: Ok(Arc::new(start)),
        })
    }
}

impl<T> Beginning<T> {
    /// What it is, for this release.
    ///
    /// # Errors
    /// Why that cannot be read.
    pub fn read(&self) -> Result<&T, DefinitionError> {
        let unreadable = |error: &CodecError| DefinitionError::Beginning(error.clone());
        self.read.as_deref().map_err(unreadable)
    }
}

impl<T> Clone for Beginning<T> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec,
            payload: Arc::clone(&self.payload),
            read: self.read.clone(),
        }
    }
}

impl<T> PartialEq for Beginning<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.codec, &self.payload) == (other.codec, &other.payload)
    }
}

impl<T> Debug for Beginning<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning")
            .field("codec", &self.codec)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl<T> Serialize for Beginning<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.codec, &self.payload).serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Beginning<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (codec, payload) = <(u8, Vec<u8>)>::deserialize(deserializer)?;
        let read = decode(CodecId::new(codec), &payload);
        Ok(Self {
            read: read.map(Arc::new),
            codec,
            payload: payload.into(),
        })
    }
}

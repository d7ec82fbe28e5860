//! A value as bytes, and how they are encoded.

use chronicler_store::codec::{CodecError, CodecId, PayloadCodec, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value as bytes, and how they are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    codec: CodecId,
    bytes: Vec<u8>,
}

impl Payload {
    /// Bytes that were encoded by this codec.
    pub fn new(codec: CodecId, bytes: Vec<u8>) -> Self {
        Self { codec, bytes }
    }

    /// A value, encoded by name: a later type reads it, or says why not.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, CodecError> {
        let codec = PayloadCodec::ByName;
        Ok(Self {
            codec: codec.id(),
            bytes: encode(codec, value)?.to_vec(),
        })
    }

    /// A value as a person wrote it.
    pub(crate) fn json(text: &str) -> Self {
        Self::new(CodecId::JSON, text.as_bytes().to_vec())
    }

    /// How it is encoded.
    pub fn codec(&self) -> CodecId {
        self.codec
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, and nothing else of it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The value.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        decode(self.codec, &self.bytes)
    }
}

//! The codecs themselves, and the choice between them.

use std::cell::Cell;

use bincode::Options;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::by_name::{Reader, Writer};
use super::{CodecError, CodecId};

/// One way to turn values into bytes and back.
pub trait Codec {
    /// The number that payloads of this codec carry.
    const ID: CodecId;

    /// Appends a value's bytes.
    ///
    /// # Errors
    /// What the codec says, when the value cannot be written.
    fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads a value from all of the bytes.
    ///
    /// # Errors
    /// What the codec says, also when bytes are left over.
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<S::Value, String>;
}

/// How long a buffer for encoding may be that a thread keeps.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// bincode 1.3: compact, positional, little-endian, variable-length integers.
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

/// JSON: for looking at.
#[derive(Clone, Copy, Debug)]
pub struct Json;

/// Compact, and by name: fields and variants may be reordered and added, and a value says what it is.
#[derive(Clone, Copy, Debug)]
pub struct ByName;

impl Codec for Bincode {
    const ID: CodecId = CodecId::BINCODE;

    fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
        bincode::DefaultOptions::new()
            .serialize_into(out, value)
            .map_err(|error| error.to_string())
    }

    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<S::Value, String> {
        // No limit is set, because bincode sets it aside when it reads from a slice: there the slice itself
        // is the limit, and a length that claims more is an error before anything is allocated.
        bincode::DefaultOptions::new()
            .deserialize_seed(seed, bytes)
            .map_err(|error| error.to_string())
    }
}

impl Codec for Json {
    const ID: CodecId = CodecId::JSON;

    fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
        serde_json::to_writer(out, value).map_err(|error| error.to_string())
    }

    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<S::Value, String> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = seed
            .deserialize(&mut deserializer)
            .map_err(|error| error.to_string())?;
        deserializer.end().map_err(|error| error.to_string())?;
        Ok(value)
    }
}

impl Codec for ByName {
    const ID: CodecId = CodecId::BY_NAME;

    fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
        let written = value.serialize(&mut Writer::new(out, false));
        written.map_err(|error| error.to_string())
    }

    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<S::Value, String> {
        let mut reader = Reader::new(bytes, false);
        let value = seed.deserialize(&mut reader);
        let value = value.map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        Ok(value)
    }
}

/// Which codec new payloads are written with. What is in the log says itself how to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PayloadCodec {
    /// Compact and quick; the default.
    #[default]
    Bincode,
    /// Readable by anybody, several times larger.
    Json,
    /// Fields and variants by name, in binary: for what has no schema version of its own. Larger than bincode by the
    /// names, each once in a payload.
    ByName,
}

impl PayloadCodec {
    /// The number that its payloads carry.
    pub fn id(self) -> CodecId {
        match self {
            Self::Bincode => Bincode::ID,
            Self::Json => Json::ID,
            Self::ByName => ByName::ID,
        }
    }

    /// The codec for what has neither a schema version nor a name of its own (commands, replies, rejections, what steps
    /// give) where events are written with this one: one that knows fields and variants by name.
    pub fn by_name(self) -> Self {
        match self {
            Self::Bincode | Self::ByName => Self::ByName,
            Self::Json => Self::Json,
        }
    }

    /// The codec with this number, if it is known.
    pub fn from_id(id: CodecId) -> Option<Self> {
        [Self::Bincode, Self::Json, Self::ByName]
            .into_iter()
            .find(|codec| codec.id() == id)
    }

    pub(super) fn write<T: Serialize + ?Sized>(
        self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let written = match self {
            Self::Bincode => Bincode::write(value, out),
            Self::Json => Json::write(value, out),
            Self::ByName => ByName::write(value, out),
        };
        let type_name = std::any::type_name::<T>();
        written.map_err(|reason| CodecError::Unencodable { type_name, reason })
    }

    pub(super) fn read<'de, S: DeserializeSeed<'de>>(
        self,
        seed: S,
        bytes: &'de [u8],
    ) -> Result<S::Value, CodecError> {
        let read = match self {
            Self::Bincode => Bincode::read(seed, bytes),
            Self::Json => Json::read(seed, bytes),
            Self::ByName => ByName::read(seed, bytes),
        };
        let type_name = std::any::type_name::<S::Value>();
        read.map_err(|reason| CodecError::Undecodable { type_name, reason })
    }
}

/// Turns a value into bytes.
///
/// # Errors
/// [`CodecError::Unencodable`] when the value has something that the codec cannot write.
pub fn encode<T: Serialize + ?Sized>(codec: PayloadCodec, value: &T) -> Result<Bytes, CodecError> {
    buffered(|buffer| {
        codec.write(value, buffer)?;
        Ok(Bytes::copy_from_slice(buffer))
    })
}

/// Each thread keeps its buffer, so that a payload is one allocation of its own length and not one for each time it
/// had to grow.
pub(super) fn buffered<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken out, not borrowed: a value may encode others while it is written.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let written = write(&mut buffer);
    if buffer.capacity() <= BUFFER_BYTES_MAX {
        BUFFER.set(buffer);
    }
    written
}

/// Turns bytes into a value; all of them must belong to it.
///
/// # Errors
/// [`CodecError::UnknownCodec`] or [`CodecError::Undecodable`]. No bytes make this panic.
pub fn decode<T: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<T, CodecError> {
    let codec = PayloadCodec::from_id(codec).ok_or(CodecError::UnknownCodec { codec })?;
    codec.read(std::marker::PhantomData::<T>, bytes)
}

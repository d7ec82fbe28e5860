//! How values become bytes, and how a payload says which way it went.

mod decoder;
mod error;
mod event;
mod id;
mod named;
mod payload;
mod probe;
#[cfg(test)]
mod tests;

pub use decoder::{Decoded, EventDecoder, read_back};
pub use error::CodecError;
pub use event::encode_event;
pub use id::CodecId;
pub use payload::{Bincode, Codec, Json, PayloadCodec, decode, encode};
pub use probe::{check_events, event_types};

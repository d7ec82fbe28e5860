//! How values become bytes, and how a payload says which way it went.

mod by_name;
mod decoder;
mod digest;
mod error;
mod event;
mod id;
mod left_out;
mod named;
mod payload;
mod probe;
#[cfg(test)]
mod property_tests;
mod read_back;
mod shaped;
#[cfg(test)]
mod tests;

pub use decoder::{Decoded, EventDecoder};
pub use error::CodecError;
pub use event::encode_event;
pub use id::CodecId;
pub use payload::{Bincode, ByName, Codec, Json, PayloadCodec, decode, encode};

// What the runtime does with payloads beyond writing and reading them; hidden, since it is no promise.
#[doc(hidden)]
pub use probe::{check_events, event_types};
#[doc(hidden)]
pub use read_back::{encode_certainly, read_back};
#[doc(hidden)]
pub use shaped::{decode_shaped, encode_shaped};

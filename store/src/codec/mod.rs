//! How values become bytes, and how a payload says which way it went.

mod id;

pub use id::CodecId;

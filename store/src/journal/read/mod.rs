//! Reading the log: frames from files and memory, as batches for streams of commits.

mod all;
mod batches;
mod blocking;
mod facts;
mod frames;
mod stream;

pub(crate) use all::{LogView, offset_in_stream, read_all};
pub(crate) use blocking::{run, stream_batches};
pub(crate) use facts::FactReader;
pub(crate) use frames::FrameReader;
pub(crate) use stream::read_stream;

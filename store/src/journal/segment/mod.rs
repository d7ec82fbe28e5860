//! Segment files: their fixed front, their footer, and which of them there are.

mod builder;
mod catalogue;
mod footer;
mod header;

pub(crate) use builder::SealBuilder;
pub(crate) use catalogue::{Catalogue, Segment, Segments, file_name, number_of};
pub(crate) use footer::{Footer, SparseEntry, StreamEntry, Trailer, stream_hash};
pub(crate) use header::{SEGMENT_HEADER_BYTES, SegmentHeader};

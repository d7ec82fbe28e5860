//! A codec that knows fields and variants by name and says of every value what it is.
//!
//! bincode is positional: two fields of one type that change places are read as each other, and a variant that is
//! added in the middle turns every later one into its neighbour. What waits in a log for a later release, and has no
//! schema version of its own, is written with this instead. docs/FORMAT.md has the bytes, docs/adr/0016 the reasons.

mod access;
mod error;
mod read;
mod tag;
#[cfg(test)]
mod tests;
mod write;

pub(super) use read::Reader;
pub(super) use write::Writer;

/// How deep values may lie within each other. As in serde_json: a value that is nested deeper is an error, and no
/// bytes use up a thread's stack.
pub(super) const DEPTH_MAX: usize = 128;

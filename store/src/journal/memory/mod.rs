//! What the journal keeps in memory: recent frames, and heads and facts that the index does not have yet.

mod dirty;
mod facts;
mod heads;
mod tail;

pub(crate) use facts::{FactTable, FactValue, Stretch};
pub(crate) use heads::HeadTable;
pub(crate) use tail::{Chunk, Room, Tail};

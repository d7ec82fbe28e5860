//! Opening a journal: what is there, what of it holds, and what is made of the rest.

mod begin;
mod cut;
mod foreign;
mod found;
mod mend;
mod recover;
mod replay;
mod report;
mod scan;
mod sequence;
mod walk;

pub(crate) use foreign::{foreign, is_of_any_folder, told};
pub(crate) use found::{FoundSegment, begins_at, find_segments, io_failed, missing, read_segment};
pub(crate) use replay::{fill, holds};
pub use report::{CutTail, OpenReport};
pub(crate) use scan::{Stop, follows, note, scan, scan_frames};
pub(crate) use sequence::{OpenIndex, open};
pub(crate) use walk::walk_dry;

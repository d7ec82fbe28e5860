//! The bytes of one commit: the unit that is written, checked and read. docs/FORMAT.md is its page.

mod encode;
mod header;
mod peek;
mod record;
pub(crate) mod varint;
mod view;

pub use encode::{FramePlace, encode};
pub use header::{FRAME_VERSION, FrameHeader, HEADER_BYTES};
pub(crate) use peek::StreamLink;
pub use record::{FactKind, OutcomeRecord, OutcomeResult, RecordRef, SideRecord};
pub use view::{EventRef, FrameError, PartRef, RecordedCommit, derived_event_id};

//! The bytes of one commit: the unit that is written, checked and read. docs/FORMAT.md is its page.

mod body;
mod check;
mod encode;
mod error;
mod header;
mod part;
mod peek;
mod record;
mod text;
pub(crate) mod varint;
mod view;

pub(crate) use check::CheckedFrame;
pub use encode::{FramePlace, encode};
pub use error::FrameError;
pub use header::{FRAME_VERSION, FrameHeader, HEADER_BYTES};
pub use part::{EventRef, PartRef, derived_event_id};
pub(crate) use peek::StreamLink;
pub use record::{FactKind, OutcomeRecord, OutcomeResult, RecordRef, SideRecord};
pub use view::RecordedCommit;

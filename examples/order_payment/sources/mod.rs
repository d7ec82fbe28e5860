//! What the shop reads: the Olist files and the neutral format, as messages in their order.

mod decimal;
mod error;
pub(crate) mod generator;
mod json_fields;
mod message;
mod neutral;
mod olist_files;
mod olist_plan;

pub(crate) use error::SourceError;
pub(crate) use message::{Message, Sent};
pub(crate) use neutral::NeutralReader;
pub(crate) use olist_files::{OlistOrder, read_olist};
pub(crate) use olist_plan::{FeedOrder, olist_plan};

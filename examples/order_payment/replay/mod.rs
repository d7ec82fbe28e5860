//! Bringing a feed into the shop, and going on where the last run ended.

mod cursor;
mod feeder;
mod opening;

pub(crate) use feeder::{FeedError, Feeder, Pace, Taken};

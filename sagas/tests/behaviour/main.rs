//! What the executor promises, seen through a small order process over the store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod errand;
mod fixture;
mod process;
mod shop;
mod watch;

mod attempts;
mod child_limits;
mod continued;
mod cycles;
mod decisions;
mod inputs;
mod letters;
mod operators;
mod parked;
mod places;
mod porter;
mod recorded;
mod recovery;
mod registered;
mod routing;
mod scenarios;
mod sent_again;
mod set_aside;
mod signals;
mod split;
mod unanswered;

//! What the runtime promises of an aggregate, over the store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

mod fixture;
mod follower;

mod commands;
mod durable;
mod fencing;
mod foreign_timers;
mod lives;
mod log_thread;
mod looks;
mod memory;
mod outcomes;
mod panics;
mod passing;
mod poison;
mod refusals;
mod repetition;
mod shapes;
mod snapshots;
mod time;
mod workers;

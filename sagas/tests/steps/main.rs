//! The step language over a store in memory and a clock that is turned by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod alternatives;
mod approval;
mod branches;
mod children;
mod journey;
mod parts;
mod providers;
mod vectors;
mod verbs;
mod versions;
mod world;

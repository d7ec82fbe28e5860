//! The driver `esdrv` as outsiders use it: what they can check of a process that is killed again and again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod appends;
mod bank;
mod client;
mod history;
mod matrix;
mod register;
mod subscription;

//! The operator's tool as operators use it: the binary, on directories that a store has written.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod backup;
mod directory;
mod export;
mod live;
mod parked;
mod reading;
mod sagas;
mod tool;
mod typed;
mod verbs;
mod verify;
mod verify_speed;

//! The bytes of format 1, as they were once written: frames as text, and a data directory.
//!
//! docs/FORMAT.md is their page. CONTRIBUTING.md says when and how they are written anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod decoders;
mod directory;
mod file;
mod frames;
mod history;
mod mutated;

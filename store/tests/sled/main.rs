//! The store in sled from outside: its process is killed, its disk is full, its files are damaged.
//!
//! More rounds: `CHRONICLER_CRASH_ROUNDS=500 CHRONICLER_DAMAGE_ROUNDS=200 cargo test -p chronicler-store --test sled`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod commits;
mod damaged;
mod figures;
mod full;
mod killed;
mod process;

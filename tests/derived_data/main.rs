//! What is derived may be lost: whatever becomes of the folder of sled, everything is answered as before.
#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

mod damage;
mod files;
mod history;
mod observe;
mod world;

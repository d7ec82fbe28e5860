//! What the example `order_payment` promises: its aggregates, its readers and its reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod generated;
mod killed;
#[path = "../lives/mod.rs"]
mod lives;
mod olist;
mod operated;
mod orders_file;
mod processes;
mod program;

//! What the example `order_payment` promises: its aggregates, its readers and its reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod generated;
mod killed;
mod olist;
mod orders_file;
mod processes;
mod program;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example uses all of it, this target some"
)]
#[path = "../../examples/order_payment/domain/mod.rs"]
mod domain;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example uses all of it, this target some"
)]
#[path = "../../examples/order_payment/sources/mod.rs"]
mod sources;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example uses all of it, this target some"
)]
#[path = "../../examples/order_payment/gateway/mod.rs"]
mod gateway;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example uses all of it, this target some"
)]
#[path = "../../examples/order_payment/sagas/mod.rs"]
mod sagas;

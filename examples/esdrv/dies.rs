//! The same driver as a test target of its own, so that its crash points can be armed and those of no example are.

mod account;
mod answer;
mod commands;
mod driver;
mod events;
mod opening;
mod register;
mod requests;
mod serve;
mod snapshots;
mod subscriptions;
mod tracking;
mod transfer;
mod views;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example order_payment uses all of it"
)]
#[path = "../order_payment/domain/mod.rs"]
mod domain;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example order_payment uses all of it"
)]
#[path = "../order_payment/gateway/mod.rs"]
mod gateway;

#[allow(
    dead_code,
    unused_imports,
    reason = "the example order_payment uses all of it"
)]
#[path = "../order_payment/sagas/mod.rs"]
mod sagas;

use std::process::ExitCode;

fn main() -> ExitCode {
    serve::run()
}

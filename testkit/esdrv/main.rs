//! A driver for checkers in other languages: JSON lines in, JSON lines out, over the real runtime and the durable
//! store. The README beside it describes the protocol.

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

use std::process::ExitCode;

fn main() -> ExitCode {
    serve::run()
}

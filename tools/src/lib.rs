//! Who operates Chronicler: the command line, as the binary `chronicler` and as a library to be mounted in a
//! binary that knows an application's types.

mod backup;
mod cli;
mod commit_line;
mod damage;
mod event_line;
mod event_types;
mod events;
mod exit;
mod export;
mod import;
mod operate;
mod output;
mod payload;
mod progress;
mod rebuild;
mod repair;
mod restore;
mod run;
mod saga_line;
mod sagas;
mod stat;
mod stream_name;
mod streams;
mod tail;
mod verify;

pub use cli::{Cli, EventsArguments, Reason, StreamsArguments, TailArguments, Verb};
pub use event_types::EventTypes;
pub use exit::{Exit, ToolError};
pub use output::Output;
pub use payload::{Payloads, SelfDescribing};
pub use run::{main, run};

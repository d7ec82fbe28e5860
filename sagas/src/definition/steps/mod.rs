//! The step language: a process as a list of steps, with what takes each of them back.
//!
//! [`StepSaga`] is what an application writes, [`Steps`] makes a [`Saga`](crate::Saga) of it. ADR 10 has the reasons.

mod adapter;
mod advance;
mod answers;
mod beginning;
mod build;
mod calls;
mod definition;
mod diagram;
mod effect_key;
mod encoding;
mod given_up;
mod key;
mod last;
mod list;
mod migrate;
mod node;
mod outputs;
mod phase;
mod saga;
mod say;
mod seen;
mod state;
mod step_decision;
mod target;
mod waits;
mod whole;

pub use beginning::Beginning;
pub use build::Define;
pub use definition::Definition;
pub use given_up::{Cause, GivenUp};
pub use key::StepKey;
pub use last::Sent;
pub use list::{Nil, Perhaps, Ran, StepList};
pub use migrate::Migration;
pub use phase::{Compensable, Pivoted};
pub use saga::{Heard, OlderDefinition, Signal, StepSaga, Steps, to_child};
pub use seen::{Attempt, Seen};
pub use state::{StepEvent, StepState};
pub use target::{Surely, To, ToChild, ToService, surely, to, to_service};

//! The step language: a process as a list of steps, with what takes each of them back.
//!
//! [`StepSaga`] is what an application writes, [`Steps`] makes a [`Saga`](crate::Saga) of it. ADR 10 has the reasons.

mod build;
mod course;
mod definition;
mod diagram;
mod key;
mod list;
mod node;
mod phase;
mod saga;
mod seen;
mod state;
mod target;

pub use build::Define;
pub use definition::Definition;
pub use key::StepKey;
pub use list::{HasRun, Here, MayHaveRun, Nil, Perhaps, Ran, StepList, There};
pub use phase::{AfterPivot, BeforePivot, Compensable, NeverHappens, Pivoted};
pub use saga::{Heard, Signal, StepSaga, Steps};
pub use seen::{Attempt, Seen};
pub use state::{StepEvent, StepState};
pub use target::{To, ToService, to, to_service};

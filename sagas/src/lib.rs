//! Who coordinates: process managers over the log, their effects, timers and compensation.
//!
//! A saga instance is hosted like an aggregate: one at a time, recovered from its own stream. Each input is one
//! commit that holds what was consumed, what was decided, and the timers armed; effects are carried out only
//! after it is durable, and found done when they are tried again.

mod answer;
mod effect;
mod entity;
mod executor;
mod external;
mod handle;
mod instance;
mod journal;
mod next;
mod operate;
mod options;
mod quiet;
mod registry;
mod router;
mod routes;
mod saga;
mod status;
mod step;
pub mod steps;
mod turns;

pub use answer::{Answer, CallOutcome, Outcome};
pub use effect::{EffectSpec, Request, Undo};
pub use external::{CallResult, ExternalService};
pub use handle::{CancelError, OpenSaga, SagaHandle, SagaView};
pub use instance::{EffectState, EffectView, InstanceState, UndoState};
pub use next::Next;
pub use operate::QuarantinedSaga;
pub use options::SagaOptions;
pub use registry::{SagaStartError, Sagas, SagasBuilder, StartFrom};
pub use routes::{EventInfo, Route, Routes};
pub use saga::{Input, Saga, SagaContext};
pub use status::{Ending, SagaStatus};

//! Who coordinates: process managers over the log, their effects, timers and compensation.
//!
//! A saga instance is hosted like an aggregate: one at a time, recovered from its own stream. Each input is one
//! commit that holds what was consumed, what was decided, and the timers armed; effects are carried out only
//! after it is durable, and found done when they are tried again.

mod answer;
mod armed;
mod attempt;
mod backlog;
mod circuit;
mod effect;
mod effect_view;
mod effects;
mod entity;
mod executor;
mod external;
mod fork;
mod handle;
mod held;
mod history;
mod instance;
mod journal;
mod next;
mod open_fact;
mod operate;
mod options;
mod quiet;
mod registry;
mod replay;
mod resources;
mod router;
mod routes;
mod saga;
mod scripted;
mod standing;
mod status;
mod step;
pub mod steps;
mod take_up;
mod terms;
mod turns;
mod undefined;
mod undo_order;
mod verb;

pub use answer::{Answer, CallOutcome, Outcome};
pub use circuit::CircuitOptions;
pub use effect::{EffectSpec, Request, Undo};
pub use effect_view::{EffectState, EffectView, UndoState};
pub use external::{CallResult, ExternalService};
pub use handle::{CancelError, OpenSaga, SagaHandle, SagaView};
pub use history::HistoryLine;
pub use instance::InstanceState;
pub use next::Next;
pub use operate::{ListedSaga, QuarantinedSaga, SagaShown, list_open};
pub use options::SagaOptions;
pub use registry::{SagaStartError, Sagas, SagasBuilder, StartFrom};
pub use replay::{ReplayDifference, ReplayError, Replayed, replay};
pub use routes::{EventInfo, Route, Routes};
pub use saga::{Input, Saga, SagaContext, Said};
pub use scripted::{Scripted, Wanted};
pub use status::{Ending, SagaStatus};
pub use terms::{Orphan, Terms, Tries};
pub use verb::{SagaVerb, Settled};

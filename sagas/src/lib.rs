//! Sagas coordinate: process managers over the log, their effects, timers and compensation.
//!
//! A saga instance is hosted like an aggregate: one at a time, recovered from its own stream. Each input is one
//! commit that holds what was consumed, what was decided, and the timers armed; effects are carried out only
//! after it is durable, and found done when they are tried again.
//!
//! Four rooms, each knowing only those before it: what one writes, one instance, carrying out, operating.

mod definition;
mod execution;
mod instance;
mod operation;

pub use definition::answer::{Answer, EffectAnswer};
pub use definition::effect::{Request, Undo};
pub use definition::effect_view::{EffectState, EffectView, UndoState};
pub use definition::error::DefinitionError;
pub use definition::external::{CallResult, ExternalService};
pub use definition::input::{Input, Message, SagaContext};
pub use definition::next::Next;
pub use definition::payload::Payload;
pub use definition::routes::{EventOrigin, Route, Routes};
pub use definition::saga::Saga;
pub use definition::steps;
pub use definition::terms::{Orphan, Terms, Tries};
pub use execution::circuit::CircuitOptions;
pub use execution::options::SagaOptions;
pub use instance::open_fact::OpenStatus;
pub use instance::status::{Ending, SagaStatus};
pub use instance::verb::{Order, SagaVerb};
pub use operation::any::{QuarantinedSaga, SagaDetails};
pub use operation::error::OperateError;
pub use operation::handle::{SagaHandle, SagaView};
pub use operation::history::HistoryLine;
pub use operation::open::{OpenSaga, list_open};
pub use operation::registry::{SagaStartError, SagasBuilder, StartFrom};
pub use operation::replay::{ReplayDifference, ReplayError, ReplayReport, replay};
pub use operation::sagas::Sagas;

// What the journal holds, and what the test kit plays scripts with: public, since that is another crate, and hidden, since it is
// no promise.
#[doc(hidden)]
pub use definition::effect::EffectSpec;
#[doc(hidden)]
pub use instance::rehearsal::Rehearsal;
#[doc(hidden)]
pub use instance::scripted::{PendingEffect, Scripted};

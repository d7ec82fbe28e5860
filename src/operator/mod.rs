//! What an operator asks of a running application, and how it is asked from outside the process.
//!
//! [`App::operate`](crate::App::operate) carries a verb out. An application over a data directory also listens on a
//! Unix socket in it: [`ask`] is the other end, and the command line uses that.

mod client;
mod parked;
mod perform;
mod sagas;
mod server;
mod socket;
mod verb;

pub use client::{AskError, ask, ask_telling};
pub use sagas::{EffectLine, HappenedLine, SagaDetail, SagaLine};
pub(crate) use server::listen;
pub use verb::{
    FailingLine, FollowerLine, OperatorError, OperatorRequest, OperatorVerb, ParkedLine,
    ProjectionLine, QuarantineLine, Status, SubscriptionLine, WhichParked, WorkerLine,
};

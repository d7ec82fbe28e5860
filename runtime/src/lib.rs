//! Who executes: dispatch, supervised aggregate actors, timers, subscriptions and workers.
//!
//! The only crate that names the actor library; none of its types is in a public signature.

mod actor;
mod aggregate;
mod backoff;
mod builder;
mod clock;
mod contain;
mod core;
mod dedup;
mod directory;
mod dispatch;
mod durable;
mod effects;
mod entity;
mod envelope;
mod error;
mod failing;
mod fingerprint;
mod follow;
mod ids;
mod in_flight;
mod inbox;
mod instance;
mod look_ups;
mod options;
mod quarantine;
mod receipt;
mod residents;
mod runtime;
mod snapshots;
mod subscription;
mod supervision;
mod sweeper;
mod tasks;
mod telemetry;
mod timers;
mod workers;

pub use backoff::{Backoff, Jitter};
pub use builder::{BuildError, BuildProblem, RuntimeBuilder};
pub use clock::{Clock, ManualClock, SystemClock};
pub use dispatch::{Deadline, SendOptions, StateOf};
pub use durable::{
    Acknowledger, Begin, CheckpointPolicy, Confirmation, Delivery, DurableOptions,
    DurableSubscription, SubscribeError,
};
pub use error::{DispatchError, SendError};
pub use failing::FailingInstance;
pub use follow::{
    Consumer, FollowerError, FollowerHandle, FollowerSpec, FollowerStatus, PARKED_REASON_MAX,
    ParkedEvent, ParkedGroup, Plan, Planned, Selection, SetAside, Trouble, group_parked,
    parked_events,
};
pub use options::{RestartPolicy, RuntimeOptions};
pub use quarantine::QuarantinedInstance;
pub use receipt::Receipt;
pub use runtime::{Runtime, StopOptions, StopReport};
pub use snapshots::{SnapshotFacts, SnapshotPolicy};
pub use subscription::{Batch, Subscription, SubscriptionOptions};
pub use timers::{FiredTimer, TimerHandler, TimerWait, Timers};
pub use workers::{
    WorkerContext, WorkerError, WorkerHandle, WorkerInfo, WorkerSpec, WorkerStatus, WorkerTrouble,
    Workers,
};

// What the crates of this workspace host their instances with, send effects by and keep facts under. Public, since they are
// other crates, and hidden, since it is no promise: an application has aggregates, sagas and projections.
#[doc(hidden)]
pub use aggregate::AggregateEntity;
#[doc(hidden)]
pub use dispatch::EntityHandle;
#[doc(hidden)]
pub use effects::{EffectCommand, EffectDispatcher, EffectOutcome};
#[doc(hidden)]
pub use entity::{Draft, EncodedOutcome, Entity, FoldError, Refusal, Undecided};
#[doc(hidden)]
pub use follow::{forget_parked, record_parked};
#[doc(hidden)]
pub use timers::{owner_of_timer, timer_key};

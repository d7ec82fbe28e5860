//! Chronicler: an actor-based, in-process CQRS and event-sourcing runtime.
//!
//! An application defines aggregates (pure decisions), projections (what it wants to know) and sagas (what must
//! happen across aggregates), hands them to [`App`], and runs. Each aggregate instance is a supervised actor over a
//! durable log.
//!
//! ```
#![doc = include_str!("../examples/bank_account.rs")]
//! ```
//!
//! # The guide
//!
//! It is the folder `docs/guide` of the repository, and each page has its part of this documentation:
//!
//! 1. *The first aggregate* (`1-first-aggregate.md`): an [`Aggregate`] decides a command and gives an [`Event`];
//!    [`App::send`] gives a [`Receipt`].
//! 2. *Events change* (`2-events-change.md`): what is in the log stays. [`Event`] has names and versions, and
//!    [`Upcasters`](domain::Upcasters) bring old ones to the shape of today.
//! 3. *Projections* (`3-projections.md`): a [`Projection`] is a view in memory, a [`TableProjection`] one of rows on disk.
//!    [`App::view`] asks it, and [`at_least`](projections::MemoryView::at_least) reads one's own writes.
//! 4. *Sagas* (`4-sagas.md`): a [`StepSaga`] is a list of steps with what takes each back, a [`Saga`] reacts to what it hears.
//!    [`SagaHandle`](sagas::SagaHandle) shows and operates its instances.
//! 5. *When it fails* (`5-errors.md`): each [`SendError`] and [`DispatchError`] says with [`Outcome`] what became of the
//!    command, and under the same [`CommandId`] it can be sent again.
//! 6. *Running it* (`6-running.md`): [`App::open_with`] and [`JournalOptions`](store::journal::JournalOptions) say where and how
//!    durably, [`Durability`](store::journal::Durability) what an answer survives; [`App::stop`] ends it.
//! 7. *Operating* (`7-operating.md`): [`operator`] asks a running application, and the command line `chronicler` looks into
//!    its directory.
//!
//! Tests are written with the crate `chronicler-testkit`: given, when, then for aggregates, scripts for sagas, a clock that
//! stands still.
//!
//! # What is where
//!
//! This page has what every application names, and [`prelude`] what its files import. The rest is reached through the crates:
//! [`domain`] (what one writes), [`store`] (the log, its options and tools), [`runtime`] (clock, options, subscriptions),
//! [`projections`] and [`sagas`]. Public structs that may get more fields are `#[non_exhaustive]` where they are only read;
//! options that are written out are completed with `..Default::default()`.

mod app;
mod builder;
mod command;
mod error;
mod open;
pub mod operator;
mod scope;
mod unregistered;

pub use app::App;
pub use builder::AppBuilder;
pub use command::Command;
pub use error::{StartError, ViewAccessError};
pub use scope::{Scope, View};
pub use unregistered::{Unregistered, UnregisteredKind};

// What every application names. The rest is reached through its crate.
pub use chronicler_domain::{
    Aggregate, AggregateId, CommandId, Context, Decided, Decision, Event, Never, Tenant, Timestamp,
};
pub use chronicler_projections::{Projection, TableProjection};
pub use chronicler_runtime::{DispatchError, Receipt, SendError};
pub use chronicler_sagas::steps::{StepSaga, Steps};
pub use chronicler_sagas::{Next, Route, Routes, Saga};
pub use chronicler_store::Outcome;

pub use chronicler_domain as domain;
pub use chronicler_projections as projections;
pub use chronicler_runtime as runtime;
pub use chronicler_sagas as sagas;
pub use chronicler_store as store;

/// What files with aggregates, projections and sagas import: the traits, what their methods take and give, the application,
/// and the step language.
pub mod prelude {
    pub use crate::{App, AppBuilder};
    pub use chronicler_domain::{
        Aggregate, AggregateId, Certain, CommandId, Context, Decided, Decision, Event, Never,
        Tenant, Timestamp, Upcasters,
    };
    pub use chronicler_projections::{
        EventInfo, Handlers, Projection, Table, TableHandlers, TableProjection,
    };
    pub use chronicler_runtime::{DispatchError, Receipt, SendError};
    pub use chronicler_sagas::steps::{
        Attempt, Cause, Compensable, Define, Definition, GivenUp, Heard, Nil, Seen, StepList,
        StepSaga, Steps, Surely, To, ToService, surely, to, to_child, to_service,
    };
    pub use chronicler_sagas::{
        Answer, CallResult, ExternalService, Input, Next, Route, Routes, Saga, SagaContext,
        SagaStatus, step_keys,
    };
    pub use chronicler_store::Outcome;
}

/// The guide's blocks of code, compiled and run.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../docs/guide/1-first-aggregate.md")]
    mod first_aggregate {}
    #[doc = include_str!("../docs/guide/2-events-change.md")]
    mod events_change {}
    #[doc = include_str!("../docs/guide/3-projections.md")]
    mod projections {}
    #[doc = include_str!("../docs/guide/4-sagas.md")]
    mod sagas {}
    #[doc = include_str!("../docs/guide/5-errors.md")]
    mod errors {}
    #[doc = include_str!("../docs/guide/6-running.md")]
    mod running {}
}

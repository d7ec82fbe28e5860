//! Chronicler: an actor-based, in-process CQRS and event-sourcing runtime.
//!
//! An application defines aggregates (pure decisions), projections (what it wants to know) and sagas (what must
//! happen across aggregates), hands them to [`App`], and runs. Each aggregate instance is a supervised actor over a
//! durable log.
//!
//! ```
#![doc = include_str!("../examples/bank_account.rs")]
//! ```

mod app;
mod builder;
mod command;
mod error;
pub mod operator;
mod scope;
mod unregistered;

pub use app::App;
pub use builder::AppBuilder;
pub use command::Command;
pub use error::{StartError, ViewAccessError};
pub use scope::{Scope, View};
pub use unregistered::{Unregistered, UnregisteredKind};

pub use chronicler_domain as domain;
pub use chronicler_projections as projections;
pub use chronicler_runtime as runtime;
pub use chronicler_sagas as sagas;
pub use chronicler_store as store;

/// What most applications import.
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
    pub use chronicler_sagas::{
        Answer, CallResult, ExternalService, Input, Next, Route, Routes, Saga, SagaContext,
        SagaStatus,
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

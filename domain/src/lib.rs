//! What an application writes: aggregates, events, identities and positions.
//!
//! This crate is pure and synchronous. It knows no async, no clock, no randomness and no bytes: time and
//! ids come into `decide` as values, and how an event becomes bytes is the store's affair.

mod aggregate;
mod certain;
mod command_id;
mod context;
mod event;
mod identity;
mod metadata;
mod never;
mod position;
mod stream_id;
mod time;
mod upcast;

pub use aggregate::{Aggregate, Decided, Decision};
pub use certain::Certain;
pub use command_id::{CommandId, InvalidCommandId};
pub use context::Context;
pub use event::Event;
pub use identity::{
    AggregateId, CATEGORY_BYTES_MAX, Category, ID_BYTES_MAX, InvalidId, TENANT_BYTES_MAX, Tenant,
};
pub use metadata::{Metadata, Principal};
pub use never::Never;
pub use position::{GlobalPosition, LogSequence, SchemaVersion, StreamVersion};
pub use stream_id::{InvalidStreamId, StreamId};
pub use time::{InvalidTimestamp, Timestamp};
pub use upcast::{UpcastGap, UpcastStep, Upcasted, Upcasters};

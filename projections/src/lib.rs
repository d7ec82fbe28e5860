//! Who answers: projections that fold events, in the order of the log, into views.
//!
//! A [`Projection`] is a view in memory, a [`TableProjection`] a view of rows in the store. Each is followed by
//! a supervised worker of its own. What a view shows is always a whole prefix of the log, up to its position;
//! waiting for a position ([`MemoryView::at_least`]) therefore reads one's own writes.

mod definition;
mod error;
mod event_info;
mod failure;
mod fingerprint;
mod fold;
mod handlers;
mod hooks;
mod ledger;
mod memory;
mod options;
mod parked;
mod progress;
mod projection;
mod registry;
mod status;
mod table;
mod waiting;
mod worker;

pub use chronicler_runtime::{ParkedEvent, ParkedGroup, Selection, SetAside};
pub use definition::PROJECTION_NAME_BYTES_MAX;
pub use error::{ParkedError, RebuildError, StartError, ViewError, WaitError};
pub use event_info::EventInfo;
pub use failure::{
    AfterRetries, BACKOFF_FIRST_DEFAULT, BACKOFF_MAX_DEFAULT, FailurePolicy, RETRIES_DEFAULT,
};
pub use handlers::{Handlers, Refused};
pub use hooks::ProjectionHooks;
pub use memory::{MemoryView, ViewRef};
pub use options::{
    BATCH_EVENTS_MAX_DEFAULT, CACHED_ROWS_DEFAULT, FLUSH_BYTES_DEFAULT, FLUSH_EVENTS_DEFAULT,
    FLUSH_IDLE_DEFAULT, FLUSH_ROWS_DEFAULT, FlushPolicy, ORDER_KEY_BYTES_MAX,
    PARKED_EVENTS_MAX_DEFAULT, ProjectionOptions, WAIT_DEFAULT,
};
pub use parked::projection_of_facts;
pub use projection::{Projection, TableHandlers, TableProjection};
pub use registry::{Projections, ProjectionsBuilder};
pub use status::{ProjectionInfo, ProjectionStatus, StartProgress, UNHEALTHY_AFTER, Unhealthy};
pub use table::{ROW_KEY_BYTES_MAX, SCAN_ROWS_MAX, Table, TablePage, TableView};
pub use waiting::WAITING_MAX;
pub use worker::RebuildReport;

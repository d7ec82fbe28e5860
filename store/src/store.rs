//! Everything a runtime needs from one store.

use crate::{EventLog, SnapshotStore, ViewStore};

/// A log with the snapshots and views that were derived from it.
pub trait Store: EventLog + SnapshotStore + ViewStore {}

impl<T: EventLog + SnapshotStore + ViewStore> Store for T {}

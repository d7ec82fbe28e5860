//! Snapshots and views in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chronicler_domain::{StreamId, StreamVersion};

use crate::error::StoreError;
use crate::snapshot::Snapshot;
use crate::view::{ViewCheckpoint, ViewName, ViewRow};

/// What a log can be asked for, kept beside it.
#[derive(Clone, Default)]
pub(super) struct Derived {
    pub(super) snapshots: BTreeMap<StreamId, BTreeMap<StreamVersion, Snapshot>>,
    pub(super) views: BTreeMap<ViewName, View>,
    /// Views that are gone, and whose owners do not know it yet.
    pub(super) lost: BTreeSet<ViewName>,
}

#[derive(Clone, Default)]
pub(super) struct View {
    pub(super) checkpoint: Option<ViewCheckpoint>,
    pub(super) rows: BTreeMap<Bytes, ViewRow>,
}

impl Derived {
    pub(super) fn corrupt_newest_snapshot(&mut self, stream: &StreamId) {
        let newest = self
            .snapshots
            .get_mut(stream)
            .and_then(|kept| kept.values_mut().next_back());
        if let Some(newest) = newest {
            newest.payload = Bytes::from_static(&[0xff; 3]);
        }
    }

    pub(super) fn lose_views(&mut self) {
        self.lost
            .extend(std::mem::take(&mut self.views).into_keys());
    }

    pub(super) fn check(&self, view: &ViewName) -> Result<(), StoreError> {
        if self.lost.contains(view) {
            return Err(StoreError::Derived {
                operation: "using a view",
                reason: "it is gone: ask for its generations, and build it again".into(),
            });
        }
        Ok(())
    }
}

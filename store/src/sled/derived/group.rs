//! Requests that are written together, and answered together.

use std::collections::{BTreeMap, BTreeSet};

use chronicler_domain::StreamVersion;
use tokio::sync::oneshot;

use super::anchor;
use super::checkpoint::{self, ViewNumber, ViewState};
use super::shared::{Shared, derived_error};
use super::snapshots;
use super::views;
use super::writer::Verb;
use crate::error::StoreError;
use crate::index::IndexError;
use crate::sled::cell::Plan;
use crate::sled::database::Database;
use crate::sled::handles::Batch;
use crate::sled::row::Tally;
use crate::snapshot::Snapshot;
use crate::test_points::{CrashPlace, reached};
use crate::view::{ViewCheckpoint, ViewName, ViewRow};

/// Changes that wait to be written.
#[derive(Default)]
pub(super) struct Group {
    snapshots: Plan,
    /// Streams that got a snapshot, and may have one too many now.
    saved: BTreeSet<Box<str>>,
    rows: Plan,
    views: BTreeMap<ViewName, ViewState>,
    answers: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Group {
    /// Plans one request; those that cannot be written together with others are not taken.
    pub(super) fn plan(&mut self, shared: &Shared, db: &Database, verb: Verb) {
        let (planned, answer) = match verb {
            Verb::Save {
                stream_key,
                snapshot,
                answer,
            } => (self.save(db, &stream_key, &snapshot), answer),
            Verb::Delete {
                stream_key,
                at_most,
                answer,
            } => (self.delete(db, &stream_key, at_most), answer),
            Verb::Write {
                view,
                rows,
                checkpoint,
                answer,
            } => (self.write(shared, db, &view, &rows, checkpoint), answer),
            Verb::Generations { .. } | Verb::Verify { .. } | Verb::Drop { .. } => return,
        };
        // It fails before it has planned anything, or with the database, which then takes nothing more.
        match planned {
            Ok(()) => self.answers.push(answer),
            Err(error) => drop(answer.send(Err(derived_error("write", &error)))),
        }
    }

    fn save(
        &mut self,
        db: &Database,
        stream_key: &str,
        snapshot: &Snapshot,
    ) -> Result<(), IndexError> {
        self.saved.insert(stream_key.into());
        snapshots::plan_save(&mut self.snapshots, db, stream_key, snapshot)
    }

    fn delete(
        &mut self,
        db: &Database,
        stream_key: &str,
        at_most: StreamVersion,
    ) -> Result<(), IndexError> {
        snapshots::plan_delete(&mut self.snapshots, db, stream_key, at_most)
    }

    fn write(
        &mut self,
        shared: &Shared,
        db: &Database,
        view: &ViewName,
        rows: &[ViewRow],
        checkpoint: ViewCheckpoint,
    ) -> Result<(), IndexError> {
        let mut state = match self.views.get(view) {
            Some(state) => state.clone(),
            None => known_or_new(shared, view, &checkpoint)?,
        };
        for row in rows {
            // Nobody falls back behind a checkpoint: what was removed up to it need not say so.
            if row.value.is_none() && row.position <= checkpoint.position {
                views::plan_removal(&mut self.rows, db, state.number, &row.key)?;
            } else {
                views::plan_row(&mut self.rows, db, state.number, row)?;
            }
        }
        state.checkpoint = checkpoint;
        self.views.insert(view.clone(), state);
        Ok(())
    }

    /// Writes everything and answers everyone.
    pub(super) fn commit(mut self, shared: &Shared, db: &Database) {
        if self.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        let (snapshots, views) = (!self.saved.is_empty(), !self.views.is_empty());
        if snapshots {
            reached(CrashPlace::SnapshotSave);
        }
        if views {
            reached(CrashPlace::ViewWrite);
        }
        let written = self.write_all(shared, db);
        if snapshots {
            reached(CrashPlace::SnapshotSaved);
        }
        if views {
            reached(CrashPlace::ViewWritten);
        }
        for answer in answers {
            let result = written.clone();
            drop(answer.send(result.map_err(|error| derived_error("write", &error))));
        }
    }

    fn write_all(mut self, shared: &Shared, db: &Database) -> Result<(), IndexError> {
        for stream_key in &self.saved {
            snapshots::plan_prune(&mut self.snapshots, db, stream_key)?;
        }
        for state in self.views.values_mut() {
            state.tally = views::planned_tally(&self.rows, db, state)?;
        }
        // Whatever is in the group was durable in the log when it was asked for.
        let anchor = shared.new_anchor();
        let mut loose: Vec<_> = anchor.iter().map(anchor::set).collect();
        loose.extend(self.snapshots.into_changes());
        let seal = self.views.iter();
        db.commit(Batch {
            loose,
            rows: self.rows.into_changes(),
            seal: seal
                .map(|(view, state)| checkpoint::set(view, state))
                .collect(),
        })?;
        if let Some(anchor) = anchor {
            shared.anchored(anchor);
        }
        shared.registry.write().views.extend(self.views);
        Ok(())
    }
}

/// A new view is whole from its first row; its number is taken even if the write fails.
fn known_or_new(
    shared: &Shared,
    view: &ViewName,
    checkpoint: &ViewCheckpoint,
) -> Result<ViewState, IndexError> {
    let mut registry = shared.registry.write();
    if let Some(state) = registry.find(view)? {
        return Ok(state.clone());
    }
    let number: ViewNumber = registry.next_number;
    registry.next_number = number.next();
    Ok(ViewState {
        number,
        checkpoint: checkpoint.clone(),
        tally: Tally::default(),
        verified: true,
    })
}

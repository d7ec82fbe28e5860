//! Taking snapshots, off the reply path and of durable versions only; and the passivation that may take one.

use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::Snapshot;
use chronicler_store::codec::{PayloadCodec, encode};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::turn::Turn;
use crate::dedup::MemoryImage;
use crate::entity::Entity;
use crate::instance::SnapshotPlace;
use crate::snapshots::SnapshotFacts;

/// What every snapshot begins with. Earlier releases began with the length of the state, which this cannot be: each
/// passes over what the other wrote.
const SHAPE: u64 = 0xc4b0_0000_0000_0002;

/// A snapshot of a longer state is not taken again until half as many bytes of events have come: what snapshots cost in all
/// is then in proportion to the events, however the state grows.
const LARGE: u64 = 64 << 10;

/// What a snapshot holds: the entity's own bytes, and what must survive with them.
#[derive(Serialize, Deserialize)]
pub(super) struct SnapshotBody {
    shape: u64,
    pub(super) state: Vec<u8>,
    pub(super) memory: MemoryImage,
    pub(super) position: GlobalPosition,
}

impl SnapshotBody {
    /// Whether it was written as it is read now.
    pub(super) fn is_of_this_shape(&self) -> bool {
        self.shape == SHAPE
    }
}

impl<E: Entity> Turn<E> {
    /// Takes a snapshot if the policy says so and it can be taken now. The state is encoded now and saved when it is
    /// durable.
    ///
    /// While an earlier one of the instance waits to be saved, or as many of others as may, none is taken, and nothing is
    /// copied: it stays due, and the next commit asks again. So what waits is bounded, and what is taken then is newer.
    pub(super) fn snapshot_if_due(&mut self) {
        if self.is_snapshot_due(false)
            && let Some(place) = self.instance.place_for_snapshot()
        {
            drop(self.snapshot(place));
        }
    }

    fn is_snapshot_due(&self, passivating: bool) -> bool {
        if self.instance.entity.is_without_snapshots() {
            return false;
        }
        self.live.as_ref().is_some_and(|live| {
            let facts = SnapshotFacts {
                passivating,
                ..live.since_snapshot
            };
            let is_worth_it =
                live.snapshot_bytes <= LARGE || facts.bytes >= live.snapshot_bytes / 2;
            (passivating || is_worth_it) && self.instance.core.options.snapshots.is_due(&facts)
        })
    }

    /// Gives a receiver that ends when it is saved, or was not.
    fn snapshot(&mut self, place: SnapshotPlace<E>) -> Option<oneshot::Receiver<()>> {
        let instance = Arc::clone(&self.instance);
        let live = self.live.as_mut()?;
        let commit_id = live.commit_id?;
        // Also if it cannot be encoded: the next commit would only try the same again.
        live.since_snapshot = SnapshotFacts::default();
        let state = match instance.entity.snapshot(&live.state) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(stream = %instance.stream, %error, "no snapshot: the state cannot be encoded");
                return None;
            }
        };
        let (memory, version) = (live.memory.copy(), live.version);
        live.snapshot_bytes = state.len() as u64;
        let (saved, when_saved) = oneshot::channel();
        let saver = Arc::clone(&instance);
        instance.in_flight.after_all(Box::new(move |durable| {
            // Not durable: the state was never true, and neither is its snapshot.
            let Ok(end) = durable else { return };
            let core = Arc::clone(&saver.core);
            // Not here: this is the log's own thread, and copying takes as long as the state is large.
            core.tasks.spawn(async move {
                // Only now: where an outcome lies is known when it is durable, and a repetition is told.
                if let Some(memory) = memory.image() {
                    let body = SnapshotBody {
                        shape: SHAPE,
                        state: state.to_vec(),
                        memory,
                        position: end.position,
                    };
                    drop(state);
                    save(&saver, body, version, end.sequence, commit_id).await;
                }
                drop(place);
                let _nobody_waits = saved.send(());
            });
        }));
        Some(when_saved)
    }

    /// Ends the instance if nothing waits and nothing is in flight. A command waits for no snapshot: one that comes ends
    /// the passivation, and one that finds no place is not taken, since the log has everything.
    pub(super) async fn passivate(&mut self) -> bool {
        let instance = Arc::clone(&self.instance);
        if instance.is_busy() || instance.in_flight.has_failed() || instance.is_wanted() {
            return false;
        }
        if self.is_snapshot_due(true)
            && let Some(place) = instance.place_for_snapshot()
            && let Some(saved) = self.snapshot(place)
        {
            tokio::select! {
                // It ends whether or not the snapshot was saved.
                _ = saved => {}
                () = instance.until_wanted() => return false,
            }
        }
        instance.retire()
    }
}

async fn save<E: Entity>(
    instance: &crate::instance::Instance<E>,
    body: SnapshotBody,
    version: chronicler_domain::StreamVersion,
    sequence: chronicler_domain::LogSequence,
    commit_id: uuid::Uuid,
) {
    let payload: Bytes = match encode(PayloadCodec::Bincode, &body) {
        Ok(payload) => payload,
        Err(error) => {
            tracing::warn!(stream = %instance.stream, %error, "snapshot not saved");
            return;
        }
    };
    let schema_version = instance.entity.snapshot_version();
    let snapshot = Snapshot {
        version,
        sequence,
        commit_id,
        schema_version,
        payload,
    };
    if let Err(error) = instance
        .core
        .store
        .save_snapshot(&instance.stream, snapshot)
        .await
    {
        tracing::warn!(stream = %instance.stream, %error, "snapshot not saved");
    }
}

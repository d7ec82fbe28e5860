//! The store in memory as a store of snapshots and views.

use bytes::Bytes;
use chronicler_domain::{StreamId, StreamVersion};
use futures::future::BoxFuture;
use futures::{FutureExt, future};
use tokio::sync::watch;

use super::derived::Derived;
use super::plan::{Fate, Plan};
use super::store::MemoryStore;
use crate::error::StoreError;
use crate::log::EventLog;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

/// Snapshots kept of one stream.
const SNAPSHOTS_KEPT: usize = 3;

impl MemoryStore {
    /// Runs a write of derived data as one write point.
    fn write_derived(
        &self,
        write: impl FnOnce(&mut Derived),
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let result = match self.with_plan(Plan::write_point) {
            Fate::Proceed => {
                self.with_derived(write);
                Ok(())
            }
            Fate::DieAfter => {
                self.with_derived(write);
                Err(StoreError::Closed)
            }
            Fate::DieBefore | Fate::Dead => Err(StoreError::Closed),
        };
        future::ready(result).boxed()
    }

    fn read_derived<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Derived) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let found = self.with_derived(|derived| read(derived));
        let alive = self.alive().map_err(|_| StoreError::Closed);
        future::ready(alive.map(|()| found)).boxed()
    }
}

impl SnapshotStore for MemoryStore {
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = self.head().sequence;
        if snapshot.sequence > durable {
            let (given, durable) = (snapshot.sequence.get(), durable.get());
            let error = StoreError::BeyondLog {
                what: "snapshot sequence",
                given,
                durable,
            };
            return future::ready(Err(error)).boxed();
        }
        if self.with_plan(|plan| plan.snapshots_fail) {
            let error = StoreError::Derived {
                operation: "saving a snapshot",
                reason: "injected".into(),
            };
            return future::ready(Err(error)).boxed();
        }
        let released =
            self.with_plan(|plan| plan.snapshots_held.as_ref().map(watch::Sender::subscribe));
        let (store, stream) = (self.clone(), stream.clone());
        async move {
            if let Some(mut released) = released {
                // Ends when the sender is dropped.
                while released.changed().await.is_ok() {}
            }
            let saved = store.write_derived(|derived| {
                let kept = derived.snapshots.entry(stream).or_default();
                kept.insert(snapshot.version, snapshot);
                while kept.len() > SNAPSHOTS_KEPT {
                    kept.pop_first();
                }
            });
            saved.await
        }
        .boxed()
    }

    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>> {
        let durable = self.head().sequence;
        self.read_derived(|derived| {
            let mut kept = derived.snapshots.get(stream)?.range(..=at_most).rev();
            kept.find(|(_, snapshot)| snapshot.sequence <= durable)
                .map(|(_, snapshot)| snapshot.clone())
        })
    }

    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.write_derived(|derived| {
            if let Some(kept) = derived.snapshots.get_mut(stream) {
                kept.retain(|version, _| *version > at_most);
            }
        })
    }
}

impl ViewStore for MemoryStore {
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>> {
        let durable = self.head().position;
        self.with_derived(|derived| derived.lost.retain(|view| &*view.name != name));
        self.read_derived(|derived| {
            let named = derived.views.iter().filter(|(view, _)| &*view.name == name);
            named
                .filter_map(|(view, kept)| Some((view.clone(), kept.checkpoint.clone()?)))
                .filter(|(_, checkpoint)| checkpoint.position <= durable)
                .collect()
        })
    }

    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = self.head().position;
        if checkpoint.position > durable {
            let (given, durable) = (checkpoint.position.get(), durable.get());
            let error = StoreError::BeyondLog {
                what: "view position",
                given,
                durable,
            };
            return future::ready(Err(error)).boxed();
        }
        if let Err(error) = self.with_derived(|derived| derived.check(view)) {
            return future::ready(Err(error)).boxed();
        }
        let through = checkpoint.position;
        // Rows and checkpoint are two writes: a crash may come between them.
        let first = self.write_derived(|derived| {
            let kept = derived.views.entry(view.clone()).or_default();
            for row in rows {
                // Nobody falls back behind a checkpoint: what was removed up to it need not say so.
                if row.value.is_none() && row.position <= through {
                    kept.rows.remove(&row.key);
                } else {
                    kept.rows.insert(row.key.clone(), row);
                }
            }
        });
        let second = self.write_derived(|derived| {
            derived.views.entry(view.clone()).or_default().checkpoint = Some(checkpoint);
        });
        async move {
            first.await?;
            second.await
        }
        .boxed()
    }

    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>> {
        let found = self.read_derived(|derived| {
            derived.check(view)?;
            let kept = derived.views.get(view);
            Ok(kept.and_then(|kept| kept.rows.get(&key).cloned()))
        });
        async move { found.await? }.boxed()
    }

    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        let found = self.read_derived(|derived| {
            derived.check(view)?;
            let Some(kept) = derived.views.get(view) else {
                return Ok(Vec::new());
            };
            let later = |row: &&ViewRow| after.as_ref().is_none_or(|after| row.key > *after);
            let rows = kept.rows.values().filter(later).take(limit);
            Ok(rows.cloned().collect())
        });
        async move { found.await? }.boxed()
    }

    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        self.write_derived(|derived| {
            derived.views.remove(view);
            derived.lost.remove(view);
        })
    }
}

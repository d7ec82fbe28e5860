//! Snapshots: a stream's folded state, kept to make recovery quick. Derived, never the truth.

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamId, StreamVersion};
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::error::StoreError;

/// A stream's folded state at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version it was taken at.
    pub version: StreamVersion,
    /// The last commit folded into it, events or not.
    pub sequence: LogSequence,
    /// The id of that commit.
    pub commit_id: Uuid,
    /// The version of the state's own shape.
    pub schema_version: u32,
    /// The state, encoded by whoever saved it.
    pub payload: Bytes,
}

/// Keeps snapshots. Losing one costs time, never correctness.
///
/// # Contract
/// A snapshot that was saved is found until a newer one pushes it out (at least the newest two of a stream
/// are kept), it is deleted, or the store loses it. One that is damaged, or that lies beyond the log's durable
/// end, is never returned.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Keeps a snapshot; one of the same version is replaced.
    ///
    /// # Errors
    /// [`StoreError::BeyondLog`] when its sequence is not durable yet.
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// The newest readable snapshot at or below a version.
    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>>;

    /// Removes all snapshots of a stream at or below a version.
    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>>;
}

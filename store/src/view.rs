//! Views kept by the store: rows by key, with the position folded into each. Derived, never the truth.

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use futures::executor::block_on;
use futures::future::BoxFuture;
use std::sync::Arc;

use crate::error::StoreError;

/// A view and its generation: a rebuild fills a new generation beside the one that answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewName {
    /// The projection's name.
    pub name: Arc<str>,
    /// 1, 2, 3 …, raised by each rebuild.
    pub generation: u64,
}

/// A row of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRow {
    /// Its key. At most 1,024 bytes.
    pub key: Bytes,
    /// Its value; `None` is a row that was removed, kept for its position until it is written with a checkpoint that has
    /// passed it, and gone then.
    pub value: Option<Bytes>,
    /// The last position folded into it.
    pub position: GlobalPosition,
}

/// How far a view has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewCheckpoint {
    /// Every event up to here is in the rows.
    pub position: GlobalPosition,
    /// What the projection calls its own shape; another fingerprint means: rebuild.
    pub fingerprint: u64,
}

/// Keeps the rows of views.
///
/// # Contract
/// [`write_view`](Self::write_view) puts the rows down first and the checkpoint after them, durably in that
/// order: after a crash a row may be ahead of the checkpoint, and its position says so; no row is ever behind it.
/// A view that is damaged or lies beyond the log's durable end is found gone, and is built again. If damage
/// comes to light while the view is in use, reading and writing it is an error until
/// [`view_generations`](Self::view_generations) has said that it is gone: a row that is missing must not be
/// taken for one that never was.
pub trait ViewStore: Send + Sync + 'static {
    /// The generations of a view that exist, ascending, each with its checkpoint.
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>>;

    /// Writes rows, then the checkpoint.
    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// One row, removed ones included.
    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>>;

    /// The same as [`view_row`](Self::view_row), on this thread, which may block. The fold of a table reads with it, and may
    /// have the last thread that tokio has for blocking work: it must not wait for another one. By default it waits for
    /// `view_row`, which is right for a store that needs no such thread; a store that wraps another one hands it on.
    ///
    /// # Errors
    /// As `view_row`.
    fn view_row_blocking(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> Result<Option<ViewRow>, StoreError> {
        block_on(self.view_row(view, key))
    }

    /// Rows by ascending key, removed ones included: those after `after`, at most `limit`.
    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>>;

    /// Removes a view's generation, rows and checkpoint.
    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>>;
}

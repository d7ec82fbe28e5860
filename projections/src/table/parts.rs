//! What does not change from one run of a table's worker to the next.

use std::sync::Arc;

use chronicler_runtime::Clock;
use chronicler_store::Store;

use super::changes::Table;
use super::generation::Current;
use crate::handlers::Handlers;
use crate::options::FlushPolicy;
use crate::parked::Facts;
use crate::progress::Progress;
use crate::projection::TableProjection;

/// What does not change from one run of a table's worker to the next.
pub(crate) struct TableParts<T: TableProjection> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) handlers: Arc<Handlers<Table<T::Row>>>,
    pub(crate) current: Arc<Current<T::Row>>,
    pub(crate) fingerprint: u64,
    pub(crate) flush: FlushPolicy,
    pub(crate) cached_rows: usize,
    pub(crate) in_place: bool,
    pub(crate) progress: Arc<Progress>,
}

impl<T: TableProjection> Clone for TableParts<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            clock: self.clock.clone(),
            handlers: self.handlers.clone(),
            current: self.current.clone(),
            progress: self.progress.clone(),
            ..*self
        }
    }
}

impl<T: TableProjection> TableParts<T> {
    /// The facts about what this projection has set aside.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            store: &*self.store,
            clock: &*self.clock,
            projection: T::NAME,
            fingerprint: self.fingerprint,
        }
    }
}

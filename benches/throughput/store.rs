//! A store and an application over it, opened and closed.

use std::path::Path;
use std::sync::Arc;

use chronicler::App;
use chronicler::runtime::{RuntimeOptions, SnapshotPolicy};
use chronicler::store::JournalStore;
use chronicler::store::journal::{JournalOptions, SyncStats};

use crate::Measured;
use crate::workload::Account;

/// An application over a store whose figures can be read.
pub(crate) struct Opened {
    pub(crate) app: App,
    pub(crate) store: Arc<JournalStore>,
}

impl Opened {
    /// Opens with the options that every application begins with.
    pub(crate) async fn new(data: &Path) -> Measured<Self> {
        Self::with(data, RuntimeOptions::default()).await
    }

    /// The same without snapshots: every recovery reads all events.
    pub(crate) async fn without_snapshots(data: &Path) -> Measured<Self> {
        let mut options = RuntimeOptions::default();
        options.snapshots = SnapshotPolicy::Never;
        Self::with(data, options).await
    }

    async fn with(data: &Path, options: RuntimeOptions) -> Measured<Self> {
        let store = open(data).await?;
        let builder = App::over(store.clone())
            .aggregate::<Account>()
            .options(options);
        let app = builder.start().await?;
        Ok(Self { app, store })
    }

    /// What was written since the store stood at `before`.
    pub(crate) fn since(&self, before: &SyncStats) -> Written {
        let now = self.store.sync_stats();
        Written {
            commits: (now.commits - before.commits) as f64,
            batches: (now.batches - before.batches) as f64,
            bytes: (now.bytes - before.bytes) as f64,
            index_rows: (now.index_rows - before.index_rows) as f64,
        }
    }
}

/// Opens a store. Opening blocks, so it has a thread of its own.
pub(crate) async fn open(data: &Path) -> Measured<Arc<JournalStore>> {
    let data = data.to_path_buf();
    let opening = move || JournalStore::open(data, JournalOptions::default());
    Ok(Arc::new(tokio::task::spawn_blocking(opening).await??))
}

/// What a store has written over some time.
pub(crate) struct Written {
    pub(crate) commits: f64,
    batches: f64,
    bytes: f64,
    index_rows: f64,
}

impl Written {
    /// The bytes of an average frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        (self.bytes / self.commits.max(1.0)).round() as usize
    }

    pub(crate) fn commits_per_sync(&self) -> f64 {
        self.commits / self.batches.max(1.0)
    }

    pub(crate) fn rows_per_commit(&self) -> f64 {
        self.index_rows / self.commits.max(1.0)
    }
}

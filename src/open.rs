//! Where an application begins: over a data directory, in memory, or over any store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chronicler_store::journal::JournalOptions;
use chronicler_store::{JournalStore, MemoryStore, OpenError, Store};
use futures::FutureExt;
use futures::future;
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::builder::AppBuilder;

impl App {
    /// An application over the durable store of a data directory; an empty or missing one is begun.
    pub fn open(data: impl Into<PathBuf>) -> AppBuilder {
        Self::open_with(data, JournalOptions::default())
    }

    /// The same with other options than the default ones: durability, segment size, limits.
    pub fn open_with(data: impl Into<PathBuf>, options: JournalOptions) -> AppBuilder {
        let data = data.into();
        let folder = data.clone();
        let open = async move {
            // Opening reads files and may rebuild the index: it blocks.
            let opening = spawn_blocking(move || JournalStore::open(data, options)).await;
            let store = opening.map_err(|error| OpenError::Io {
                operation: "opening the store".to_owned(),
                source: io::Error::other(error),
            })??;
            let report = store.open_report().clone();
            Ok((Arc::new(store) as Arc<dyn Store>, Some(report)))
        };
        AppBuilder::new(Box::new(move || open.boxed())).operator_socket(Some(folder))
    }

    /// An application over a store in memory: nothing outlives the process. For tests and first steps.
    pub fn in_memory() -> AppBuilder {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// An application over any store. [`stop`](Self::stop) closes it.
    ///
    /// # Examples
    ///
    /// With the log in sled, too, in place of a journal beside it:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use chronicler::App;
    /// use chronicler::store::{SledOptions, SledStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let data = folder.path();
    /// let app = App::over(Arc::new(SledStore::open(data, SledOptions::default())?)).start().await?;
    /// # app.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(store: Arc<dyn Store>) -> AppBuilder {
        AppBuilder::new(Box::new(move || future::ready(Ok((store, None))).boxed()))
    }
}

//! What only so many effects may use at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The resources that effects of all sagas of this process share, by name. Who names one first says how many.
#[derive(Default)]
pub(crate) struct Resources(Mutex<HashMap<String, (u32, Arc<Semaphore>)>>);

impl Resources {
    /// Waits until there is room, and says whether it had to wait.
    ///
    /// # Cancel safety
    /// A wait that is dropped holds nothing.
    pub(crate) async fn take(
        &self,
        name: &str,
        count: u32,
    ) -> (Option<OwnedSemaphorePermit>, bool) {
        let room = {
            let mut all = self.0.lock();
            let (first, room) = all.entry(name.to_owned()).or_insert_with(|| {
                let room = Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS));
                (count, Arc::new(room))
            });
            if *first != count {
                tracing::warn!(
                    resource = name,
                    first,
                    count,
                    "the resource has another limit"
                );
            }
            Arc::clone(room)
        };
        // It is never closed.
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => (Some(permit), false),
            Err(_) => (room.acquire_owned().await.ok(), true),
        }
    }
}

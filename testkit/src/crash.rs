//! Killing an application at every write, one after the other.

use std::sync::Arc;

use chronicler_store::MemoryStore;
use chronicler_store::memory::CrashPoint;

/// More writes than this are a run that never ends.
const WRITES_MAX: u64 = 100_000;

/// Runs `work` again and again, each time over a new store that dies at another write: before it is durable, and
/// once more after. Then `check` gets what a power cut would have left, to start again on it and to say what must
/// hold. Ends with the first run that met no further write. How many writes were met.
///
/// `work` must end although the store is dead: its commands fail then. Errors in it are no news; what counts is
/// what `check` finds.
///
/// # Panics
/// When 100,000 writes are exceeded: `work` then does something without end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use chronicler_domain::{StreamId, Timestamp};
/// use chronicler_store::{Append, EventLog, Expected};
/// use chronicler_testkit::crash_at_every_write;
///
/// let append = |id| Append::new(uuid::Uuid::from_u128(id), Timestamp::from_millis(id as u64));
/// let writes = crash_at_every_write(
///     async |store| {
///         for id in 1..=3 {
///             drop(store.append(append(id)).await);
///         }
///     },
///     async |survivor| assert!(survivor.head().sequence.get() <= 3),
/// )
/// .await;
/// assert_eq!(writes, 3);
/// # }
/// ```
pub async fn crash_at_every_write(
    mut work: impl AsyncFnMut(Arc<MemoryStore>),
    mut check: impl AsyncFnMut(Arc<MemoryStore>),
) -> u64 {
    for write in 1..=WRITES_MAX {
        let mut met = false;
        for durable in [false, true] {
            let store = Arc::new(MemoryStore::new());
            store.faults().crash_at(CrashPoint { write, durable });
            work(Arc::clone(&store)).await;
            met |= store.faults().is_dead();
            // Of one that did not die as well: the death that it still carries would meet the check.
            check(store.faults().survivor()).await;
        }
        if !met {
            return write - 1;
        }
    }
    panic!("more than {WRITES_MAX} writes: does the work ever end?");
}

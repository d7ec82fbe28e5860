//! What a waker may do to the store that wakes it.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::support::commit;
use crate::append::Expected;
use crate::journal::{JournalOptions, JournalStore};
use crate::log::EventLog;

/// More than the writer wakes itself.
const FOLLOWERS: usize = 100;
/// How long anything may take at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drops a store when it is woken.
struct Dropping {
    store: Mutex<Option<JournalStore>>,
    dropped: SyncSender<()>,
}

impl Wake for Dropping {
    fn wake(self: Arc<Self>) {
        let store = self.store.lock().take();
        if store.is_some() {
            drop(store);
            self.dropped.send(()).unwrap();
        }
    }
}

#[test]
fn l3_a_follower_of_the_end_that_drops_the_last_handle_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let open = || JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
    let store = open();
    let _others: Vec<_> = (0..FOLLOWERS).map(|_| store.watch_head()).collect();
    let mut follower = store.watch_head();
    let mut changed = Box::pin(follower.changed());
    let (dropped, is_dropped) = mpsc::sync_channel(1);
    let dropping = Arc::new(Dropping {
        store: Mutex::default(),
        dropped,
    });
    let waker = Waker::from(dropping.clone());
    let polled = changed.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    // Who is woken waits for the store to be there.
    let mut place = dropping.store.lock();
    store.submit(commit(1, "a", Expected::NoStream, 10), Box::new(|_| {}));
    *place = Some(store);
    drop(place);
    is_dropped.recv_timeout(PATIENCE).unwrap();
    // Whoever opens it next waits for the close.
    assert_eq!(open().head().sequence.get(), 1);
}

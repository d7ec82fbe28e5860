//! Snapshots over the durable store, whose answers come from a thread of its own.
#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

use chronicler::domain::{StreamId, StreamVersion};
use chronicler::prelude::*;
use chronicler::runtime::{RuntimeOptions, SnapshotPolicy};
use chronicler::store::journal::JournalOptions;
use chronicler::store::{JournalStore, SnapshotStore};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Counter(u64);

#[derive(Serialize, Deserialize)]
struct Count;

#[derive(Serialize, Deserialize)]
struct Counted;

impl Event for Counted {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Count;
    type Event = Counted;
    type Reply = u64;
    type Rejection = Never;

    fn decide(&self, _: Count, _: &Context) -> Decided<Self> {
        Ok(Decision::event(Counted).reply(self.0 + 1))
    }

    fn evolve(&mut self, _: &Counted) {
        self.0 += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s13_a_snapshot_is_taken_while_commands_go_on() {
    let data = tempfile::tempdir().unwrap();
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let app = App::open(data.path()).aggregate::<Counter>();
    let app = app.options(options).start().await.unwrap();
    // One that is due while another is still being saved is taken with a later commit.
    let store = std::sync::Arc::clone(app.store());
    let stream = StreamId::of("counter", "one").unwrap();
    for expected in 1..=10_000 {
        let receipt = app.send::<Counter>("one", Count).await.unwrap();
        assert_eq!(receipt.reply, expected);
        let newest = store.load_snapshot(&stream, StreamVersion::MAX).await;
        if newest
            .unwrap()
            .is_some_and(|snapshot| snapshot.version.get() >= 4)
        {
            break;
        }
    }
    drop(store);
    app.stop().await;
    drop(app);

    let store = JournalStore::open(data.path(), JournalOptions::default()).unwrap();
    let newest = store.load_snapshot(&stream, StreamVersion::MAX).await;
    let version = newest.unwrap().map(|snapshot| snapshot.version.get());
    assert!(version >= Some(4), "{version:?}");
}

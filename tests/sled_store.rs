//! An application whose log lies in sled, chosen by one line.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::store::{JournalStore, OpenError, SledOptions, SledStore};
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

async fn start(data: &Path) -> App {
    let store = SledStore::open(data, SledOptions::default()).unwrap();
    let app = App::over(Arc::new(store)).aggregate::<Counter>();
    app.start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_when_the_application_starts_again() {
    let data = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let app = start(data.path()).await;
        let receipt = app.send::<Counter>("one", Count).await.unwrap();
        assert_eq!(receipt.reply, round);
        app.stop().await;
        drop(app);
    }
    let app = start(data.path()).await;
    let state = app.state::<Counter>("one").await.unwrap();
    assert_eq!((state.state.0, state.version.get()), (3, 3));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_store_opens_the_directory_of_the_other() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.stop().await;
    let refused = JournalStore::open(data.path(), Default::default()).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::AnotherKind {
                found: "SledStore",
                ..
            }
        ),
        "{refused}"
    );
    let data = tempfile::tempdir().unwrap();
    drop(JournalStore::open(data.path(), Default::default()).unwrap());
    let refused = SledStore::open(data.path(), SledOptions::default()).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::AnotherKind {
                found: "JournalStore",
                ..
            }
        ),
        "{refused}"
    );
}

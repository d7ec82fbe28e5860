//! A12: a recovery is given up when nothing comes, and never because much comes.
#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{
    Aggregate, Context, Decided, Decision, Event, StreamId, StreamVersion, Tenant,
};
use chronicler_runtime::{
    Deadline, DispatchError, Runtime, RuntimeBuilder, RuntimeOptions, SendOptions,
};
use chronicler_store::{
    AllQuery, Append, CommitStream, Completion, EventLog, FactEntry, FactKind, FactQuery, Head,
    Health, MemoryStore, ReadError, Snapshot, SnapshotStore, StoreError, StreamHead, StreamQuery,
    ViewCheckpoint, ViewName, ViewRow, ViewStore,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

const STALL: Duration = Duration::from_secs(10);

/// The store in memory behind a slow disk: each commit of a stream takes its time (of the test's clock), or never
/// comes.
struct Slow {
    store: MemoryStore,
    each: Option<Duration>,
}

impl EventLog for Slow {
    fn submit(&self, append: Append, done: Completion) {
        self.store.submit(append, done);
    }
    fn barrier(&self, done: Box<dyn FnOnce() + Send>) {
        self.store.barrier(done);
    }
    fn head(&self) -> Head {
        self.store.head()
    }
    fn watch_head(&self) -> watch::Receiver<Head> {
        self.store.watch_head()
    }
    fn watch_health(&self) -> watch::Receiver<Health> {
        self.store.watch_health()
    }
    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>> {
        self.store.stream_head(stream)
    }
    fn read_stream(&self, query: StreamQuery) -> CommitStream {
        let each = self.each;
        self.store
            .read_stream(query)
            .flat_map(|batch| {
                let one = |batch: Result<Vec<_>, ReadError>| match batch {
                    Ok(commits) => commits.into_iter().map(|commit| Ok(vec![commit])).collect(),
                    Err(error) => vec![Err(error)],
                };
                stream::iter(one(batch))
            })
            .then(move |commit| async move {
                match each {
                    // It takes so long on tokio's paused clock.
                    Some(each) => tokio::time::advance(each).await,
                    None => std::future::pending().await,
                }
                commit
            })
            .boxed()
    }
    fn read_all(&self, query: AllQuery) -> CommitStream {
        self.store.read_all(query)
    }
    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        self.store.fact(kind, key)
    }
    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        self.store.facts(query)
    }
    fn close(&self) -> BoxFuture<'static, ()> {
        self.store.close()
    }
}

impl SnapshotStore for Slow {
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.save_snapshot(stream, snapshot)
    }
    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>> {
        self.store.load_snapshot(stream, at_most)
    }
    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.delete_snapshots(stream, at_most)
    }
}

impl ViewStore for Slow {
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>> {
        self.store.view_generations(name)
    }
    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.write_view(view, rows, checkpoint)
    }
    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>> {
        self.store.view_row(view, key)
    }
    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        self.store.view_rows(view, after, limit)
    }
    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.drop_view(view)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Counter(i64);

#[derive(Clone, Serialize, Deserialize)]
struct Add;

#[derive(Serialize, Deserialize)]
struct Added;

impl Event for Added {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Add;
    type Event = Added;
    type Reply = i64;
    type Rejection = chronicler_domain::Never;

    fn decide(&self, _: Add, _: &Context) -> Decided<Self> {
        Ok(Decision::event(Added).reply(self.0 + 1))
    }

    fn evolve(&mut self, _: &Added) {
        self.0 += 1;
    }
}

async fn runtime(store: MemoryStore, each: Option<Duration>) -> Runtime {
    with_stall(store, each, STALL).await
}

async fn with_stall(store: MemoryStore, each: Option<Duration>, stall: Duration) -> Runtime {
    let mut options = RuntimeOptions::default();
    options.recovery_stall = stall;
    RuntimeBuilder::new(Arc::new(Slow { store, each }))
        .aggregate::<Counter>()
        .options(options)
        .build()
        .await
        .unwrap()
}

async fn add(runtime: &Runtime) -> Result<i64, DispatchError> {
    let options = SendOptions {
        deadline: Deadline::None,
        ..SendOptions::default()
    };
    let (tenant, id) = (Tenant::default(), "one".try_into().unwrap());
    let sent = runtime.send::<Counter>(&tenant, &id, Add, options).await;
    sent.map(|receipt| receipt.reply)
        .map_err(|error| match error {
            chronicler_runtime::SendError::Failed(error) => error,
            chronicler_runtime::SendError::Rejected(never) => match never {},
        })
}

#[tokio::test(start_paused = true)]
async fn a12_a_long_recovery_is_no_stall_and_a_stall_ends_it() {
    let store = MemoryStore::new();
    let quick = runtime(store.clone(), Some(Duration::ZERO)).await;
    for version in 1..=20 {
        assert_eq!(add(&quick).await.unwrap(), version);
    }
    quick.stop(Default::default()).await;

    // Twenty commits at almost the limit each: far longer than the limit, and never still for so long.
    let slow = runtime(store.clone(), Some(STALL - Duration::from_secs(1))).await;
    assert_eq!(add(&slow).await.unwrap(), 21);

    let still = runtime(store.clone(), None).await;
    let error = add(&still).now_or_never().is_none();
    assert!(error, "it waits at first");
    let error = add(&still).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("nothing could be read for 10 s"), "{text}");
    assert!(error.is_retryable());
    assert!(still.quarantined().is_empty());

    let quick = runtime(store, Some(Duration::ZERO)).await;
    assert_eq!(
        add(&quick).await.unwrap(),
        22,
        "the stall has left nothing behind"
    );
}

#[tokio::test(start_paused = true)]
async fn a12_a_stall_that_is_shorter_than_a_reader_needs_to_show_that_it_goes_on_counts_as_the_least()
 {
    let store = MemoryStore::new();
    let quick = runtime(store.clone(), Some(Duration::ZERO)).await;
    for version in 1..=20 {
        assert_eq!(add(&quick).await.unwrap(), version);
    }
    quick.stop(Default::default()).await;
    // Each commit at the time in which a reader of a slow disk shows something.
    let beat = Some(Duration::from_millis(100));
    for (reply, stall) in [(21, Duration::ZERO), (22, Duration::from_millis(50))] {
        let slow = with_stall(store.clone(), beat, stall).await;
        assert_eq!(add(&slow).await.unwrap(), reply);
        slow.stop(Default::default()).await;
    }
    let still = with_stall(store, None, Duration::ZERO).await;
    let text = add(&still).await.unwrap_err().to_string();
    assert!(text.contains("nothing could be read for 1 s"), "{text}");
}

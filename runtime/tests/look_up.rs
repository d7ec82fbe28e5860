//! A log that cannot be read, or has no room, holds up nobody else; a command that cannot be looked up there is told so.
#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{
    Aggregate, CommandId, Context, Decided, Decision, Event, StreamId, StreamVersion, Tenant,
};
use chronicler_runtime::{
    Deadline, DispatchError, ManualClock, Receipt, Runtime, RuntimeBuilder, RuntimeOptions,
    SendError, SendOptions, SnapshotPolicy,
};
use chronicler_store::{
    AllQuery, Append, CommitStream, Completion, Direction, EventLog, FactEntry, FactKind,
    FactQuery, Head, Health, HeldBack, MemoryStore, Outcome, ReadError, Snapshot, SnapshotStore,
    StoreError, StreamHead, StreamQuery, ViewCheckpoint, ViewName, ViewRow, ViewStore,
};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

const INBOX_MAX: usize = 100;
const REFUSALS_MAX: u32 = 1_000;
const STALL: Duration = Duration::from_secs(10);

/// What becomes of whoever reads a place of the log, or offers a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Open,
    Shut,
    /// It lets one reader in, and is shut then.
    Once,
    Broken,
    Panicking,
    /// It gives every commit back, and never says when there is room.
    Full,
}

/// The store in memory behind a gate: places of the log are read when it is open.
struct Gate {
    store: MemoryStore,
    gate: watch::Sender<Now>,
    refusals: Arc<AtomicU32>,
}

impl Gate {
    fn gated(&self, read: impl FnOnce() -> CommitStream + Send + 'static) -> CommitStream {
        let gate = self.gate.clone();
        let opened = async move {
            let mut watched = gate.subscribe();
            let now = watched.wait_for(|now| *now != Now::Shut).await;
            match now.map(|now| *now) {
                Ok(Now::Open) => read(),
                Ok(Now::Once) => {
                    gate.send_replace(Now::Shut);
                    read()
                }
                Ok(Now::Panicking) => panic!("the store has a fault"),
                _ => stream::iter([Err(ReadError::Index {
                    reason: "it is broken".into(),
                })])
                .boxed(),
            }
        };
        stream::once(opened).flatten().boxed()
    }
}

impl EventLog for Gate {
    fn submit(&self, append: Append, done: Completion) {
        self.store.submit(append, done);
    }
    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        // Whoever offers without end must not keep the test from ending.
        let is_full = *self.gate.borrow() == Now::Full;
        if is_full && self.refusals.fetch_add(1, Ordering::Relaxed) < REFUSALS_MAX {
            return Err(Box::new(HeldBack { append, done }));
        }
        self.submit(append, done);
        Ok(())
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
        let store = self.store.clone();
        match query.direction {
            Direction::Forward => store.read_stream(query),
            // Nobody but those who look for a command reads backward.
            Direction::Backward => self.gated(move || store.read_stream(query)),
        }
    }
    fn read_all(&self, query: AllQuery) -> CommitStream {
        let store = self.store.clone();
        self.gated(move || store.read_all(query))
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

impl SnapshotStore for Gate {
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

impl ViewStore for Gate {
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

type Sent = Result<Receipt<i64>, SendError<chronicler_domain::Never>>;

struct World {
    runtime: Runtime,
    gate: watch::Sender<Now>,
    refusals: Arc<AtomicU32>,
    clock: ManualClock,
    ids: Vec<CommandId>,
    /// One that was made with them, and is not sent.
    unsent: CommandId,
}

impl World {
    /// An instance with forty commands, of which it holds one whole.
    async fn new() -> Self {
        Self::with_stall(STALL).await
    }

    async fn with_stall(stall: Duration) -> Self {
        let mut options = RuntimeOptions::default();
        options.remembered_max = 1;
        options.inbox_max = INBOX_MAX;
        options.recoveries_max = 1;
        options.recovery_stall = stall;
        options.snapshots = SnapshotPolicy::OnPassivation;
        let (store, gate) = (MemoryStore::new(), watch::Sender::new(Now::Open));
        let refusals = Arc::default();
        let gated = Gate {
            store,
            refusals: Arc::clone(&refusals),
            gate: gate.clone(),
        };
        let clock = ManualClock::default();
        let runtime = RuntimeBuilder::new(Arc::new(gated))
            .clock(Arc::new(clock.clone()))
            .aggregate::<Counter>()
            .options(options)
            .build()
            .await
            .unwrap();
        let new = || CommandId::from_uuid(runtime.new_id()).unwrap();
        let ids: Vec<_> = (0..40).map(|_| new()).collect();
        let unsent = new();
        let world = Self {
            unsent,
            clock,
            runtime,
            gate,
            refusals,
            ids,
        };
        for id in &world.ids {
            assert!(!world.send(*id).await.unwrap().duplicate);
        }
        world
    }

    /// Has it forget where the forty commands lie.
    async fn passivate(&self) {
        let (tenant, name) = (Tenant::default(), "one".try_into().unwrap());
        let counters = self.runtime.aggregate::<Counter>().unwrap();
        assert!(counters.passivate(&tenant, &name).await);
    }

    async fn send(&self, id: CommandId) -> Sent {
        self.send_to("one", id, Deadline::None).await
    }

    async fn send_to(&self, name: &str, id: CommandId, deadline: Deadline) -> Sent {
        let options = SendOptions {
            command_id: Some(id),
            deadline,
            ..SendOptions::default()
        };
        let (tenant, name) = (Tenant::default(), name.try_into().unwrap());
        self.runtime
            .send::<Counter>(&tenant, &name, Add, options)
            .await
    }

    async fn total(&self) -> i64 {
        let (tenant, name) = (Tenant::default(), "one".try_into().unwrap());
        let state = self.runtime.state::<Counter>(&tenant, &name).await;
        state.unwrap().state.0
    }

    /// Sends the first command again, which cannot be looked up, and gives what is said of the reason.
    async fn send_first_in_vain(&self) -> String {
        let error = self.send(*self.ids.first().unwrap()).await.unwrap_err();
        let SendError::Failed(DispatchError::MemoryUnreadable { source, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert!(error.is_retryable());
        source.to_string()
    }
}

#[tokio::test]
async fn d8_a_look_into_the_log_holds_up_nobody_else_and_one_pass_answers_all() {
    let world = World::new().await;
    world.gate.send_replace(Now::Shut);
    let mut again = Box::pin(join_all(
        world.ids.iter().chain(&world.ids).map(|id| world.send(*id)),
    ));
    assert!((&mut again).now_or_never().is_none());
    // New commands are decided while those wait.
    for _ in 0..20 {
        let new = CommandId::from_uuid(world.runtime.new_id()).unwrap();
        assert!(!world.send(new).await.unwrap().duplicate);
    }
    assert!((&mut again).now_or_never().is_none());
    world.gate.send_replace(Now::Open);
    for (n, answer) in again.await.into_iter().enumerate() {
        let receipt = answer.unwrap();
        assert!(receipt.duplicate);
        assert_eq!(receipt.reply, (n % 40) as i64 + 1);
    }
}

#[tokio::test]
async fn y1_commands_that_are_looked_for_count_as_waiting_at_their_instance() {
    let world = World::new().await;
    world.gate.send_replace(Now::Shut);
    let first = *world.ids.first().unwrap();
    let again = (0..2 * INBOX_MAX).map(|_| Box::pin(world.send(first)));
    let mut again: Vec<_> = again.collect();
    let mut refused = 0;
    for sent in &mut again {
        if let Some(answer) = sent.now_or_never() {
            let error = answer.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            refused += 1;
        }
        settle().await;
    }
    assert_eq!(refused, INBOX_MAX);
    assert!(world.send_to("two", first, Deadline::None).await.is_ok());
    world.gate.send_replace(Now::Open);
    settle().await;
    assert!(world.send(first).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn d8_what_cannot_be_looked_up_is_unknown_and_can_be_sent_again() {
    let world = World::new().await;
    for (now, said) in [
        (Now::Broken, "it is broken"),
        (Now::Panicking, "the store has a fault"),
        (Now::Shut, "nothing could be read for 10 s"),
    ] {
        world.gate.send_replace(now);
        let reason = world.send_first_in_vain().await;
        assert!(reason.contains(said), "{now:?}: {reason}");
        world.gate.send_replace(Now::Open);
        let first = *world.ids.first().unwrap();
        assert!(world.send(first).await.unwrap().duplicate, "after {now:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a12_a_look_into_the_log_is_given_at_least_the_least_stall() {
    let world = World::with_stall(Duration::from_millis(50)).await;
    world.gate.send_replace(Now::Shut);
    let reason = world.send_first_in_vain().await;
    assert!(reason.contains("nothing could be read for 1 s"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn d8_a_look_into_a_log_that_does_not_answer_stops_no_recovery() {
    let world = World::new().await;
    world.gate.send_replace(Now::Shut);
    let mut stalled = Box::pin(world.send_first_in_vain());
    assert!((&mut stalled).now_or_never().is_none());
    settle().await;
    let new = CommandId::from_uuid(world.runtime.new_id()).unwrap();
    let begun = tokio::time::Instant::now();
    let sent = world.send_to("two", new, Deadline::None).await;
    assert!(!sent.unwrap().duplicate);
    // It has a place of its own: one recovery at a time waited for nothing.
    assert_eq!(begun.elapsed(), Duration::ZERO);
    stalled.await;
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Polls once: it is queued then.
macro_rules! begin {
    ($sent:expr) => {{
        let mut sent = Box::pin($sent);
        assert!((&mut sent).now_or_never().is_none());
        settle().await;
        sent
    }};
}

#[tokio::test]
async fn d1_a_repetition_that_comes_while_its_first_sending_is_looked_for_denies_nothing() {
    for between_two_passes in [true, false] {
        let world = World::new().await;
        world.passivate().await;
        world.gate.send_replace(Now::Shut);
        let known = begin!(world.send(world.ids[3]));
        // This one is looked for in the second pass.
        let first = begin!(world.send(world.unsent));
        if between_two_passes {
            // After the first one the memory knows that the id is not there.
            world.gate.send_replace(Now::Once);
            settle().await;
        }
        let within = Deadline::Within(Duration::from_secs(1));
        let mut late = Box::pin(world.send_to("one", world.unsent, within));
        assert!((&mut late).now_or_never().is_none());
        world.clock.advance(Duration::from_secs(2));
        settle().await;
        let error = late.await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let second = begin!(world.send(world.unsent));
        world.gate.send_replace(Now::Open);
        assert!(known.await.unwrap().duplicate);
        assert!(!first.await.unwrap().duplicate);
        assert!(second.await.unwrap().duplicate);
        assert!(world.send(world.unsent).await.unwrap().duplicate);
    }
}

#[tokio::test]
async fn d1_a_repetition_whose_first_sending_cannot_be_looked_for_is_next() {
    let world = World::new().await;
    world.passivate().await;
    world.gate.send_replace(Now::Shut);
    let first = begin!(world.send(world.unsent));
    let second = begin!(world.send(world.unsent));
    let third = begin!(world.send(world.unsent));
    world.gate.send_replace(Now::Broken);
    let error = first.await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    world.gate.send_replace(Now::Open);
    let (second, third) = (second.await, third.await);
    let carried_out = [&second, &third]
        .into_iter()
        .flatten()
        .filter(|receipt| !receipt.duplicate);
    assert!(carried_out.count() <= 1);
    world.send(world.unsent).await.unwrap();
    assert_eq!(world.total().await, 41);
}

#[tokio::test(start_paused = true)]
async fn r7_a_store_that_gives_commits_back_and_never_tells_of_room_is_not_asked_without_end() {
    let world = World::new().await;
    world.gate.send_replace(Now::Full);
    let new = CommandId::from_uuid(world.runtime.new_id()).unwrap();
    let mut sent = Box::pin(world.send(new));
    // The clock is paused: this takes no time.
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut sent).await;
    assert!(waited.is_err(), "there is no room");
    let refusals = world.refusals.load(Ordering::Relaxed);
    assert!((2..50).contains(&refusals), "{refusals} in 200 ms");
    world.gate.send_replace(Now::Open);
    assert!(!sent.await.unwrap().duplicate);
}

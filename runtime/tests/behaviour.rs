//! What the runtime promises of an aggregate, over the store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{
    Aggregate, AggregateId, CommandId, Context, Decided, Decision, Event, GlobalPosition, StreamId,
    StreamVersion, Tenant, Timestamp,
};
use chronicler_runtime::{
    Deadline, DispatchError, ManualClock, RestartPolicy, Runtime, RuntimeBuilder, RuntimeOptions,
    SendError, SendOptions, SnapshotPolicy, StopOptions, SubscriptionOptions,
};
use chronicler_store::memory::AppendFault;
use chronicler_store::{
    Append, EventLog, Expected, MemoryStore, Outcome, SnapshotStore, StreamQuery,
};
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    total: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Command {
    Add(i64),
    AddTwice(i64),
    Nothing,
    PanicInDecide,
    PanicInEvolve,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Happened {
    Added(i64),
    Exploded,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("the total would be {0}")]
struct Negative(i64);

impl Event for Happened {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Command;
    type Event = Happened;
    type Reply = i64;
    type Rejection = Negative;

    fn decide(&self, command: Command, _: &Context) -> Decided<Self> {
        let add = |amount: i64| {
            let total = self.total + amount;
            if total < 0 {
                Err(Negative(total))
            } else {
                Ok(total)
            }
        };
        match command {
            Command::Add(amount) => {
                Ok(Decision::event(Happened::Added(amount)).reply(add(amount)?))
            }
            Command::AddTwice(amount) => {
                let events = [Happened::Added(amount), Happened::Added(amount)];
                Ok(Decision::events(events).reply(add(2 * amount)?))
            }
            Command::Nothing => Ok(Decision::nothing().reply(self.total)),
            Command::PanicInDecide => panic!("decide broke"),
            Command::PanicInEvolve => Ok(Decision::event(Happened::Exploded).reply(0)),
        }
    }

    fn evolve(&mut self, event: &Happened) {
        match event {
            Happened::Added(amount) => self.total += amount,
            Happened::Exploded => panic!("evolve broke"),
        }
    }
}

struct Fixture {
    store: MemoryStore,
    clock: ManualClock,
    runtime: Runtime,
}

async fn fixture() -> Fixture {
    with(MemoryStore::new(), RuntimeOptions::default()).await
}

async fn with(store: MemoryStore, options: RuntimeOptions) -> Fixture {
    let clock = ManualClock::default();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .options(options)
        .aggregate::<Counter>()
        .build()
        .await
        .expect("it builds");
    Fixture {
        store,
        clock,
        runtime,
    }
}

fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

fn stream(name: &str) -> StreamId {
    StreamId::of("counter", name).unwrap()
}

type Sent = Result<chronicler_runtime::Receipt<i64>, SendError<Negative>>;

impl Fixture {
    async fn send(&self, name: &str, command: Command) -> Sent {
        self.send_with(name, command, SendOptions::default()).await
    }

    async fn send_with(&self, name: &str, command: Command, options: SendOptions) -> Sent {
        self.runtime
            .send::<Counter>(&Tenant::default(), &id(name), command, options)
            .await
    }

    /// Sends without waiting for the answer; the command has reached its instance's queue.
    fn spawn(&self, name: &str, command: Command) -> tokio::task::JoinHandle<Sent> {
        self.spawn_with(name, command, SendOptions::default())
    }

    fn spawn_with(
        &self,
        name: &str,
        command: Command,
        options: SendOptions,
    ) -> tokio::task::JoinHandle<Sent> {
        let (runtime, id) = (self.runtime.clone(), id(name));
        #[expect(clippy::disallowed_methods, reason = "a test joins what it spawns")]
        tokio::spawn(async move {
            runtime
                .send::<Counter>(&Tenant::default(), &id, command, options)
                .await
        })
    }

    async fn total(&self, name: &str) -> i64 {
        let state = self
            .runtime
            .state::<Counter>(&Tenant::default(), &id(name))
            .await;
        state.unwrap().state.total
    }

    fn live(&self) -> usize {
        self.runtime.aggregate::<Counter>().unwrap().live()
    }

    fn versions(&self, name: &str) -> Vec<u64> {
        let query = StreamQuery {
            eventless: true,
            ..StreamQuery::new(stream(name))
        };
        let batches: Vec<_> = self
            .store
            .read_stream(query)
            .collect()
            .now_or_never()
            .expect("memory is ready");
        let commits = batches.into_iter().flat_map(Result::unwrap);
        commits
            .flat_map(|c| c.events().map(|e| e.version().get()).collect::<Vec<_>>())
            .collect()
    }
}

/// Lets every other task run until nothing moves any more: the current-thread executor is fair.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn command_id(fixture: &Fixture, name: &str) -> SendOptions {
    use chronicler_runtime::Clock;
    let command_id = Some(CommandId::derived(fixture.clock.now(), name));
    SendOptions {
        command_id,
        ..SendOptions::default()
    }
}

#[tokio::test]
async fn a1_events_in_order_and_none_decided_none_written() {
    let f = fixture().await;
    let first = f.send("a", Command::AddTwice(2)).await.unwrap();
    assert_eq!(
        (first.reply, first.first_version.get(), first.version.get()),
        (4, 1, 2)
    );
    assert_eq!(
        (first.position, first.event_count()),
        (GlobalPosition::new(2), 2)
    );
    let nothing = f.send("a", Command::Nothing).await.unwrap();
    assert_eq!(
        (nothing.reply, nothing.version.get(), nothing.event_count()),
        (4, 2, 0)
    );
    assert_eq!(nothing.position, GlobalPosition::new(2));
    assert_eq!(f.store.head().sequence.get(), 1, "one commit");
}

#[tokio::test]
async fn a2_a_panic_in_decide_leaves_state_and_log_untouched() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    let error = f.send("a", Command::PanicInDecide).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains("decide broke"), "{error}");
    assert_eq!((f.total("a").await, f.versions("a")), (1, vec![1]));
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
}

#[tokio::test]
async fn a3_an_event_its_own_evolve_refuses_never_reaches_the_log() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    let error = f.send("a", Command::PanicInEvolve).await.unwrap_err();
    assert!(matches!(
        error,
        SendError::Failed(DispatchError::Panicked { .. })
    ));
    assert_eq!((f.total("a").await, f.versions("a")), (1, vec![1]));
}

#[tokio::test]
async fn a2_commands_queued_behind_a_panic_are_carried_out() {
    let f = fixture().await;
    f.store.faults().hold();
    let first = f.spawn("a", Command::Add(1));
    let panics = f.spawn("a", Command::PanicInDecide);
    let behind = f.spawn("a", Command::Add(1));
    settle().await;
    f.store.faults().release();
    assert_eq!(first.await.unwrap().unwrap().reply, 1);
    assert!(panics.await.unwrap().is_err());
    assert_eq!(behind.await.unwrap().unwrap().reply, 2);
}

#[tokio::test]
async fn a_rejection_is_the_users_own_type_and_waits_for_what_it_was_decided_on() {
    let f = fixture().await;
    f.store.faults().hold();
    let add = f.spawn("a", Command::Add(1));
    let rejected = f.spawn("a", Command::Add(-5));
    settle().await;
    assert!(
        !rejected.is_finished(),
        "what it was decided on is not durable yet"
    );
    f.store.faults().release();
    add.await.unwrap().unwrap();
    let error = rejected.await.unwrap().unwrap_err();
    assert_eq!(error.rejection(), Some(&Negative(-4)));
}

#[tokio::test]
async fn a4_recovery_reads_in_batches() {
    let f = fixture().await;
    for _ in 0..600 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    let again = with(f.store.clone(), RuntimeOptions::default()).await;
    assert_eq!(again.total("a").await, 600);
}

#[tokio::test]
async fn a7_idle_instances_are_passivated_and_reopened_by_the_next_command() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(f.total("a").await, 1);
    assert_eq!(f.live(), 1);
    for _ in 0..3 {
        settle().await;
        f.clock.advance(Duration::from_secs(301));
    }
    settle().await;
    assert_eq!(f.live(), 0);
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
    assert_eq!(f.live(), 1);
}

#[tokio::test]
async fn a7_beyond_the_cap_the_longest_unused_goes_first() {
    let mut options = RuntimeOptions::default();
    options.live_max = 3;
    let f = with(MemoryStore::new(), options).await;
    for name in ["a", "b", "c", "d", "e"] {
        f.clock.advance(Duration::from_millis(1));
        f.send(name, Command::Add(1)).await.unwrap();
        settle().await;
    }
    assert_eq!(f.live(), 3);
    assert_eq!(f.total("a").await, 1);
}

#[tokio::test]
async fn a7_on_demand_and_no_message_that_arrives_meanwhile_is_lost() {
    let f = fixture().await;
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    for round in 1..=50 {
        let before = f.spawn("a", Command::Add(1));
        let (tenant, name) = (Tenant::default(), id("a"));
        let passivate = handle.passivate(&tenant, &name);
        let after = f.spawn("a", Command::Add(1));
        let (_, before, after) = futures::join!(passivate, before, after);
        before.unwrap().unwrap();
        assert_eq!(after.unwrap().unwrap().reply, 2 * round);
    }
    settle().await;
    assert!(handle.passivate(&Tenant::default(), &id("a")).await);
    assert_eq!(f.live(), 0);
}

#[tokio::test]
async fn a10_a_deadline_before_the_decision_is_not_applied_and_after_it_unknown() {
    let f = fixture().await;
    let within = |seconds| SendOptions {
        deadline: Deadline::Within(Duration::from_secs(seconds)),
        ..SendOptions::default()
    };
    f.store.faults().hold();
    let late = f.spawn_with("a", Command::Add(1), within(5));
    settle().await;
    f.clock.advance(Duration::from_secs(6));
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    f.store.faults().release();
    assert_eq!(f.total("a").await, 1, "the late outcome corrupted nothing");
    assert_eq!(
        f.send_with("a", Command::Add(1), within(5))
            .await
            .unwrap()
            .reply,
        2
    );
}

#[tokio::test]
async fn a11_a_failing_recovery_is_retried_then_quarantined_and_released() {
    let f = fixture().await;
    let event = chronicler_store::NewEvent {
        id: None,
        event_type: "Unheard".into(),
        schema_version: chronicler_domain::SchemaVersion::FIRST,
        codec: chronicler_store::codec::CodecId::BINCODE,
        payload: bytes::Bytes::new(),
        metadata: bytes::Bytes::new(),
    };
    let foreign = Append::new(uuid::Uuid::from_u128(1), Timestamp::EPOCH).stream(
        stream("a"),
        Expected::Any,
        vec![event],
    );
    f.store.append(foreign).await.unwrap();
    let sent = f.spawn("a", Command::Add(1));
    while !sent.is_finished() {
        settle().await;
        f.clock.advance(Duration::from_secs(5));
    }
    let error = sent.await.unwrap().unwrap_err();
    assert!(
        matches!(error, SendError::Failed(DispatchError::Quarantined { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("Unheard"), "{error}");
    assert_eq!(
        f.send("b", Command::Add(1)).await.unwrap().reply,
        1,
        "others flow"
    );
    // It is journaled: another runtime over the same store knows it, and can let it go.
    let again = with(f.store.clone(), RuntimeOptions::default()).await;
    assert_eq!(again.runtime.quarantined()[0].stream, stream("a"));
    assert!(again.send("a", Command::Nothing).await.is_err());
    assert!(again.runtime.release(&stream("a")).await.unwrap());
    assert!(!again.runtime.release(&stream("a")).await.unwrap());
    assert!(again.runtime.quarantined().is_empty());
}

#[tokio::test]
async fn a14_many_actors_recover_within_few_permits() {
    let f = fixture().await;
    for n in 0..200 {
        f.send(&format!("c{n}"), Command::Add(n)).await.unwrap();
    }
    let mut options = RuntimeOptions::default();
    options.recoveries_max = 2;
    let again = with(f.store.clone(), options).await;
    let sent: Vec<_> = (0..200)
        .map(|n| again.spawn(&format!("c{n}"), Command::Add(1)))
        .collect();
    for (n, sent) in sent.into_iter().enumerate() {
        assert_eq!(sent.await.unwrap().unwrap().reply, n as i64 + 1);
    }
}

#[tokio::test]
async fn a18_a24_a_foreign_append_between_two_pipelined_ones_fails_the_later_too() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().hold();
    let first = f.spawn("a", Command::Add(1));
    settle().await;
    // A foreign writer takes the place after the first, with the version that the second expects.
    let event = chronicler_store::codec::encode_event(Default::default(), &Happened::Added(100));
    let foreign = Append::new(uuid::Uuid::from_u128(9), Timestamp::EPOCH).stream(
        stream("a"),
        Expected::Any,
        vec![event.unwrap()],
    );
    let foreign = f.store.append(foreign);
    let second = f.spawn("a", Command::Add(1));
    let third = f.spawn("a", Command::Add(1));
    settle().await;
    f.store.faults().release();
    first.await.unwrap().unwrap();
    foreign.await.unwrap();
    for later in [second, third] {
        let error = later.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 103);
    assert_eq!(f.versions("a"), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a21_many_senders_to_one_aggregate_are_linearizable() {
    let f = fixture().await;
    let sent: Vec<_> = (0..500).map(|_| f.spawn("a", Command::Add(1))).collect();
    let mut replies = Vec::new();
    for sent in sent {
        let receipt = sent.await.unwrap().unwrap();
        assert_eq!(receipt.reply, receipt.version.get() as i64);
        replies.push(receipt.reply);
    }
    replies.sort_unstable();
    assert_eq!(replies, (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a22_a_hot_aggregate_goes_on_while_its_commits_wait_for_the_disk() {
    let f = fixture().await;
    f.store.faults().hold();
    let sent: Vec<_> = (0..100).map(|_| f.spawn("a", Command::Add(1))).collect();
    settle().await;
    assert_eq!(
        f.store.faults().writes(),
        100,
        "all are with the log, none is answered"
    );
    assert!(sent.iter().all(|sent| !sent.is_finished()));
    f.store.faults().release();
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a23_a_failed_append_fails_what_was_decided_on_it_then_it_recovers() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().hold();
    f.store.faults().fail_append(AppendFault::Overloaded);
    let failed = f.spawn("a", Command::Add(10));
    let query = f.runtime.clone();
    settle().await;
    f.store.faults().release();
    let error = failed.await.unwrap().unwrap_err();
    assert_eq!(
        (error.outcome(), error.is_retryable()),
        (Outcome::NotApplied, true)
    );
    let state = query
        .state::<Counter>(&Tenant::default(), &id("a"))
        .await
        .unwrap();
    assert_eq!(
        (state.state.total, state.version),
        (1, StreamVersion::new(1))
    );
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
}

#[tokio::test]
async fn a23_a_failed_sync_is_unknown_and_everything_after_it_not_applied() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().fail_append(AppendFault::FailedWritten);
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(f.total("a").await, 1, "reads go on");
}

#[tokio::test]
async fn a25_no_successor_recovers_before_its_predecessors_appends_are_answered() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().hold();
    let in_flight = f.spawn("a", Command::Add(1));
    settle().await;
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    handle.crash(&Tenant::default(), &id("a"));
    let queued = f.spawn("a", Command::Add(1));
    for _ in 0..3 {
        settle().await;
        f.clock.advance(Duration::from_secs(5));
    }
    settle().await;
    assert!(!queued.is_finished(), "the successor waits at the barrier");
    f.store.faults().release();
    assert_eq!(in_flight.await.unwrap().unwrap().reply, 2);
    assert_eq!(
        queued.await.unwrap().unwrap().reply,
        3,
        "the queue outlived the actor"
    );
    assert_eq!(f.versions("a"), [1, 2, 3]);
}

#[tokio::test]
async fn an_actor_that_dies_too_often_is_quarantined() {
    let mut options = RuntimeOptions::default();
    options.restart = RestartPolicy {
        budget: 2,
        ..RestartPolicy::default()
    };
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    for _ in 0..3 {
        handle.crash(&Tenant::default(), &id("a"));
        settle().await;
        f.clock.advance(Duration::from_secs(6));
        settle().await;
    }
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert!(
        matches!(error, SendError::Failed(DispatchError::Quarantined { .. })),
        "{error}"
    );
    assert!(f.runtime.release(&stream("a")).await.unwrap());
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
}

#[tokio::test]
async fn a_command_id_takes_effect_once_across_restarts_and_snapshots() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let f = with(MemoryStore::new(), options.clone()).await;
    let once = command_id(&f, "order 17");
    let first = f
        .send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    let again = f
        .send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    assert_eq!(
        (again.reply, again.version, again.position),
        (5, first.version, first.position)
    );
    assert!(again.duplicate && !first.duplicate);
    let rejected = command_id(&f, "rejected");
    for _ in 0..2 {
        let error = f
            .send_with("a", Command::Add(-9), rejected.clone())
            .await
            .unwrap_err();
        assert_eq!(error.rejection(), Some(&Negative(-4)));
    }
    f.send("a", Command::Add(100)).await.unwrap();
    settle().await;
    let restarted = with(f.store.clone(), options).await;
    let again = restarted
        .send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    assert_eq!((again.reply, again.duplicate), (5, true));
    let still = restarted
        .send_with("a", Command::Add(-9), rejected)
        .await
        .unwrap_err();
    assert_eq!(
        still.rejection(),
        Some(&Negative(-4)),
        "the rejection was remembered"
    );
    let other = restarted
        .send_with("a", Command::Add(6), once)
        .await
        .unwrap_err();
    assert!(
        matches!(other, SendError::Failed(DispatchError::IdReused { .. })),
        "{other}"
    );
    assert_eq!(restarted.total("a").await, 105);
}

#[tokio::test]
async fn a_snapshot_begun_while_a_commit_is_in_flight_remembers_where_it_lies() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let f = with(MemoryStore::new(), options.clone()).await;
    let once = command_id(&f, "order 17");
    f.store.faults().hold();
    let first = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    f.store.faults().release();
    let first = first.await.unwrap().unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(1));
    let restarted = with(f.store.clone(), options).await;
    let again = restarted.send_with("a", Command::Add(5), once).await;
    let again = again.unwrap();
    assert_eq!((again.position, again.duplicate), (first.position, true));
}

#[tokio::test]
async fn a_duplicate_of_a_command_in_flight_waits_for_it() {
    let f = fixture().await;
    f.store.faults().hold();
    let once = command_id(&f, "x");
    let first = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    let second = f.spawn_with("a", Command::Add(5), once);
    settle().await;
    assert!(!first.is_finished() && !second.is_finished());
    f.store.faults().release();
    let (first, second) = (
        first.await.unwrap().unwrap(),
        second.await.unwrap().unwrap(),
    );
    assert_eq!(
        (first.position, second.position),
        (GlobalPosition::new(1), GlobalPosition::new(1))
    );
    assert!(second.duplicate);
}

#[tokio::test]
async fn an_id_from_before_the_horizon_is_refused_and_never_executed_again() {
    let mut options = RuntimeOptions::default();
    options.remembered_max = 2;
    let f = with(MemoryStore::new(), options).await;
    let ids: Vec<_> = (0..4)
        .map(|n| {
            f.clock.advance(Duration::from_millis(5));
            command_id(&f, &format!("{n}"))
        })
        .collect();
    for id in &ids {
        f.send_with("a", Command::Add(1), id.clone()).await.unwrap();
    }
    for (n, id) in ids.iter().enumerate() {
        let again = f.send_with("a", Command::Add(1), id.clone()).await;
        if n < 2 {
            let error = again.unwrap_err();
            assert!(
                matches!(
                    error,
                    SendError::Failed(DispatchError::CommandTooOld { .. })
                ),
                "{error}"
            );
        } else {
            assert!(again.unwrap().duplicate);
        }
    }
    assert_eq!(f.total("a").await, 4);
}

async fn snapshots(f: &Fixture, name: &str) -> Option<u64> {
    settle().await;
    let found = f
        .store
        .load_snapshot(&stream(name), StreamVersion::MAX)
        .await
        .unwrap();
    found.map(|snapshot| snapshot.version.get())
}

#[tokio::test]
async fn s12_with_the_policy_off_none_is_taken_and_an_existing_one_ignored() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for _ in 0..3 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    assert_eq!(snapshots(&f, "a").await, Some(2), "s13: at the interval");
    options.snapshots = SnapshotPolicy::Never;
    let off = with(f.store.clone(), options).await;
    off.store.faults().corrupt_newest_snapshot(&stream("a"));
    assert_eq!(off.total("a").await, 3);
    off.send("b", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&off, "b").await, None);
}

#[tokio::test]
async fn s13_a_batch_that_crosses_the_interval_takes_one_at_its_end() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(3);
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, None);
    f.send("a", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(4));
}

#[tokio::test]
async fn s14_restores_from_none_from_one_and_from_one_with_newer_events() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for expected in 1..=5 {
        f.send("a", Command::Add(1)).await.unwrap();
        settle().await;
        let again = with(f.store.clone(), options.clone()).await;
        assert_eq!(again.total("a").await, expected);
    }
}

#[tokio::test]
async fn s15_s16_s17_what_cannot_be_used_is_ignored_for_an_older_one_or_the_events() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for _ in 0..4 {
        f.send("a", Command::Add(1)).await.unwrap();
        settle().await;
    }
    f.store.faults().corrupt_newest_snapshot(&stream("a"));
    let again = with(f.store.clone(), options.clone()).await;
    assert_eq!(
        again.total("a").await,
        4,
        "s17: the one before, then events"
    );
    let newest = f
        .store
        .load_snapshot(&stream("a"), StreamVersion::MAX)
        .await
        .unwrap()
        .unwrap();
    let other = chronicler_store::Snapshot {
        schema_version: 77,
        ..newest
    };
    f.store.save_snapshot(&stream("a"), other).await.unwrap();
    let again = with(f.store.clone(), options).await;
    assert_eq!(again.total("a").await, 4, "s15: another schema version");
}

#[tokio::test]
async fn s18_a_failed_save_never_stops_the_actor() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let f = with(MemoryStore::new(), options).await;
    f.store.faults().fail_snapshots(true);
    for expected in 1..=3 {
        assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, expected);
        settle().await;
    }
    assert_eq!(snapshots(&f, "a").await, None);
    f.store.faults().fail_snapshots(false);
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(4));
}

#[tokio::test]
async fn s21_taken_after_a_recovery_when_missing_and_due() {
    let f = fixture().await;
    for _ in 0..5 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    assert_eq!(snapshots(&f, "a").await, None);
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(5);
    let again = with(f.store.clone(), options).await;
    assert_eq!(again.total("a").await, 5);
    assert_eq!(snapshots(&again, "a").await, Some(5));
}

#[tokio::test]
async fn s24_passivation_takes_its_snapshot_and_is_honoured_afterwards() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::OnPassivation;
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    settle().await;
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    assert!(handle.passivate(&Tenant::default(), &id("a")).await);
    assert_eq!((snapshots(&f, "a").await, f.live()), (Some(1), 0));
}

#[tokio::test]
async fn tenants_are_part_of_the_identity() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    let acme = Tenant::new("acme").unwrap();
    let options = SendOptions::default();
    let theirs = f
        .runtime
        .send::<Counter>(&acme, &id("a"), Command::Add(5), options)
        .await;
    assert_eq!(theirs.unwrap().reply, 5);
    assert_eq!(f.total("a").await, 1);
}

#[tokio::test]
async fn a_subscription_catches_up_and_then_follows() {
    let f = fixture().await;
    f.send("a", Command::AddTwice(1)).await.unwrap();
    let mut subscription = f.runtime.subscribe(SubscriptionOptions::default());
    let batch = subscription.next().await.unwrap();
    assert_eq!(
        (batch.commits.len(), batch.through.get(), batch.head.get()),
        (1, 2, 2)
    );
    assert!(subscription.next().now_or_never().is_none(), "nothing new");
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(subscription.next().await.unwrap().through.get(), 3);
}

#[tokio::test]
async fn stop_takes_no_more_lets_the_rest_end_and_reports() {
    let f = fixture().await;
    f.store.faults().hold();
    let under_way = f.spawn("a", Command::Add(1));
    settle().await;
    let stopping = {
        let runtime = f.runtime.clone();
        #[expect(clippy::disallowed_methods, reason = "a test joins what it spawns")]
        tokio::spawn(async move { runtime.stop(StopOptions::default()).await })
    };
    settle().await;
    let refused = f.send("a", Command::Add(1)).await.unwrap_err();
    assert!(matches!(refused, SendError::Failed(DispatchError::Stopped)));
    assert!(!stopping.is_finished());
    f.store.faults().release();
    under_way.await.unwrap().unwrap();
    let report = stopping.await.unwrap();
    assert_eq!(
        (report.commands, report.abandoned, report.passivated),
        (1, 0, 1)
    );
    assert_eq!(report.head.position.get(), 1);
}

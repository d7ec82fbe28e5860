//! What becomes of the pipeline when an append fails, or another writer comes between.

use std::time::Duration;

use chronicler_domain::{StreamVersion, Tenant, Timestamp};
use chronicler_store::memory::AppendFault;
use chronicler_store::{Append, EventLog, Expected, Outcome};

use crate::fixture::{Command, Counter, Happened, fixture, id, settle, stream};

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

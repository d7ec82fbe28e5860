//! R1 to R3: what may pass sets nothing aside and holds up nobody else; what is for good is set aside at once.

use std::time::Duration;

use chronicler_domain::{StreamVersion, Tenant};
use chronicler_runtime::{DispatchError, RuntimeOptions, SendError, SnapshotPolicy};
use chronicler_store::memory::{AppendFault, ReadFault};
use chronicler_store::{EventLog, MemoryStore, Outcome, SnapshotStore};

use crate::fixture::{Command, Counter, Fixture, Sent, fixture, id, settle, stream, with};

/// Longer than a command waits for tries to recover its instance.
const PATIENCE: Duration = Duration::from_secs(2);

/// A runtime that has recovered nothing yet, over a store with some counters.
async fn cold(names: &[&str], options: RuntimeOptions) -> Fixture {
    let f = fixture().await;
    for name in names {
        f.send(name, Command::Add(1)).await.unwrap();
    }
    f.runtime.stop(Default::default()).await;
    with(f.store, options).await
}

/// Waits for an answer, turning the clock.
async fn turning(f: &Fixture, sent: tokio::task::JoinHandle<Sent>) -> Sent {
    while !sent.is_finished() {
        settle().await;
        f.clock.advance(Duration::from_millis(50));
    }
    sent.await.unwrap()
}

#[tokio::test]
async fn r1_what_may_pass_is_answered_as_retryable_tried_again_and_leaves_nothing_behind() {
    let names = ["a", "b", "c", "d"];
    for fault in [ReadFault::Io, ReadFault::Index] {
        let f = cold(&names, RuntimeOptions::default()).await;
        let head = f.store.head();
        f.store.faults().fail_reads(Some(fault));
        // Far longer than any budget of tries.
        for round in 1..=30 {
            let sent: Vec<_> = names.map(|name| f.spawn(name, Command::Add(1))).into();
            for sent in sent {
                let error = turning(&f, sent).await.unwrap_err();
                let recovery = matches!(&error, SendError::Failed(DispatchError::Recovery { .. }));
                assert!(recovery && error.is_retryable(), "{error}");
                assert_eq!(error.outcome(), Outcome::NotApplied);
            }
            let failing = f.runtime.failing();
            assert_eq!(failing.len(), names.len());
            assert!(failing.iter().all(|one| one.attempts > round));
            assert!(
                failing
                    .iter()
                    .all(|one| one.since <= f.runtime.clock().now())
            );
        }
        assert!(f.runtime.quarantined().is_empty());
        assert_eq!(f.store.head(), head, "nothing of it is written");

        f.store.faults().fail_reads(None);
        for name in names {
            let sent = f.spawn(name, Command::Add(1));
            assert_eq!(turning(&f, sent).await.unwrap().reply, 2, "{fault:?}");
        }
        assert!(f.runtime.failing().is_empty());
        let again = with(f.store.clone(), RuntimeOptions::default()).await;
        assert!(again.runtime.quarantined().is_empty());
    }
}

#[tokio::test]
async fn r1_a_trouble_of_a_moment_is_not_seen_and_all_who_wait_hear_of_one_that_lasts() {
    let f = cold(&["a"], RuntimeOptions::default()).await;
    f.store.faults().fail_reads(Some(ReadFault::Io));
    let sent = f.spawn("a", Command::Add(1));
    settle().await;
    f.store.faults().fail_reads(None);
    assert_eq!(turning(&f, sent).await.unwrap().reply, 2);

    let f = cold(&["a"], RuntimeOptions::default()).await;
    f.store.faults().fail_reads(Some(ReadFault::Io));
    let waiting: Vec<_> = (0..100).map(|_| f.spawn("a", Command::Add(1))).collect();
    settle().await;
    // One after the other they would need a hundred times as long.
    let mut waited = Duration::ZERO;
    while waiting.iter().any(|sent| !sent.is_finished()) {
        assert!(waited <= PATIENCE);
        waited += Duration::from_millis(50);
        f.clock.advance(Duration::from_millis(50));
        settle().await;
    }
    for sent in waiting {
        assert!(sent.await.unwrap().unwrap_err().is_retryable());
    }
    let (tenant, a) = (Tenant::default(), id("a"));
    let query = f.runtime.state::<Counter>(&tenant, &a);
    let (state, ()) = futures::join!(query, async {
        for _ in 0..4 {
            settle().await;
            f.clock.advance(PATIENCE);
        }
    });
    assert!(state.unwrap_err().is_retryable());
}

#[tokio::test]
async fn r2_damage_is_believed_when_it_is_read_twice_and_then_set_aside_at_once() {
    let f = cold(&["a", "b"], RuntimeOptions::default()).await;
    f.store
        .faults()
        .fail_reads_of(&stream("a"), Some(ReadFault::DamagedOnce));
    f.store
        .faults()
        .fail_reads_of(&stream("b"), Some(ReadFault::Damaged));
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
    let error = f.send("b", Command::Add(1)).await.unwrap_err();
    assert!(matches!(
        error,
        SendError::Failed(DispatchError::Quarantined { .. })
    ));
    assert_eq!(f.runtime.quarantined().len(), 1);
    assert!(f.runtime.failing().is_empty());
    f.store.faults().fail_reads_of(&stream("b"), None);
    assert!(f.runtime.release(&stream("b")).await.unwrap());
    assert_eq!(f.send("b", Command::Add(1)).await.unwrap().reply, 2);
}

#[tokio::test]
async fn r2_what_fails_behind_a_snapshot_is_tried_from_the_first_event_before_it_is_believed() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for _ in 0..3 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    f.runtime.stop(Default::default()).await;
    let (a, latest) = (stream("a"), StreamVersion::MAX);
    let mut snapshot = f.store.load_snapshot(&a, latest).await.unwrap().unwrap();
    f.store.delete_snapshots(&a, latest).await.unwrap();
    // It says that it is older than it is, so that the log does not follow it.
    snapshot.version = StreamVersion::new(1);
    f.store.save_snapshot(&a, snapshot).await.unwrap();
    let again = with(f.store, options).await;
    assert_eq!(again.send("a", Command::Add(1)).await.unwrap().reply, 4);
    assert!(again.runtime.quarantined().is_empty());
}

#[tokio::test]
async fn r3_whoever_waits_to_be_tried_again_keeps_no_permit() {
    let mut options = RuntimeOptions::default();
    options.recoveries_max = 1;
    let f = cold(&["bad", "good"], options).await;
    f.store
        .faults()
        .fail_reads_of(&stream("bad"), Some(ReadFault::Io));
    let bad = f.spawn("bad", Command::Add(1));
    settle().await;
    assert_eq!(f.runtime.failing().len(), 1);
    // The clock stands still: the other one waits for its next try all this time.
    assert_eq!(f.send("good", Command::Add(1)).await.unwrap().reply, 2);
    assert!(!bad.is_finished());
    turning(&f, bad).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn r3_reads_that_hang_keep_no_permits_and_end_as_retryable() {
    // Ten times as many as may recover at a time.
    let mut names: Vec<_> = (0..640).map(|n| format!("h{n}")).collect();
    names.push("good".to_owned());
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let f = cold(&names, RuntimeOptions::default()).await;
    let hanging = names.split_last().unwrap().1;
    for name in hanging {
        let hangs = Some(ReadFault::Hangs);
        f.store.faults().fail_reads_of(&stream(name), hangs);
    }
    let begun = tokio::time::Instant::now();
    let spawn = |name: &&str| f.spawn(name, Command::Add(1));
    let stuck: Vec<_> = hanging.iter().map(spawn).collect();
    settle().await;
    assert_eq!(f.send("good", Command::Add(1)).await.unwrap().reply, 2);
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    for sent in stuck {
        // The stall is measured on tokio's clock, and the waits between tries on the runtime's.
        while !sent.is_finished() {
            tokio::time::advance(Duration::from_secs(10)).await;
            f.clock.advance(Duration::from_millis(500));
            tokio::task::yield_now().await;
        }
        let error = sent.await.unwrap().unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    assert!(f.runtime.quarantined().is_empty());
}

#[tokio::test]
async fn r7_a_commit_that_the_log_has_no_room_for_waits_and_costs_no_recovery() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    // Whoever had to recover now could not.
    f.store.faults().fail_reads(Some(ReadFault::Hangs));
    for _ in 0..5 {
        f.store.faults().fail_append(AppendFault::NoRoom);
    }
    let sent: Vec<_> = (0..3).map(|_| f.spawn("a", Command::Add(1))).collect();
    for (n, sent) in sent.into_iter().enumerate() {
        assert_eq!(sent.await.unwrap().unwrap().reply, n as i64 + 2);
    }
    assert_eq!(f.total("a").await, 4);
    f.store.faults().fail_reads(None);
    assert_eq!(f.versions("a"), [1, 2, 3, 4]);
}

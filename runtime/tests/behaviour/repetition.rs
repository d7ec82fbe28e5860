//! Commands that are sent again take effect once.

use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{DispatchError, RuntimeOptions, SendError, SnapshotPolicy};
use chronicler_store::{MemoryStore, Outcome};

use crate::fixture::{Command, Negative, command_id, fixture, settle, with};
use crate::snapshots::snapshots;

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
    let f = fixture().await;
    let hour = Duration::from_secs(3_600);
    let ids: Vec<_> = (0..4)
        .map(|n| {
            f.clock.advance(hour);
            command_id(&f, &format!("{n}"))
        })
        .collect();
    for id in &ids {
        f.send_with("a", Command::Add(1), id.clone()).await.unwrap();
    }
    // More than 24 hours after the first two were made.
    f.clock.advance(hour * 22);
    settle().await;
    // Only the newest are kept whole, and pushed out the others are looked for; too old they are not.
    for n in 0..40 {
        let id = command_id(&f, &format!("later {n}"));
        f.send_with("a", Command::Add(1), id).await.unwrap();
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
            assert_eq!(error.outcome(), Outcome::Unknown, "it was applied");
        } else {
            assert!(again.unwrap().duplicate);
        }
    }
    assert_eq!(f.total("a").await, 44);
}

//! One command after the other: decided, refused, too late, and many at once.

use std::time::Duration;

use chronicler_domain::{GlobalPosition, Tenant};
use chronicler_runtime::{
    Deadline, DispatchError, SendError, SendOptions, StopOptions, SubscriptionOptions,
};
use chronicler_store::{EventLog, Outcome};
use futures::FutureExt;

use crate::fixture::{Command, Counter, Negative, fixture, id, settle};

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

//! Subscriptions with a name: what they give, what they remember, and where they go on.

use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{
    Begin, CheckpointPolicy, DurableOptions, DurableSubscription, RuntimeOptions, SubscribeError,
};
use chronicler_store::memory::AppendFault;
use chronicler_store::{EventLog, FactKind, FactQuery, Filter, MemoryStore};
use futures::FutureExt;

use crate::fixture::{Command, Fixture, fixture, stream, with};

const NAME: &str = "mailer";

async fn subscribe(f: &Fixture, options: DurableOptions) -> DurableSubscription {
    f.runtime.subscribe_durably(NAME, options).await.unwrap()
}

/// The positions of the events that are given without waiting.
fn given(subscription: &mut DurableSubscription) -> Vec<u64> {
    let mut positions = Vec::new();
    while let Some(delivery) = subscription.next().now_or_never() {
        let delivery = delivery.unwrap();
        positions.extend(delivery.events().map(|event| event.position().get()));
    }
    positions
}

async fn ack(subscription: &DurableSubscription, position: u64) {
    let position = GlobalPosition::new(position);
    subscription.acknowledge(position).await.unwrap();
}

async fn recorded(f: &Fixture) -> u64 {
    let all = f.runtime.durable_subscriptions().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, NAME);
    all[0].1.get()
}

/// How many commits the cursor took: each is one.
fn cursors(f: &Fixture, events: u64) -> u64 {
    f.store.head().sequence.get() - events
}

async fn write(f: &Fixture, count: usize) {
    for _ in 0..count {
        f.send("a", Command::Add(1)).await.unwrap();
    }
}

#[tokio::test]
async fn u1_a_subscription_is_told_where_it_begins_and_where_the_log_ends() {
    let f = fixture().await;
    write(&f, 3).await;
    let new = |begin| DurableOptions {
        begin,
        ..DurableOptions::default()
    };
    for (name, begin, after) in [
        ("first", Begin::First, 0),
        ("now", Begin::Now, 3),
        ("after", Begin::After(GlobalPosition::new(2)), 2),
    ] {
        let subscription = f.runtime.subscribe_durably(name, new(begin)).await.unwrap();
        let confirmed = subscription.confirmation();
        assert_eq!(confirmed.after.get(), after);
        assert_eq!(confirmed.head.get(), 3);
        assert!(!confirmed.resumed);
    }
    // It is remembered that "now" was then.
    write(&f, 2).await;
    let mut now = f
        .runtime
        .subscribe_durably("now", new(Begin::Now))
        .await
        .unwrap();
    assert_eq!(now.confirmation().after.get(), 3);
    assert_eq!(now.confirmation().head.get(), 5);
    assert!(now.confirmation().resumed);
    assert_eq!(given(&mut now), [4, 5]);
    let beyond = new(Begin::After(GlobalPosition::new(6)));
    let refused = f.runtime.subscribe_durably("beyond", beyond).await.err();
    assert!(matches!(refused, Some(SubscribeError::BeyondHead { .. })));
}

#[tokio::test]
async fn u1_a_name_has_one_consumer_at_a_time_and_is_not_empty_nor_endless() {
    let f = fixture().await;
    let first = subscribe(&f, DurableOptions::default()).await;
    let again = f.runtime.subscribe_durably(NAME, DurableOptions::default());
    assert!(matches!(again.await.err(), Some(SubscribeError::InUse(name)) if name == NAME));
    let forgetting = f.runtime.forget_subscription(NAME).await;
    assert!(matches!(forgetting, Err(SubscribeError::InUse(_))));
    // Who only acknowledges does not hold the name, and has no say any more.
    let acknowledger = first.acknowledger();
    drop(first);
    let late = acknowledger.acknowledge(GlobalPosition::ZERO).await;
    assert!(matches!(late, Err(SubscribeError::Ended)));
    subscribe(&f, DurableOptions::default()).await;
    for name in ["", &"n".repeat(201)] {
        let refused = f.runtime.subscribe_durably(name, DurableOptions::default());
        assert!(matches!(refused.await.err(), Some(SubscribeError::Name(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u2_catching_up_while_events_arrive_loses_none_and_gives_none_twice() {
    let f = fixture().await;
    write(&f, 300).await;
    let mut options = DurableOptions::default();
    options.unacknowledged_max = 16;
    let mut subscription = subscribe(&f, options).await;
    let writing: Vec<_> = (0..700)
        .map(|n| f.spawn(&format!("c{}", n % 7), Command::Add(1)))
        .collect();
    let mut seen = Vec::new();
    while seen.len() < 1_000 {
        let delivery = subscription.next().await.unwrap();
        seen.extend(delivery.events().map(|event| event.position().get()));
        // A consumer that is slower than the log reads later; there is no queue that it could overflow.
        subscription.acknowledge(delivery.last()).await.unwrap();
    }
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    for write in writing {
        write.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn u3_a_filter_holds_while_catching_up_and_live_and_what_it_keeps_out_advances_the_cursor() {
    let f = fixture().await;
    let both = || async {
        f.send("a", Command::Add(1)).await.unwrap();
        f.send("b", Command::Add(1)).await.unwrap();
    };
    both().await;
    let options = || DurableOptions {
        filter: Filter {
            stream: Some(stream("a")),
            ..Filter::default()
        },
        ..DurableOptions::default()
    };
    let mut subscription = subscribe(&f, options()).await;
    assert_eq!(given(&mut subscription), [1]);
    both().await;
    assert_eq!(given(&mut subscription), [3]);
    // Nothing is passed over while something before it is not acknowledged.
    ack(&subscription, 1).await;
    assert_eq!(recorded(&f).await, 2);
    ack(&subscription, 3).await;
    for _ in 0..5_000 {
        f.send("b", Command::Add(1)).await.unwrap();
    }
    // All of them are kept out: one cursor covers thousands, without any acknowledgement.
    assert!(given(&mut subscription).is_empty());
    assert_eq!(recorded(&f).await, 5_004);
    drop(subscription);
    let mut subscription = subscribe(&f, options()).await;
    assert_eq!(subscription.confirmation().after.get(), 5_004);
    both().await;
    assert_eq!(given(&mut subscription), [5_005]);
}

#[tokio::test]
async fn u5_no_more_than_the_limit_is_out_and_an_acknowledgement_makes_room() {
    let f = fixture().await;
    // Two events in each commit: a commit is cut where the limit is.
    for _ in 0..4 {
        f.send("a", Command::AddTwice(1)).await.unwrap();
    }
    let mut options = DurableOptions::default();
    options.unacknowledged_max = 3;
    let mut subscription = subscribe(&f, options).await;
    assert_eq!(given(&mut subscription), [1, 2, 3]);
    ack(&subscription, 1).await;
    assert_eq!(given(&mut subscription), [4]);
    ack(&subscription, 1).await;
    assert!(given(&mut subscription).is_empty());
    // What waits for room is woken by the acknowledgement of another task.
    let acknowledger = subscription.acknowledger();
    let (delivery, acknowledged) = tokio::join!(
        async { subscription.next().await.unwrap().last().get() },
        acknowledger.acknowledge(GlobalPosition::new(4)),
    );
    acknowledged.unwrap();
    assert_eq!(delivery, 6);
}

#[tokio::test]
async fn u6_the_cursor_is_recorded_with_each_acknowledgement() {
    let f = fixture().await;
    write(&f, 3).await;
    let mut subscription = subscribe(&f, DurableOptions::default()).await;
    assert_eq!(given(&mut subscription), [1, 2, 3]);
    for position in 1..=3 {
        ack(&subscription, position).await;
        assert_eq!(recorded(&f).await, position);
    }
    // One for the beginning, one for each; a repetition needs none.
    ack(&subscription, 2).await;
    assert_eq!(cursors(&f, 3), 4);
}

#[tokio::test]
async fn u6_the_cursor_is_recorded_after_so_many_on_idle_and_on_stop() {
    let f = fixture().await;
    write(&f, 9).await;
    let mut options = DurableOptions::default();
    options.checkpoint = CheckpointPolicy {
        events: 4,
        idle: Duration::from_secs(10),
    };
    let mut subscription = subscribe(&f, options.clone()).await;
    assert_eq!(given(&mut subscription).len(), 9);
    for (acknowledged, on_disk) in [(1, 0), (3, 0), (4, 4), (6, 4)] {
        ack(&subscription, acknowledged).await;
        assert_eq!(recorded(&f).await, on_disk);
    }
    // Idle: while it waits for the next event.
    {
        let waiting = subscription.next();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        f.clock.advance(Duration::from_secs(11));
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    assert_eq!(recorded(&f).await, 6);
    ack(&subscription, 7).await;
    assert_eq!(recorded(&f).await, 6);
    subscription.stop().await.unwrap();
    assert_eq!(recorded(&f).await, 7);
    // Dropped, and not stopped: what was acknowledged since comes again.
    let mut subscription = subscribe(&f, options.clone()).await;
    assert_eq!(given(&mut subscription), [8, 9]);
    ack(&subscription, 8).await;
    drop(subscription);
    let mut subscription = subscribe(&f, options).await;
    assert_eq!(given(&mut subscription), [8, 9]);
}

#[tokio::test]
async fn u11_another_life_goes_on_behind_the_last_acknowledgement() {
    let f = fixture().await;
    write(&f, 5).await;
    let mut subscription = subscribe(&f, DurableOptions::default()).await;
    assert_eq!(given(&mut subscription).len(), 5);
    ack(&subscription, 2).await;
    let again = with(f.store.clone(), RuntimeOptions::default()).await;
    // Where a new one would begin does not matter to one that goes on.
    let mut options = DurableOptions::default();
    options.begin = Begin::Now;
    let mut resumed = subscribe(&again, options).await;
    assert!(resumed.confirmation().resumed);
    assert_eq!(resumed.confirmation().after.get(), 2);
    // A consumer may know from its earlier life what it has done beyond.
    ack(&resumed, 4).await;
    assert_eq!(given(&mut resumed), [5]);
    let beyond = resumed.acknowledge(GlobalPosition::new(6)).await;
    assert!(matches!(beyond, Err(SubscribeError::BeyondHead { .. })));
}

#[tokio::test]
async fn u12_a_subscription_that_was_forgotten_begins_anew() {
    let f = fixture().await;
    write(&f, 2).await;
    let subscription = subscribe(&f, DurableOptions::default()).await;
    ack(&subscription, 2).await;
    subscription.stop().await.unwrap();
    f.runtime.forget_subscription(NAME).await.unwrap();
    let facts = f.store.facts(FactQuery::all(FactKind::CURSOR)).await;
    assert_eq!(facts.unwrap(), []);
    let unknown = f.runtime.forget_subscription(NAME).await;
    assert!(matches!(unknown, Err(SubscribeError::Unknown(_))));
    let mut subscription = subscribe(&f, DurableOptions::default()).await;
    assert!(!subscription.confirmation().resumed);
    assert_eq!(given(&mut subscription), [1, 2]);
}

#[tokio::test]
async fn u6_an_acknowledgement_that_the_log_does_not_take_is_an_error_and_goes_with_the_next() {
    let f = with(MemoryStore::new(), RuntimeOptions::default()).await;
    write(&f, 3).await;
    let mut subscription = subscribe(&f, DurableOptions::default()).await;
    assert_eq!(given(&mut subscription), [1, 2, 3]);
    f.store.faults().fail_append(AppendFault::Overloaded);
    let refused = subscription.acknowledge(GlobalPosition::new(2)).await;
    assert!(
        matches!(refused, Err(SubscribeError::Append(_))),
        "{refused:?}"
    );
    assert_eq!(recorded(&f).await, 0);
    // It was acknowledged all the same: the next acknowledgement says so, even of less.
    ack(&subscription, 1).await;
    assert_eq!(recorded(&f).await, 2);
}

#[tokio::test]
async fn u6_an_acknowledgement_is_recorded_in_time_while_others_write_without_end() {
    let f = fixture().await;
    write(&f, 1).await;
    let mut options = DurableOptions::default();
    options.filter.stream = Some(stream("a"));
    options.checkpoint.events = 100;
    let mut subscription = subscribe(&f, options).await;
    assert_eq!(given(&mut subscription), [1]);
    ack(&subscription, 1).await;
    assert_eq!(recorded(&f).await, 0);
    // Events that the filter keeps out come more often than the subscription is ever idle.
    for _ in 0..5 {
        f.send("b", Command::Add(1)).await.unwrap();
        f.clock.advance(Duration::from_millis(300));
        assert!(given(&mut subscription).is_empty());
    }
    assert!(recorded(&f).await >= 1);
}

#[tokio::test]
async fn u6_events_are_given_though_the_log_takes_no_cursor() {
    let f = fixture().await;
    write(&f, 4).await;
    let mut options = DurableOptions::default();
    options.unacknowledged_max = 2;
    options.checkpoint.events = 100;
    let mut subscription = subscribe(&f, options).await;
    assert_eq!(given(&mut subscription), [1, 2]);
    ack(&subscription, 2).await;
    f.store.faults().fail_append(AppendFault::FailedNotWritten);
    f.send("a", Command::Add(1)).await.unwrap_err();
    f.clock.advance(Duration::from_secs(5));
    assert_eq!(given(&mut subscription), [3, 4]);
    assert!(
        subscription.stop().await.is_err(),
        "and that it was not recorded is said"
    );
}

#[tokio::test]
async fn a_subscription_ends_when_the_runtime_has_stopped() {
    let f = fixture().await;
    write(&f, 1).await;
    let mut durable = subscribe(&f, DurableOptions::default()).await;
    let mut plain = f.runtime.subscribe(Default::default());
    assert_eq!(plain.next().await.unwrap().commits.len(), 1);
    f.runtime.stop(Default::default()).await;
    // What there is comes first.
    assert_eq!(durable.next().await.unwrap().last().get(), 1);
    assert!(matches!(durable.next().await, Err(SubscribeError::Read(_))));
    assert!(plain.next().await.is_err());
}

//! D1: a refusal denies no earlier sending whose outcome it does not know.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::Tenant;
use chronicler_runtime::{
    Deadline, DispatchError, ManualClock, RuntimeBuilder, RuntimeOptions, SendError, SendOptions,
    StopOptions,
};
use chronicler_store::memory::{AppendFault, ReadFault};
use chronicler_store::{MemoryStore, Outcome};

use crate::fixture::{
    Command, Counter, Fixture, Negative, Sent, command_id, id, settle, stream, with,
};

/// A counter that has carried out one command, under an id that is given back.
async fn paid(options: RuntimeOptions) -> (Fixture, SendOptions) {
    let f = with(MemoryStore::new(), options).await;
    let once = command_id(&f, "x");
    f.send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    (f, once)
}

/// Waits for an answer, turning the clock.
async fn turning(f: &Fixture, sent: tokio::task::JoinHandle<Sent>) -> Sent {
    while !sent.is_finished() {
        settle().await;
        f.clock.advance(Duration::from_millis(50));
    }
    sent.await.unwrap()
}

/// Sends the paid command again, and one without an id; both are refused.
async fn ask_again(f: &Fixture, once: SendOptions) -> [SendError<Negative>; 2] {
    let again = f.spawn_with("a", Command::Add(5), once);
    let other = f.spawn("a", Command::Add(1));
    [
        turning(f, again).await.unwrap_err(),
        turning(f, other).await.unwrap_err(),
    ]
}

fn reason<R>(error: &SendError<R>) -> &DispatchError {
    match error {
        SendError::Failed(error) => error.reason(),
        SendError::Rejected(_) => panic!("the domain was not asked"),
    }
}

/// Of the one with an id nobody knows; the one without was not applied. Both were refused for the same reason.
fn denies_nothing<R: std::fmt::Display>(
    [again, other]: [SendError<R>; 2],
    is_expected: impl Fn(&DispatchError) -> bool,
) {
    for error in [&again, &other] {
        assert!(is_expected(reason(error)), "{error}");
    }
    assert_eq!(again.outcome(), Outcome::Unknown, "{again}");
    assert_eq!(other.outcome(), Outcome::NotApplied, "{other}");
    assert_eq!(again.is_retryable(), other.is_retryable());
    let is_unseen = |error| {
        matches!(
            error,
            SendError::Failed(DispatchError::RefusedUnseen { .. })
        )
    };
    assert!(is_unseen(again) && !is_unseen(other));
}

#[tokio::test]
async fn d1_a_refusal_at_the_door_denies_no_earlier_sending() {
    let mut options = RuntimeOptions::default();
    options.in_flight_max = 1;
    let (f, once) = paid(options).await;
    f.store.faults().hold();
    let under_way = f.spawn("b", Command::Add(1));
    settle().await;
    let refused = ask_again(&f, once.clone()).await;
    denies_nothing(refused, |error| {
        matches!(error, DispatchError::Overloaded { .. })
    });
    f.store.faults().release();
    under_way.await.unwrap().unwrap();
    assert!(
        f.send_with("a", Command::Add(5), once)
            .await
            .unwrap()
            .duplicate
    );

    // Too many wait for the one instance.
    let mut options = RuntimeOptions::default();
    (options.inbox_max, options.pipeline_max) = (1, 1);
    let (f, once) = paid(options).await;
    f.store.faults().hold();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(f.spawn("a", Command::Add(1)));
        settle().await;
    }
    let refused = ask_again(&f, once).await;
    denies_nothing(refused, |error| {
        matches!(error, DispatchError::Overloaded { .. })
    });
    f.store.faults().release();
    for sent in waiting {
        sent.await.unwrap().unwrap();
    }

    let (f, once) = paid(RuntimeOptions::default()).await;
    f.runtime.stop(StopOptions::default()).await;
    let refused = ask_again(&f, once).await;
    denies_nothing(refused, |error| matches!(error, DispatchError::Stopped));
}

#[tokio::test]
async fn d1_an_instance_that_cannot_be_recovered_denies_no_earlier_sending() {
    for (fault, is_for_good) in [(ReadFault::Io, false), (ReadFault::Damaged, true)] {
        let (f, once) = paid(RuntimeOptions::default()).await;
        f.runtime.stop(StopOptions::default()).await;
        let f = with(f.store, RuntimeOptions::default()).await;
        f.store.faults().fail_reads_of(&stream("a"), Some(fault));
        let refused = ask_again(&f, once.clone()).await;
        denies_nothing(refused, |error| match error {
            DispatchError::Recovery { .. } => !is_for_good,
            DispatchError::Quarantined { .. } => is_for_good,
            _ => false,
        });
        f.store.faults().fail_reads_of(&stream("a"), None);
        f.runtime.release(&stream("a")).await.unwrap();
        let again = f.spawn_with("a", Command::Add(5), once);
        assert!(turning(&f, again).await.unwrap().duplicate);
        assert_eq!(f.total("a").await, 5);
    }
}

#[tokio::test]
async fn d1_an_aggregate_that_is_not_registered_denies_no_earlier_sending() {
    let (f, once) = paid(RuntimeOptions::default()).await;
    let without = RuntimeBuilder::new(Arc::new(f.store.clone()))
        .clock(Arc::new(ManualClock::default()))
        .build()
        .await
        .unwrap();
    let (tenant, account) = (Tenant::default(), id("a"));
    let mut refused = Vec::new();
    for options in [once, SendOptions::default()] {
        let sent = without.send::<Counter>(&tenant, &account, Command::Add(5), options);
        refused.push(sent.await.unwrap_err());
    }
    let refused = refused.try_into().expect("two");
    denies_nothing(refused, |error| {
        matches!(error, DispatchError::NotRegistered { .. })
    });
}

#[tokio::test]
async fn d1_a_command_that_comes_too_late_is_known_by_its_id_all_the_same() {
    let mut options = RuntimeOptions::default();
    options.pipeline_max = 1;
    let (f, once) = paid(options).await;
    f.store.faults().hold();
    let before = [f.spawn("a", Command::Add(1)), f.spawn("a", Command::Add(1))];
    settle().await;
    let late = SendOptions {
        deadline: Deadline::Within(Duration::from_secs(5)),
        ..once
    };
    let late = f.spawn_with("a", Command::Add(5), late);
    settle().await;
    f.clock.advance(Duration::from_secs(6));
    // Whoever is first, its sender's clock or its actor: nobody says that it was not applied.
    f.store.faults().release();
    match late.await.unwrap() {
        Ok(receipt) => assert!(receipt.duplicate),
        Err(error) => assert_eq!(error.outcome(), Outcome::Unknown, "{error}"),
    }
    for sent in before {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(f.total("a").await, 7);
}

#[tokio::test]
async fn d1_a_log_that_has_stopped_denies_nothing_that_it_may_have_written() {
    let f = with(MemoryStore::new(), RuntimeOptions::default()).await;
    f.send("a", Command::Add(1)).await.unwrap();
    let once = command_id(&f, "x");
    f.store.faults().fail_append(AppendFault::FailedWritten);
    let first = f.send_with("a", Command::Add(5), once.clone()).await;
    assert_eq!(first.unwrap_err().outcome(), Outcome::Unknown);
    // The log as it is read now does not have it, and has it when it is opened again.
    for command in [Command::Add(5), Command::Nothing, Command::Add(-9)] {
        let again = f.send_with("a", command.clone(), once.clone()).await;
        let error = again.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{command:?}: {error}");
        let other = f.send("a", Command::Add(1)).await.unwrap_err();
        assert_eq!(other.outcome(), Outcome::NotApplied, "{other}");
    }
    let again = f.send_with("a", Command::PanicInDecide, once.clone()).await;
    assert_eq!(again.unwrap_err().outcome(), Outcome::Unknown);
    let f = with(
        f.store.faults().survivor().as_ref().clone(),
        RuntimeOptions::default(),
    )
    .await;
    assert!(
        f.send_with("a", Command::Add(5), once)
            .await
            .unwrap()
            .duplicate
    );
}

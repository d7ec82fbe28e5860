//! Killed, stopped and started again.

use std::time::Duration;

use chronicler_domain::{GlobalPosition, Tenant};
use chronicler_runtime::{ManualClock, SendOptions, StopOptions};
use chronicler_sagas::{Ending, SagaStatus};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{Direction, Filter, MemoryStore, read_all_events};
use futures::FutureExt;

use crate::fixture::{compensated, fixture, id, over, settle};
use crate::shop::{Gateway, Order, OrderCommand, Script, Status};

#[tokio::test]
async fn m28_m44_a_saga_in_flight_is_taken_up_after_a_restart_with_the_same_state() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    let before = f.view("o").await;
    let f = f.restart().await;
    let after = f.view("o").await;
    assert_eq!(
        (after.state, after.status),
        (before.state, SagaStatus::Running)
    );
    assert_eq!(after.timers, before.timers);
    assert_eq!(
        f.gateway.inner.lock().calls,
        2,
        "the open effect was tried again"
    );
    f.gateway.inner.lock().script = Script::Honest;
    let f = f.restart().await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.charges("o"), (500, 0));
}

#[tokio::test]
async fn m36_a_timer_that_was_due_while_nobody_ran_fires_after_the_start_once() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    f.sagas.stop().await;
    f.runtime.stop(StopOptions::default()).await;
    f.clock.advance(Duration::from_secs(5_000));
    let f = over(f.store, f.gateway, f.clock).await;
    settle().await;
    // The call that was open at the end is asked for its outcome once more, and that is waited for.
    let waits = SagaStatus::Compensating {
        reason: "time-out".to_owned(),
    };
    assert_eq!(f.status("o").await, waits);
    f.advance(31).await;
    assert_eq!(f.status("o").await, compensated("time-out"));
    assert_eq!(f.charges("o"), (0, 1));
}

#[tokio::test]
async fn m65_backoff_outlives_a_restart() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.place("o", 3).await;
    let SagaStatus::Retrying { attempt, next, .. } = f.status("o").await else {
        panic!("it should be retrying")
    };
    let f = f.restart().await;
    let again = f.status("o").await;
    let expected = SagaStatus::Retrying {
        key: "charge".into(),
        attempt,
        next,
    };
    assert_eq!(again, expected, "no attempt before its time");
}

/// How many effects the sagas in a store decided on.
async fn decisions(store: &MemoryStore) -> usize {
    let filter = Filter {
        event_types: vec!["$Decided".into()],
        ..Filter::default()
    };
    let (first, last) = (GlobalPosition::new(1), GlobalPosition::MAX);
    let found = read_all_events(store, first, last, filter, usize::MAX, Direction::Forward);
    found.await.unwrap().len()
}

/// Runs an order until it is over, or the store dies; then again over what survived, until it is over.
async fn crash_at(script: Script, point: CrashPoint) -> bool {
    let store = MemoryStore::new();
    let (gateway, clock) = (Gateway::default(), ManualClock::default());
    gateway.inner.lock().script = script;
    let f = over(store.clone(), gateway.clone(), clock.clone()).await;
    store.faults().crash_at(point);
    let place = OrderCommand::Place {
        units: 3,
        cents: 500,
    };
    let (tenant, name) = (Tenant::default(), id("o"));
    let placed = f
        .runtime
        .send::<Order>(&tenant, &name, place.clone(), SendOptions::default());
    // Handed over; whoever sent it does not live to see the answer.
    drop(placed.now_or_never());
    for _ in 0..6 {
        settle().await;
        clock.advance(Duration::from_secs(300));
    }
    settle().await;
    let died = store.faults().is_dead();
    let survivor = MemoryStore::clone(&store.faults().survivor());
    // The charge is the second thing that it decides.
    let (charged, decided) = (f.charges("o").0, decisions(&survivor).await);
    assert!(
        charged == 0 || decided >= 2,
        "{point:?}: charged, and not decided"
    );
    let f = over(survivor, gateway, clock.clone()).await;
    settle().await;
    // A command whose answer was lost is sent again; the order itself says no to a second one.
    let again = f
        .runtime
        .send::<Order>(&tenant, &name, place, SendOptions::default())
        .await;
    drop(again);
    for _ in 0..8 {
        settle().await;
        clock.advance(Duration::from_secs(300));
    }
    settle().await;
    let status = f.status("o").await;
    let (charged, refunded) = f.charges("o");
    match &status {
        SagaStatus::Ended {
            how: Ending::Completed,
        } => {
            assert_eq!((charged, refunded), (500, 0), "{point:?}");
            assert_eq!(f.stock().await.reserved["o"], 3, "{point:?}");
            assert_eq!(
                f.order_status("o").await,
                Some(Status::Confirmed),
                "{point:?}"
            );
        }
        SagaStatus::Ended {
            how: Ending::Compensated { .. },
        } => {
            assert!(
                charged == 0 || (charged, refunded) == (500, 1),
                "{point:?}: {charged}"
            );
            assert!(refunded <= 1, "{point:?}");
            assert!(f.stock().await.reserved.is_empty(), "{point:?}");
            assert_eq!(
                f.order_status("o").await,
                Some(Status::Rejected),
                "{point:?}"
            );
        }
        other => panic!("{point:?}: it should be over, and is {other:?}"),
    }
    died
}

#[tokio::test]
async fn m09_killed_at_every_write_each_effect_happens_once() {
    for script in [Script::Honest, Script::Declines, Script::LosesReplies] {
        for durable in [false, true] {
            let mut write = 1;
            while crash_at(script, CrashPoint { write, durable }).await {
                write += 1;
            }
            assert!(write > 6, "{script:?}: only {write} writes were met");
        }
    }
}

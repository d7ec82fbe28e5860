//! Waiting for a position: every way it can end.

use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, FailurePolicy, ProjectionOptions, ProjectionsBuilder, WaitError,
};
use chronicler_runtime::Clock;

use crate::world::{BalanceRows, Balances, Trap, World, at_once, moved};

#[tokio::test]
async fn p24_already_met_and_met() {
    let world = World::new().await;
    let first = world.deposit("alice", 1).await;
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = world.start(builder).await;
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.at_least(first).await.unwrap().cents["alice"], 1);
    assert_eq!(
        view.at_least(GlobalPosition::ZERO)
            .await
            .unwrap()
            .position(),
        first
    );
    for cents in 1..100 {
        let position = world.deposit("bob", 1).await;
        assert_eq!(view.at_least(position).await.unwrap().cents["bob"], cents);
    }
}

#[tokio::test]
async fn p24_a_position_beyond_the_log_is_an_error_at_once() {
    let world = World::new().await;
    let head = world.deposit("alice", 1).await;
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = world.start(builder).await;
    let view = projections.view::<Balances>().unwrap();
    let error = view.at_least(head.next()).await.unwrap_err();
    let WaitError::BeyondHead {
        position,
        head: found,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((position, found), (head.next(), head));
}

#[tokio::test]
async fn p24_a_deadline_ends_the_wait_by_the_clock_of_the_runtime() {
    let world = World::new().await;
    let position = world.send("alice", moved("bob", 1)).await;
    // The view cannot get past the first event for as long as the clock stands still.
    let view = Balances {
        trap: Trap::new(1, 1),
        ..Balances::default()
    };
    let options = ProjectionOptions::new().failure(FailurePolicy::new(AfterRetries::Stop));
    let projections = ProjectionsBuilder::new()
        .memory_with(view, options)
        .start_without_waiting(&world.runtime)
        .unwrap();
    let retrying = || projections.info("balances").unwrap().status;
    world
        .until(|| format!("{:?}", retrying()).starts_with("Retrying"))
        .await;
    let view = projections.view::<Balances>().unwrap();
    let within = Duration::from_millis(20);
    let (waited, ()) = tokio::join!(view.at_least_within(position, within), async {
        world
            .until(|| projections.info("balances").unwrap().waiting == 1)
            .await;
        // What the wall clock is set to has nothing to do with it.
        let hour = Duration::from_secs(3_600);
        world.clock.set(world.clock.now().plus(hour));
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(projections.info("balances").unwrap().waiting, 1);
        world.clock.set(world.clock.now().minus(2 * hour));
        world.clock.advance(within);
    });
    let error = waited.unwrap_err();
    assert!(matches!(&error, WaitError::TimedOut { waited, .. } if *waited == within));
    assert!(error.is_retryable());
    assert_eq!(projections.info("balances").unwrap().waiting, 0);
    // And it goes on when it is its turn.
    world
        .turn_until(|| projections.info("balances").unwrap().lag_events == 0)
        .await;
    assert_eq!(view.at_least(position).await.unwrap().cents["bob"], 1);
}

#[tokio::test]
async fn p24_a_projection_that_is_stopped_or_fails_ends_the_waits() {
    let world = World::new().await;
    let builder = ProjectionsBuilder::new()
        .memory_with(
            Balances {
                trap: Trap::new(2, 9),
                ..Balances::default()
            },
            at_once(AfterRetries::Stop),
        )
        .table::<BalanceRows>();
    let projections = world.start(builder).await;
    let first = world.deposit("alice", 1).await;
    let view = projections.view::<Balances>().unwrap();
    view.at_least(first).await.unwrap();
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(first).await.unwrap();
    assert!(projections.stop_one("balance_rows").await);
    let second = world.send("alice", moved("bob", 1)).await;

    let error = table.at_least(second).await.map(drop).unwrap_err();
    let WaitError::Stopped { published, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(published, first);
    // What it has shown it still shows.
    assert_eq!(table.get("alice").await.unwrap().unwrap().cents, 1);
    table.at_least(first).await.unwrap();

    let error = view.at_least(second).await.unwrap_err();
    let WaitError::Failed {
        published, reason, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*published, first);
    assert!(reason.contains("trapped at 2"), "{reason}");
    assert!(!error.is_retryable());
    assert_eq!(view.read().unwrap().cents["alice"], 1);
}

//! Rebuilding beside the running view: the same, never torn, never back in time, and cancellable.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, Handlers, Projection, Projections, ProjectionsBuilder, RebuildError,
};
use chronicler_store::ViewStore;

use crate::world::{Account, AccountEvent, BalanceRows, Balances, Trap, World, at_once, moved};

fn both() -> ProjectionsBuilder {
    ProjectionsBuilder::new()
        .memory(Balances::default())
        .table::<BalanceRows>()
}

async fn total(projections: &Projections) -> (i64, u64) {
    let table = projections.table::<BalanceRows>().unwrap();
    let row = table.get("total").await.unwrap().unwrap();
    (row.cents, row.events)
}

async fn generations(world: &World) -> Vec<u64> {
    let found = world.store.view_generations("balance_rows").await.unwrap();
    found.iter().map(|(view, _)| view.generation).collect()
}

#[tokio::test]
async fn p10_a_rebuild_gives_the_same_and_twice_the_same_and_goes_on() {
    let world = World::new().await;
    let projections = world.start(both()).await;
    let mut last = world.deposit("alice", 1).await;
    for round in 1..20 {
        last = world.deposit("alice", round).await;
    }
    let view = projections.view::<Balances>().unwrap();
    let before = view.at_least(last).await.unwrap();
    for generation in 2..4 {
        for name in ["balances", "balance_rows"] {
            let report = projections.rebuild(name).await.unwrap();
            assert_eq!(report.position, last);
        }
        assert_eq!(view.read().unwrap().cents, before.cents);
        assert_eq!(total(&projections).await, (191, 20));
        assert_eq!(generations(&world).await, [generation]);
    }
    last = world.deposit("bob", 5).await;
    assert_eq!(view.at_least(last).await.unwrap().cents["bob"], 5);
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
    assert_eq!(total(&projections).await, (196, 21));
    // What was rebuilt is what the next start finds.
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(both()).await;
    assert_eq!(total(&projections).await, (196, 21));
    assert_eq!(generations(&world).await, [3]);
}

/// Adds up with a factor from outside: what a replay cannot produce is what it added before.
#[derive(Clone)]
struct Scaled {
    cents: i64,
    factor: Arc<AtomicI64>,
}

impl Projection for Scaled {
    const NAME: &'static str = "scaled";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, _| {
            if let AccountEvent::Deposited { cents } = event {
                view.cents += cents * view.factor.load(Ordering::Acquire);
            }
        });
    }
}

#[tokio::test]
async fn p10_what_a_replay_cannot_produce_is_gone_and_others_are_untouched() {
    let world = World::new().await;
    let factor = Arc::new(AtomicI64::new(10));
    let scaled = Scaled {
        cents: 0,
        factor: factor.clone(),
    };
    let projections = world.start(both().memory(scaled)).await;
    let last = world.deposit("alice", 1).await;
    let view = projections.view::<Scaled>().unwrap();
    let other = projections.view::<Balances>().unwrap();
    assert_eq!(view.at_least(last).await.unwrap().cents, 10);
    let before = other.at_least(last).await.unwrap();
    factor.store(1, Ordering::Release);
    projections.rebuild("scaled").await.unwrap();
    assert_eq!(view.read().unwrap().cents, 1);
    let now = other.read().unwrap();
    assert_eq!(
        (&now.events, now.position()),
        (&before.events, before.position())
    );
    assert_eq!(projections.info("balances").unwrap().folded_events, 1);
}

#[tokio::test]
async fn p10_events_that_arrive_during_a_rebuild_are_in_it_and_no_reader_goes_back() {
    let world = World::new().await;
    let projections = world.start(both()).await;
    let view = projections.view::<Balances>().unwrap();
    for _ in 0..200 {
        world.deposit("alice", 1).await;
    }
    let writing = async {
        let mut last = world.deposit("alice", 1).await;
        for _ in 0..300 {
            last = world.deposit("alice", 1).await;
        }
        last
    };
    let reading = async {
        let mut seen = view.read().unwrap().position();
        while seen.get() < 501 {
            let now = view.read().unwrap();
            assert!(now.position() >= seen);
            // Every event is one cent, so a torn or double fold shows.
            assert_eq!(
                now.cents.get("alice").copied().unwrap_or(0) as u64,
                now.position().get()
            );
            seen = now.position();
            tokio::task::yield_now().await;
        }
    };
    let rebuilding = async {
        for _ in 0..5 {
            projections.rebuild("balances").await.unwrap();
            projections.rebuild("balance_rows").await.unwrap();
        }
    };
    let (last, (), ()) = tokio::join!(writing, reading, rebuilding);
    let now = view.at_least(last).await.unwrap();
    assert_eq!(now.cents["alice"], 501);
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
    assert_eq!(total(&projections).await, (501, 501));
}

/// A rebuild that cannot end, because its handler fails for as long as the clock stands still.
async fn stuck(world: &World) -> (Projections, Trap) {
    let trap = Trap::new(2, 0);
    let view = Balances {
        trap: trap.clone(),
        ..Balances::default()
    };
    world.deposit("alice", 10).await;
    world.send("alice", moved("bob", 1)).await;
    let builder = ProjectionsBuilder::new()
        .memory(view)
        .table::<BalanceRows>();
    let projections = world.start(builder).await;
    trap.times.store(u32::MAX, Ordering::Release);
    (projections, trap)
}

#[tokio::test]
async fn p10_one_rebuild_at_a_time_and_a_stop_ends_it() {
    let world = World::new().await;
    let (projections, trap) = stuck(&world).await;
    let first = projections.rebuild("balances");
    let second = async {
        let sprung = || trap.sprung.load(Ordering::Acquire) > 0;
        world.until(sprung).await;
        let second = projections.rebuild("balances").await.unwrap_err();
        assert!(matches!(second, RebuildError::AlreadyRunning { .. }));
        projections.stop_one("balances").await;
    };
    let (first, ()) = tokio::join!(first, second);
    assert!(matches!(first, Err(RebuildError::NotRunning { .. })));
    let view = projections.view::<Balances>().unwrap().read().unwrap();
    assert_eq!((view.cents["alice"], view.cents["bob"]), (9, 1));
    let again = projections.rebuild("balances").await;
    assert!(matches!(again, Err(RebuildError::NotRunning { .. })));
    let unknown = projections.rebuild("nobody").await;
    assert!(matches!(unknown, Err(RebuildError::Unknown { .. })));
}

#[tokio::test]
async fn p10_a_cancelled_rebuild_leaves_the_view_and_nothing_in_the_store() {
    let world = World::new().await;
    let projections = world.start(both()).await;
    for _ in 0..50 {
        world.deposit("alice", 1).await;
    }
    for name in ["balances", "balance_rows"] {
        let cancelling = async {
            while !projections.cancel_rebuild(name) {
                tokio::task::yield_now().await;
            }
        };
        let (rebuilt, ()) = tokio::join!(projections.rebuild(name), cancelling);
        assert!(
            matches!(rebuilt, Err(RebuildError::Cancelled { .. })),
            "{rebuilt:?}"
        );
        assert!(!projections.cancel_rebuild(name));
        assert_eq!(projections.info(name).unwrap().rebuilding, None);
    }
    assert_eq!(generations(&world).await, [1]);
    let last = world.deposit("alice", 1).await;
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.at_least(last).await.unwrap().cents["alice"], 51);
}

#[tokio::test]
async fn p10_a_rebuild_that_fails_leaves_the_view_as_it_was() {
    let world = World::new().await;
    let trap = Trap::new(2, 0);
    let view = Balances {
        trap: trap.clone(),
        ..Balances::default()
    };
    let builder = ProjectionsBuilder::new().memory_with(view, at_once(AfterRetries::Stop));
    let projections = world.start(builder).await;
    world.deposit("alice", 10).await;
    let last = world.send("alice", moved("bob", 1)).await;
    let view = projections.view::<Balances>().unwrap();
    view.at_least(last).await.unwrap();
    trap.times.store(1, Ordering::Release);
    let failed = projections.rebuild("balances").await.unwrap_err();
    assert!(failed.to_string().contains("trapped at 2"), "{failed}");
    let last = world.deposit("bob", 1).await;
    let now = view.at_least(last).await.unwrap();
    assert_eq!((now.cents["alice"], now.cents["bob"]), (9, 2));
    projections.rebuild("balances").await.unwrap();
}

#[tokio::test]
async fn p10_a_rebuild_that_can_take_no_event_does_not_replace_a_view_that_has() {
    let world = World::new().await;
    let trap = Trap::new(1, 0);
    let view = Balances {
        trap: trap.clone(),
        ..Balances::default()
    };
    let builder = ProjectionsBuilder::new().memory_with(view, at_once(AfterRetries::Park));
    let projections = world.start(builder).await;
    let last = world.send("alice", moved("bob", 1)).await;
    let view = projections.view::<Balances>().unwrap();
    view.at_least(last).await.unwrap();
    trap.times.store(1, Ordering::Release);
    let failed = projections.rebuild("balances").await.unwrap_err();
    assert!(failed.to_string().contains("trapped at 1"), "{failed}");
    assert_eq!(view.read().unwrap().cents["bob"], 1);
    let info = projections.info("balances").unwrap();
    assert_eq!((info.parked_events, info.rebuilding), (0, None));
    projections.rebuild("balances").await.unwrap();
    assert_eq!(view.read().unwrap().cents["bob"], 1);
    // One that takes something takes over, with what it has set aside.
    let last = world.deposit("carol", 1).await;
    view.at_least(last).await.unwrap();
    trap.times.store(1, Ordering::Release);
    projections.rebuild("balances").await.unwrap();
    assert_eq!(projections.info("balances").unwrap().parked_events, 1);
}

#[tokio::test]
async fn p15_what_an_interrupted_rebuild_left_is_removed_at_the_next_start() {
    let world = World::new().await;
    world.deposit("alice", 1).await;
    let projections = world.start(both()).await;
    projections.stop().await;
    let found = world.store.view_generations("balance_rows").await.unwrap();
    let (mut view, checkpoint) = found[0].clone();
    view.generation = 7;
    world
        .store
        .write_view(&view, Vec::new(), checkpoint)
        .await
        .unwrap();
    assert_eq!(generations(&world).await, [1, 7]);
    let world = World::over(world.store.clone()).await;
    let projections = world.start(both()).await;
    assert_eq!(generations(&world).await, [1]);
    assert_eq!(total(&projections).await, (1, 1));
}

#[tokio::test]
async fn p10_a_rebuild_over_an_empty_log_ends() {
    let world = World::new().await;
    let builder = ProjectionsBuilder::new()
        .memory(Balances::default())
        .table::<BalanceRows>();
    let projections = world.start(builder).await;
    for name in ["balances", "balance_rows"] {
        let rebuilt = projections.rebuild(name).await.unwrap();
        assert_eq!(rebuilt.position, GlobalPosition::ZERO);
    }
    let last = world.deposit("alice", 1).await;
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
}

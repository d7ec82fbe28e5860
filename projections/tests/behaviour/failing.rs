//! Events that a handler cannot take: retried, parked with those behind them, skipped, or the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, FailurePolicy, ProjectionOptions, ProjectionStatus, Projections,
    ProjectionsBuilder, Selection, SetAside, UNHEALTHY_AFTER, ViewError,
};
use chronicler_runtime::Clock;

use crate::taking_up::set_aside;
use crate::world::{AccountEvent, BalanceRows, Balances, Trap, World, at_once, moved};

fn trapped(trap: &Trap) -> Balances {
    Balances {
        trap: trap.clone(),
        ..Balances::default()
    }
}

async fn causes(projections: &Projections, name: &str) -> Vec<(u64, SetAside, u32)> {
    let parked = set_aside(projections, name).await;
    let causes = parked
        .iter()
        .map(|event| (event.position.get(), event.cause, event.tries));
    causes.collect()
}

#[tokio::test]
async fn p1_a_retry_that_works_leaves_no_trace() {
    let world = World::new().await;
    let trap = Trap::new(2, 2);
    let options = ProjectionOptions::new()
        .failure(FailurePolicy::default().backoff(Duration::from_secs(1), Duration::from_secs(9)));
    let builder = ProjectionsBuilder::new().memory_with(trapped(&trap), options);
    let projections = world.start(builder).await;
    let view = projections.view::<Balances>().unwrap();
    world.deposit("alice", 10).await;
    world.send("alice", moved("bob", 4)).await;
    world.deposit("alice", 7).await;
    let last = world.deposit("carol", 1).await;
    // The clock stands still, and whoever has nothing to do with it is shown. Its own key waits, and nobody sees what the
    // panic left behind.
    let now = view.at_least(last).await.unwrap();
    assert_eq!((now.cents["alice"], now.cents["carol"]), (10, 1));
    let status = || projections.info("balances").unwrap().status;
    let retrying = |tries| move |status| matches!(status, ProjectionStatus::Retrying { tries: n, .. } if n == tries);
    let (first, second) = (retrying(1), retrying(2));
    world.until(|| first(status())).await;
    let behind = chronicler_domain::GlobalPosition::new(2);
    assert_eq!(
        causes(&projections, "balances").await,
        [
            (2, SetAside::Retrying, 1),
            (3, SetAside::Held { behind }, 0)
        ]
    );
    // Chance makes a wait shorter by up to half.
    world.clock.advance(Duration::from_millis(499));
    tokio::task::yield_now().await;
    assert!(first(status()));
    world.clock.advance(Duration::from_millis(501));
    world.until(|| second(status())).await;
    world.clock.advance(Duration::from_secs(2));
    let info = || projections.info("balances").unwrap();
    world.until(|| info().parked_events == 0).await;
    let now = view.read().unwrap();
    let events: Vec<_> = now.events.iter().map(|at| at.get()).collect();
    assert_eq!(events, [1, 4, 2, 3], "of each key in order");
    assert_eq!((now.cents["alice"], now.cents["bob"]), (13, 4));
    assert_eq!(now.position(), last);
    assert_eq!(trap.sprung.load(Ordering::Acquire), 2);
    assert_eq!(status(), ProjectionStatus::Running);
    assert_eq!((info().folded_events, info().restarts), (4, 0));
    assert_eq!(causes(&projections, "balances").await, []);
}

#[tokio::test]
async fn p9_an_event_that_is_tried_again_counts_once() {
    let world = World::new().await;
    let trap = Trap::new(3, 3);
    let builder = ProjectionsBuilder::new().memory(trapped(&trap));
    let projections = world.start(builder).await;
    let mut events = vec![AccountEvent::Deposited { cents: 1 }; 2];
    events.extend(moved("bob", 1));
    world.send("alice", events).await;
    let info = || projections.info("balances").unwrap();
    world
        .until(|| matches!(info().status, ProjectionStatus::Retrying { .. }))
        .await;
    let counts = || {
        (
            info().lag_events,
            info().folded_events,
            info().parked_events,
        )
    };
    assert_eq!(counts(), (0, 2, 1));
    world.turn_until(|| info().parked_events == 0).await;
    assert_eq!(counts(), (0, 3, 0));
}

#[tokio::test]
async fn p1_skip_leaves_the_event_out_and_takes_the_later_ones() {
    let world = World::new().await;
    let trap = Trap::new(2, u32::MAX);
    let builder =
        || ProjectionsBuilder::new().memory_with(trapped(&trap), at_once(AfterRetries::Skip));
    world.deposit("alice", 10).await;
    world.send("alice", moved("bob", 4)).await;
    world.deposit("alice", 1).await;
    let projections = world.start(builder()).await;
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.read().unwrap().cents["alice"], 11);
    assert!(!view.read().unwrap().cents.contains_key("bob"));
    assert_eq!(
        causes(&projections, "balances").await,
        [(2, SetAside::Skipped, 1)]
    );
    assert_eq!(projections.info("balances").unwrap().skipped_events, 1);
    // It stays out, without being tried again.
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let again = world.start(builder()).await;
    assert_eq!(
        again.view::<Balances>().unwrap().read().unwrap().cents["alice"],
        11
    );
    assert_eq!(trap.sprung.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn p1_retry_then_skip_tries_as_often_as_it_says() {
    let world = World::new().await;
    let trap = Trap::new(1, u32::MAX);
    let options =
        ProjectionOptions::new().failure(FailurePolicy::new(AfterRetries::Skip).retries(4));
    let builder = ProjectionsBuilder::new().memory_with(trapped(&trap), options);
    let projections = world.start(builder).await;
    world.send("alice", moved("bob", 4)).await;
    let info = || projections.info("balances").unwrap();
    world.turn_until(|| info().skipped_events == 1).await;
    assert_eq!(trap.sprung.load(Ordering::Acquire), 5);
    assert_eq!(
        causes(&projections, "balances").await,
        [(1, SetAside::Skipped, 5)]
    );
}

#[tokio::test]
async fn p1_retry_then_stop_fails_the_projection_and_keeps_the_view() {
    let world = World::new().await;
    let trap = Trap::new(2, u32::MAX);
    let options =
        ProjectionOptions::new().failure(FailurePolicy::new(AfterRetries::Stop).retries(1));
    let builder = ProjectionsBuilder::new()
        .memory_with(trapped(&trap), options)
        .table::<BalanceRows>();
    let projections = world.start(builder).await;
    world.deposit("alice", 10).await;
    world.send("alice", moved("bob", 4)).await;
    let last = world.deposit("alice", 1).await;
    let info = || projections.info("balances").unwrap();
    let failed = |status| matches!(status, ProjectionStatus::Failed { .. });
    world.turn_until(|| failed(info().status)).await;
    assert_eq!((info().position.get(), info().lag_events), (1, 2));
    let ProjectionStatus::Failed { reason } = info().status else {
        panic!("it has failed");
    };
    assert!(
        reason.contains("after 2 tries") && reason.contains("trapped at 2"),
        "{reason}"
    );
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.read().unwrap().cents["alice"], 10);
    // Nobody else is touched.
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
    // Mended, it goes on where it was.
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let mended = world.start(builder).await;
    let view = mended.view::<Balances>().unwrap().read().unwrap();
    assert_eq!((view.cents["alice"], view.cents["bob"]), (7, 4));
}

#[tokio::test]
async fn a_projection_that_fails_while_starting_fails_the_start() {
    let world = World::new().await;
    world.send("alice", moved("bob", 4)).await;
    let trap = Trap::new(1, u32::MAX);
    let builder =
        || ProjectionsBuilder::new().memory_with(trapped(&trap), at_once(AfterRetries::Stop));
    let started = builder().start(&world.runtime, |_| {}).await;
    let error = started.unwrap_err().to_string();
    assert!(
        error.contains("balances") && error.contains("trapped at 1"),
        "{error}"
    );
    let projections = builder().start_without_waiting(&world.runtime).unwrap();
    let info = || projections.info("balances").unwrap();
    world
        .until(|| matches!(info().status, ProjectionStatus::Failed { .. }))
        .await;
    let view = projections.view::<Balances>().unwrap();
    assert!(matches!(view.read(), Err(ViewError::Failed { .. })));
}

/// Positions: 1 alice, 2 alice -> trap, 3 bob, 4 alice, 5 bob, 6 alice.
async fn park_in_the_middle(world: &World) {
    world.deposit("alice", 10).await;
    world.send("alice", moved("nobody", 4)).await;
    world.deposit("bob", 1).await;
    world.deposit("alice", 20).await;
    world.deposit("bob", 2).await;
    world.deposit("alice", 30).await;
}

const fn parked_after(tries: u32) -> [(u64, SetAside, u32); 3] {
    let behind = chronicler_domain::GlobalPosition::new(2);
    [
        (2, SetAside::Parked, tries),
        (4, SetAside::Held { behind }, 0),
        (6, SetAside::Held { behind }, 0),
    ]
}

const PARKED: [(u64, SetAside, u32); 3] = parked_after(1);

#[tokio::test]
async fn p14_a_parked_event_holds_back_those_of_its_key_and_no_others() {
    let world = World::new().await;
    park_in_the_middle(&world).await;
    let trap = Trap::new(2, u32::MAX);
    let builder = || {
        ProjectionsBuilder::new()
            .memory_with(trapped(&trap), at_once(AfterRetries::Park))
            .table_with::<BalanceRows>(at_once(AfterRetries::Park))
    };
    let projections = world.start(builder()).await;
    let check = async |projections: &Projections, tries| {
        let view = projections.view::<Balances>().unwrap().read().unwrap();
        assert_eq!((view.cents["alice"], view.cents["bob"]), (10, 3));
        for name in ["balances", "balance_rows"] {
            assert_eq!(causes(projections, name).await, parked_after(tries));
        }
        let table = projections.table::<BalanceRows>().unwrap();
        assert_eq!(table.get("alice").await.unwrap().unwrap().cents, 10);
        assert_eq!(table.get("bob").await.unwrap().unwrap().cents, 3);
        assert_eq!(table.get("total").await.unwrap().unwrap().events, 3);
        assert_eq!(projections.info("balances").unwrap().parked_events, 3);
    };
    check(&projections, 1).await;
    let parked = projections.parked("balance_rows").await.unwrap();
    assert_eq!(
        &*parked[0].reason,
        "the handler refused the event: nobody cannot be paid"
    );
    assert_eq!(&*parked[1].key, "\0account\0alice");
    // Parked survives a restart, which tries it once: the code may have been mended.
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(builder()).await;
    check(&projections, 2).await;
    assert_eq!(trap.sprung.load(Ordering::Acquire), 2);
    // Live events are held back, too.
    let last = world.deposit("alice", 40).await;
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.at_least(last).await.unwrap().cents["alice"], 10);
    assert_eq!(projections.info("balances").unwrap().parked_events, 4);
}

#[tokio::test]
async fn p14_the_key_may_be_wider_than_a_stream() {
    let world = World::new().await;
    park_in_the_middle(&world).await;
    let options = at_once(AfterRetries::Park).order_by(|info| info.category().to_owned());
    let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(options);
    let projections = world.start(builder).await;
    let table = projections.table::<BalanceRows>().unwrap();
    assert_eq!(table.get("bob").await.unwrap(), None);
    assert_eq!(projections.info("balance_rows").unwrap().parked_events, 5);
}

#[tokio::test]
async fn p10_a_rebuild_tries_parked_events_again_and_forgets_those_it_could_fold() {
    let world = World::new().await;
    park_in_the_middle(&world).await;
    let trap = Trap::new(2, 1);
    let builder = ProjectionsBuilder::new()
        .memory_with(trapped(&trap), at_once(AfterRetries::Park))
        .table_with::<BalanceRows>(at_once(AfterRetries::Park));
    let projections = world.start(builder).await;
    projections.rebuild("balances").await.unwrap();
    let view = projections.view::<Balances>().unwrap().read().unwrap();
    assert_eq!((view.cents["alice"], view.cents["nobody"]), (56, 4));
    assert_eq!(causes(&projections, "balances").await, []);
    assert_eq!(projections.info("balances").unwrap().parked_events, 0);
    // The table's handler is as before, so there the same events are set aside.
    projections.rebuild("balance_rows").await.unwrap();
    assert_eq!(causes(&projections, "balance_rows").await, PARKED);
    assert_eq!(projections.info("balance_rows").unwrap().parked_events, 3);
}

#[tokio::test]
async fn an_event_of_an_unknown_type_is_parked_without_retries() {
    use chronicler_domain::{SchemaVersion, StreamId, Timestamp};
    use chronicler_store::codec::CodecId;
    use chronicler_store::{Append, EventLog, Expected, NewEvent};

    let world = World::new().await;
    let event = NewEvent {
        id: None,
        event_type: "FromTheFuture".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::BINCODE,
        payload: Default::default(),
        metadata: Default::default(),
    };
    let stream = StreamId::of("account", "alice").unwrap();
    let append = Append::new(world.runtime.new_id(), Timestamp::EPOCH);
    let append = append.stream(stream, Expected::Any, vec![event]);
    world.store.append(append).await.unwrap();
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = world.start(builder).await;
    assert_eq!(
        causes(&projections, "balances").await,
        [(1, SetAside::Parked, 1)]
    );
    let parked = projections.parked("balances").await.unwrap();
    assert!(parked[0].reason.contains("FromTheFuture"), "{parked:?}");
}

#[tokio::test]
async fn n15_when_as_many_are_parked_as_may_be_nothing_more_is_read_until_there_is_room() {
    // Positions: 1 and 2 cannot be taken, 3 waits for 2, 4 works, 5 fails.
    let world = World::new().await;
    world.send("bob", moved("nobody", 1)).await;
    world.send("alice", moved("nobody", 1)).await;
    let room = |events, then| {
        let options = at_once(then).parked_events_max(events);
        ProjectionsBuilder::new().table_with::<BalanceRows>(options)
    };
    let projections = world.start(room(2, AfterRetries::Park)).await;
    let is_full = |status| matches!(status, ProjectionStatus::Full { .. });
    assert_eq!(projections.info("balance_rows").unwrap().parked_events, 2);
    projections.stop().await;
    for then in [AfterRetries::Stop, AfterRetries::Park] {
        let world = World::over(world.store.faults().survivor()).await;
        world.deposit("alice", 1).await;
        world.deposit("carol", 7).await;
        let last = world.send("dora", moved("nobody", 1)).await;
        // A start does not wait for what cannot come.
        let projections = world.start(room(2, then)).await;
        let info = || projections.info("balance_rows").unwrap();
        assert!(is_full(info().status), "{:?}", info().status);
        let reason = Arc::clone(info().status.reason().unwrap());
        assert!(reason.contains("parked_events_max"), "{reason}");
        assert_eq!((info().position.get(), info().parked_events), (2, 2));
        let table = projections.table::<BalanceRows>().unwrap();
        assert_eq!(table.get("carol").await.unwrap(), None, "it was read");
        world.clock.advance(UNHEALTHY_AFTER);
        let unhealthy = info().unhealthy.unwrap();
        assert_eq!(unhealthy.reason, Some(reason));
        // It goes on by itself once there is room, up to the next event that needs it.
        let bob = Selection::Event(GlobalPosition::new(1));
        let dropped = projections.drop_parked("balance_rows", bob).await.unwrap();
        assert_eq!(dropped, 1);
        world.until(|| is_full(info().status)).await;
        assert_eq!((info().position.get(), info().parked_events), (3, 2));
        // What still fails frees nothing.
        let all = projections
            .retry_parked("balance_rows", Selection::All)
            .await;
        assert_eq!(all.unwrap(), 1);
        assert!(is_full(info().status));
        projections.stop().await;
        // With room for all of them none is missing.
        let world = World::over(world.store.clone()).await;
        let projections = world.start(room(9, AfterRetries::Park)).await;
        let table = projections.table::<BalanceRows>().unwrap();
        table.at_least(last).await.unwrap();
        assert_eq!(causes(&projections, "balance_rows").await.len(), 4);
        assert_eq!(table.get("carol").await.unwrap().unwrap().cents, 7);
        assert_eq!(table.get("alice").await.unwrap(), None);
    }
}

#[tokio::test]
async fn n15_a_view_in_memory_with_no_room_goes_on_when_its_events_work() {
    let world = World::new().await;
    let trap = Trap::new(1, 2);
    let options = at_once(AfterRetries::Park).parked_events_max(1);
    world.send("alice", moved("bob", 4)).await;
    let last = world.deposit("carol", 1).await;
    let builder = ProjectionsBuilder::new().memory_with(trapped(&trap), options);
    let projections = world.start(builder).await;
    let info = || projections.info("balances").unwrap();
    assert!(matches!(info().status, ProjectionStatus::Full { .. }));
    let view = projections.view::<Balances>().unwrap();
    assert!(view.read().unwrap().cents.is_empty());
    trap.times.store(0, Ordering::Release);
    let retried = projections.retry_parked("balances", Selection::All);
    assert_eq!(retried.await.unwrap(), 1);
    view.at_least(last).await.unwrap();
    let cents = view.read().unwrap().cents.clone();
    assert_eq!(
        cents,
        [("alice", -4), ("bob", 4), ("carol", 1)]
            .map(|(name, cents)| (name.to_owned(), cents))
            .into()
    );
    assert_eq!(info().status, ProjectionStatus::Running);
    assert_eq!((info().parked_events, info().unhealthy), (0, None));
}

#[tokio::test]
async fn n12_an_order_key_that_panics_leaves_streams_in_order_and_ends_nothing() {
    let world = World::new().await;
    world.send("bob", moved("nobody", 1)).await;
    world.deposit("bob", 1).await;
    world.deposit("carol", 7).await;
    let options = at_once(AfterRetries::Park).order_by(|_| panic!("no key"));
    let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(options);
    let projections = world.start(builder).await;
    let info = projections.info("balance_rows").unwrap();
    assert_eq!((info.restarts, info.parked_events), (0, 2));
    let table = projections.table::<BalanceRows>().unwrap();
    assert_eq!(table.get("carol").await.unwrap().unwrap().cents, 7);
    assert_eq!(table.get("bob").await.unwrap(), None);
}

#[tokio::test]
async fn n16_lag_is_a_time_and_a_view_that_does_not_move_names_the_event() {
    let world = World::new().await;
    let trap = Trap::new(2, 2);
    let failure = FailurePolicy::new(AfterRetries::Stop)
        .retries(9)
        .backoff(Duration::from_secs(60), Duration::from_secs(60));
    let options = ProjectionOptions::new().failure(failure);
    let builder = ProjectionsBuilder::new().memory_with(trapped(&trap), options);
    let projections = world.start(builder).await;
    let info = || projections.info("balances").unwrap();
    world.deposit("alice", 10).await;
    world.until(|| info().lag_events == 0).await;
    // Nothing to do for an hour is no lag.
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!((info().lag, info().unhealthy), (None, None));
    world.send("alice", moved("bob", 4)).await;
    let last = world.deposit("carol", 1).await;
    world
        .until(|| matches!(info().status, ProjectionStatus::Retrying { .. }))
        .await;
    // Somebody who sets the wall clock, forwards or back, makes nothing stand still or move.
    let date = world.clock.now();
    let hour = Duration::from_secs(3_600);
    for date in [date.plus(hour), date.minus(hour), date] {
        world.clock.set(date);
        assert_eq!(info().unhealthy, None);
    }
    world
        .clock
        .advance(UNHEALTHY_AFTER - Duration::from_secs(1));
    assert_eq!(info().lag, Some(UNHEALTHY_AFTER - Duration::from_secs(1)));
    assert_eq!(info().unhealthy, None);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!((info().lag, info().lag_events), (Some(UNHEALTHY_AFTER), 2));
    let unhealthy = info().unhealthy.unwrap();
    assert_eq!(
        (unhealthy.position.get(), unhealthy.still_for),
        (2, UNHEALTHY_AFTER)
    );
    let said = unhealthy.to_string();
    assert!(
        said.contains("event 2") && said.contains("trapped at 2"),
        "{said}"
    );
    // Nothing after the event is shown, and when it works the view is healthy.
    let view = projections.view::<Balances>().unwrap();
    assert!(!view.read().unwrap().cents.contains_key("carol"));
    world.turn_until(|| info().lag_events == 0).await;
    view.at_least(last).await.unwrap();
    assert_eq!((info().lag, info().unhealthy), (None, None));
    // One that has ended stands in front of what comes after that.
    projections.stop().await;
    world.deposit("carol", 1).await;
    world.clock.advance(UNHEALTHY_AFTER);
    assert_eq!(info().unhealthy.unwrap().position.get(), 4);
}

//! As many events are set aside as may be: when that is, what the reason says, and what makes room.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, Handlers, ParkedError, Projection, ProjectionStatus, ProjectionsBuilder,
    Selection, TableHandlers, TableProjection,
};
use chronicler_store::ViewStore;

use crate::world::{Account, AccountEvent, Balance, BalanceRows, World, at_once, moved};

/// Which events were folded. Before it is mended it cannot take one that moves money.
#[derive(Clone, Default)]
struct Picky {
    folded: Vec<u64>,
    is_mended: bool,
}

impl Projection for Picky {
    const NAME: &'static str = "picky";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, event, info| {
            if !view.is_mended && matches!(event, AccountEvent::Moved { .. }) {
                return Err("money cannot move".into());
            }
            view.folded.push(info.position().get());
            Ok(())
        });
    }
}

/// A view whose events 1, 2 and 3 cannot be taken, of three accounts.
async fn three_fail() -> World {
    let world = World::new().await;
    for account in ["bob", "alice", "dora"] {
        world.send(account, moved("nobody", 1)).await;
    }
    world
}

fn picky(is_mended: bool, events: usize) -> ProjectionsBuilder {
    let options = at_once(AfterRetries::Park).parked_events_max(events);
    let view = Picky {
        is_mended,
        ..Picky::default()
    };
    ProjectionsBuilder::new().memory_with(view, options)
}

#[tokio::test]
async fn n15_an_event_ahead_that_is_left_out_makes_no_room_for_those_before_it() {
    let world = three_fail().await;
    let projections = world.start(picky(false, 9)).await;
    let third = Selection::Event(GlobalPosition::new(3));
    assert_eq!(projections.drop_parked("picky", third).await.unwrap(), 1);
    projections.stop().await;
    // From the beginning again: 3 is left out and lies ahead.
    let world = World::over(world.store.clone()).await;
    let projections = world.start(picky(false, 2)).await;
    let info = || projections.info("picky").unwrap();
    assert!(matches!(info().status, ProjectionStatus::Full { .. }));
    assert_eq!((info().position.get(), info().parked_events), (2, 2));
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(picky(false, 1)).await;
    let info = projections.info("picky").unwrap();
    assert!(matches!(info.status, ProjectionStatus::Full { .. }));
    assert_eq!((info.position.get(), info.parked_events), (1, 1));
}

#[tokio::test]
async fn n15_a_limit_of_nothing_is_reached_by_the_first_event_and_not_before() {
    let world = World::new().await;
    world.deposit("carol", 7).await;
    let projections = world.start(picky(false, 0)).await;
    let info = || projections.info("picky").unwrap();
    let view = projections.view::<Picky>().unwrap();
    assert_eq!(view.read().unwrap().folded, [1]);
    assert_eq!(info().status, ProjectionStatus::Running);
    world.send("bob", moved("nobody", 1)).await;
    world
        .until(|| matches!(info().status, ProjectionStatus::Full { .. }))
        .await;
    assert_eq!(info().parked_events, 1);
}

#[tokio::test]
async fn n15_a_drop_that_would_leave_no_room_is_refused_and_says_what_helps() {
    let world = three_fail().await;
    let projections = world.start(picky(false, 3)).await;
    let info = || projections.info("picky").unwrap();
    let reason = Arc::clone(info().status.reason().unwrap());
    assert!(reason.contains("3 events wait"), "{reason}");
    assert!(reason.contains("drop some"), "{reason}");
    let all = projections.drop_parked("picky", Selection::All).await;
    let refused = all.unwrap_err();
    assert!(matches!(
        &refused,
        ParkedError::NoRoom {
            asked: 3,
            left: 2,
            ..
        }
    ));
    for helps in ["drop at most 2", "retry", "parked_events_max", "rebuild"] {
        assert!(refused.to_string().contains(helps), "{refused}");
    }
    assert_eq!((info().parked_events, info().skipped_events), (3, 0));
    for at in [1, 2] {
        let one = Selection::Event(GlobalPosition::new(at));
        assert_eq!(projections.drop_parked("picky", one).await.unwrap(), 1);
    }
    world
        .until(|| info().status == ProjectionStatus::Running)
        .await;
    let last = projections.drop_parked("picky", Selection::All).await;
    assert!(matches!(last, Err(ParkedError::NoRoom { left: 0, .. })));
    assert_eq!((info().parked_events, info().skipped_events), (1, 2));
    projections.stop().await;
    // Where an earlier release left out as many as may be, the advice is one that helps.
    let world = World::over(world.store.clone()).await;
    let projections = world.start(picky(false, 2)).await;
    let info = || projections.info("picky").unwrap();
    let reason = Arc::clone(info().status.reason().unwrap());
    assert!(reason.contains("2 events are left out"), "{reason}");
    assert!(reason.contains("rebuild"), "{reason}");
    assert!(!reason.contains("drop"), "{reason}");
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(picky(true, 2)).await;
    let info = || projections.info("picky").unwrap();
    assert!(matches!(info().status, ProjectionStatus::Full { .. }));
    projections.rebuild("picky").await.unwrap();
    assert_eq!(info().status, ProjectionStatus::Running);
    assert_eq!((info().parked_events, info().skipped_events), (0, 0));
}

/// The table of balances after its author raised its version.
struct Raised;

impl TableProjection for Raised {
    const NAME: &'static str = BalanceRows::NAME;
    const VERSION: u32 = 2;
    type Row = Balance;

    fn define(on: &mut TableHandlers<Self>) {
        BalanceRows::define(on);
    }
}

#[tokio::test]
async fn p15_another_version_that_is_full_at_its_start_drops_the_old_one_when_it_has_everything() {
    let world = World::new().await;
    world.send("bob", moved("nobody", 1)).await;
    world.send("alice", moved("nobody", 1)).await;
    let last = world.deposit("carol", 7).await;
    let at_most = |events| at_once(AfterRetries::Park).parked_events_max(events);
    let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(at_most(9));
    let projections = world.start(builder).await;
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let builder = ProjectionsBuilder::new().table_with::<Raised>(at_most(2));
    let projections = world.start(builder).await;
    let info = || projections.info("balance_rows").unwrap();
    assert!(matches!(info().status, ProjectionStatus::Full { .. }));
    let views = async || world.store.view_generations("balance_rows").await.unwrap();
    assert_eq!(views().await.len(), 2);
    let bob = Selection::Event(GlobalPosition::new(1));
    projections.drop_parked("balance_rows", bob).await.unwrap();
    let table = projections.table::<Raised>().unwrap();
    table.at_least(last).await.unwrap();
    // What a worker does with the old view comes before the next verb.
    let nothing = Selection::Event(last);
    projections
        .drop_parked("balance_rows", nothing)
        .await
        .unwrap();
    let left: Vec<_> = views()
        .await
        .iter()
        .map(|(view, _)| view.generation)
        .collect();
    assert_eq!(left, [2]);
}

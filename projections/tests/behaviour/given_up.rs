//! A rebuild or another version that is given up, wherever it is: the view that answers, and what that has set aside, stay.

use std::sync::atomic::{AtomicBool, Ordering};

use chronicler_projections::{
    AfterRetries, FailurePolicy, Handlers, ParkedEvent, Projection, ProjectionStatus,
    ProjectionsBuilder, RebuildError, Selection, SetAside, TableHandlers, TableProjection,
};
use chronicler_store::memory::CrashPoint;

use crate::taking_up::{Trace, facts, options, parked, row, some_history};
use crate::world::{Account, AccountEvent, World};

/// A table whose handler fails while it is told to.
struct Switched<const VERSION: u32>;

static IS_BROKEN: AtomicBool = AtomicBool::new(false);
/// One test at a time has the switch.
static SWITCH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl<const RAISED: u32> TableProjection for Switched<RAISED> {
    const NAME: &'static str = "switched";
    const VERSION: u32 = RAISED;
    type Row = Trace;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Account>(|table, _, info| {
            if IS_BROKEN.load(Ordering::Acquire) {
                return Err("what it needs is away".into());
            }
            for key in [info.id(), "all"] {
                table.update(key, |row| {
                    let mut row = row.unwrap_or_default();
                    row.0.push(info.position().get());
                    Some(row)
                });
            }
            Ok(())
        });
    }
}

fn switched<const VERSION: u32>(then: AfterRetries) -> ProjectionsBuilder {
    let failure = FailurePolicy::new(then).retries(1);
    let options = options().failure(failure);
    ProjectionsBuilder::new().table_with::<Switched<VERSION>>(options)
}

/// After whatever came before, the table has every event once, also after a restart and one event more.
async fn assert_healthy(world: &World, said: &str) {
    IS_BROKEN.store(false, Ordering::Release);
    let world = World::over(world.store.clone()).await;
    let projections = world.start(switched::<1>(AfterRetries::Park)).await;
    let last = world.deposit("alice", 2).await;
    let table = projections.table::<Switched<1>>().unwrap();
    table.at_least(last).await.unwrap();
    let expected: Vec<_> = (1..=last.get()).collect();
    let mut all = row::<Switched<1>>(&projections, "all").await;
    all.sort_unstable();
    assert_eq!(all, expected, "{said}");
    assert_eq!(parked(&projections, "switched").await, [], "{said}");
    assert_eq!(facts(&world).await, 0, "{said}");
    projections.stop().await;
}

#[tokio::test]
async fn n14_a_rebuild_that_is_cancelled_stopped_or_failed_leaves_the_view_and_its_facts() {
    let _switch = SWITCH.lock().await;
    for end in ["cancelled", "stopped", "failed", "killed"] {
        IS_BROKEN.store(false, Ordering::Release);
        let world = World::new().await;
        let last = some_history(&world).await;
        let then = match end {
            "failed" => AfterRetries::Stop,
            _ => AfterRetries::Park,
        };
        let projections = world.start(switched::<1>(then)).await;
        IS_BROKEN.store(true, Ordering::Release);
        let info = || projections.info("switched").unwrap();
        let rebuild = projections.rebuild("switched");
        let ending = async {
            if end == "failed" {
                world.until(|| info().rebuilding.is_some()).await;
                world.turn_until(|| info().rebuilding.is_none()).await;
                return;
            }
            world.until(|| info().rebuilding == Some(last)).await;
            // The rebuild has set everything aside; the view that answers has not.
            assert_eq!(facts(&world).await, 8);
            assert_eq!(parked(&projections, "switched").await, []);
            match end {
                "cancelled" => assert!(projections.cancel_rebuild("switched")),
                "stopped" => assert!(projections.stop_one("switched").await),
                _ => {
                    let (write, durable) = (1, false);
                    world.store.faults().crash_at(CrashPoint { write, durable });
                    projections.stop().await;
                }
            }
        };
        let (rebuilt, ()) = tokio::join!(rebuild, ending);
        match (end, rebuilt.unwrap_err()) {
            ("cancelled", RebuildError::Cancelled { .. })
            | ("failed", RebuildError::Failed { .. })
            | ("stopped" | "killed", RebuildError::NotRunning { .. }) => {}
            (end, error) => panic!("{end}: {error}"),
        }
        let world = match end {
            "killed" => World::over(world.store.faults().survivor()).await,
            _ => {
                assert_eq!(facts(&world).await, 0, "{end}");
                projections.stop().await;
                world
            }
        };
        assert_healthy(&world, end).await;
    }
}

#[tokio::test]
async fn n14_another_version_that_is_given_up_leaves_the_old_view_and_what_that_had_parked() {
    let _switch = SWITCH.lock().await;
    for write in 1..40 {
        IS_BROKEN.store(false, Ordering::Release);
        let world = World::new().await;
        world.deposit("alice", 10).await;
        let projections = world.start(switched::<1>(AfterRetries::Park)).await;
        IS_BROKEN.store(true, Ordering::Release);
        let last = world.deposit("bob", 1).await;
        let table = projections.table::<Switched<1>>().unwrap();
        table.at_least(last).await.unwrap();
        world
            .turn_until(|| {
                projections.info("switched").unwrap().status == ProjectionStatus::Running
            })
            .await;
        assert_eq!(
            parked(&projections, "switched").await,
            [(2, SetAside::Parked)]
        );
        projections.stop().await;
        // The next version fails at everything, and dies at some point before it answers or right after that.
        let world = World::over(world.store.clone()).await;
        let durable = true;
        let faults = world.store.faults();
        faults.crash_at(CrashPoint { write, durable });
        let projections = switched::<2>(AfterRetries::Park)
            .start_without_waiting(&world.runtime)
            .unwrap();
        let table = projections.table::<Switched<2>>().unwrap();
        let answers = async || table.get("alice").await.is_ok();
        while !faults.is_dead() && !answers().await {
            tokio::task::yield_now().await;
        }
        projections.stop().await;
        let survivor = faults.survivor();
        // Whichever release comes next has every event.
        for number in [1, 2] {
            IS_BROKEN.store(false, Ordering::Release);
            let world = World::over(survivor.faults().survivor()).await;
            if number == 1 {
                assert_healthy(&world, &format!("killed at {write}")).await;
                continue;
            }
            let projections = world.start(switched::<2>(AfterRetries::Park)).await;
            assert_eq!(
                row::<Switched<2>>(&projections, "all").await,
                [1, 2],
                "killed at {write}"
            );
        }
        if !faults.is_dead() {
            assert!(write > 5, "only {write} crashes");
            return;
        }
    }
    panic!("it never ends");
}

/// A view in memory; its second version cannot take what moves money, and does not go past it.
#[derive(Clone, Default)]
struct InMemory<const VERSION: u32>(u64);

impl<const RAISED: u32> Projection for InMemory<RAISED> {
    const NAME: &'static str = "in_memory";
    const VERSION: u32 = RAISED;

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, event, _| {
            if let AccountEvent::Moved { .. } = event {
                return Err("nothing is moved".into());
            }
            view.0 += 1;
            Ok(())
        });
    }
}

#[tokio::test]
async fn n14_another_version_of_a_view_in_memory_that_is_given_up_leaves_what_was_dropped() {
    let world = World::new().await;
    some_history(&world).await;
    let first = || {
        let options = options().failure(FailurePolicy::new(AfterRetries::Park).retries(0));
        ProjectionsBuilder::new().memory_with(InMemory::<1>::default(), options)
    };
    let projections = world.start(first()).await;
    let all = projections.drop_parked("in_memory", Selection::All).await;
    let dropped = all.unwrap();
    let left_out = projections.left_out("in_memory").await.unwrap();
    assert_eq!((dropped, left_out.len()), (5, 5));
    projections.stop().await;

    // The second version waits at its first event for a retry that the clock never brings.
    let world = World::over(world.store.clone()).await;
    let options = options().failure(FailurePolicy::new(AfterRetries::Stop).retries(1));
    let builder = ProjectionsBuilder::new().memory_with(InMemory::<2>::default(), options);
    let second = builder.start_without_waiting(&world.runtime).unwrap();
    let status = || second.info("in_memory").unwrap().status;
    let waits = || matches!(status(), ProjectionStatus::Retrying { .. });
    world.until(waits).await;
    second.stop().await;

    let world = World::over(world.store.clone()).await;
    let projections = world.start(first()).await;
    let again = projections.left_out("in_memory").await.unwrap();
    let positions = |events: &[ParkedEvent]| -> Vec<_> {
        events.iter().map(|event| event.position.get()).collect()
    };
    assert_eq!(positions(&again), positions(&left_out));
    assert_eq!(
        parked(&projections, "in_memory").await.len(),
        5,
        "nothing waits"
    );
}

//! A rebuild or another version that is given up, wherever it is: the view that answers, and what that has set aside, stay.

use std::sync::atomic::{AtomicBool, Ordering};

use chronicler_projections::{
    AfterRetries, FailurePolicy, ProjectionStatus, ProjectionsBuilder, RebuildError, SetAside,
    TableHandlers, TableProjection,
};
use chronicler_store::memory::CrashPoint;

use crate::taking_up::{Trace, facts, options, parked, row, some_history};
use crate::world::{Account, World};

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
            // It has set everything aside, and that is nothing to the view that answers.
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

//! Start, stop and restart: what is called, and what goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, FailurePolicy, Handlers, Projection, ProjectionHooks, ProjectionOptions,
    ProjectionStatus, ProjectionsBuilder, TableHandlers, TableProjection,
};
use parking_lot::Mutex;

use crate::world::{Account, BalanceRows, Balances, Trap, World, at_once, moved};

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn note(&self, what: &str, name: &str, position: GlobalPosition) {
        self.0.lock().push(format!("{name} {what} at {position}"));
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl ProjectionHooks for Diary {
    fn started(&self, name: &str, position: GlobalPosition) {
        self.note("started", name, position);
    }

    fn ready(&self, name: &str, position: GlobalPosition) {
        self.note("ready", name, position);
    }

    fn restarted(&self, name: &str, position: GlobalPosition, reason: &str) {
        self.note(&format!("restarted ({reason})"), name, position);
    }

    fn stopped(&self, name: &str, position: GlobalPosition) {
        self.note("stopped", name, position);
    }

    fn failed(&self, name: &str, position: GlobalPosition, _: &str) {
        self.note("failed", name, position);
    }

    fn rebuilt(&self, name: &str, position: GlobalPosition) {
        self.note("rebuilt", name, position);
    }
}

#[tokio::test]
async fn p4_hooks_are_called_at_start_stop_and_between() {
    let world = World::new().await;
    world.deposit("alice", 1).await;
    let diary = Arc::new(Diary::default());
    let options = ProjectionOptions::new().hooks(diary.clone());
    let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(options);
    let projections = world.start(builder).await;
    let last = world.deposit("alice", 1).await;
    projections
        .table::<BalanceRows>()
        .unwrap()
        .at_least(last)
        .await
        .unwrap();
    projections.rebuild("balance_rows").await.unwrap();
    projections.stop().await;
    projections.stop().await;
    assert_eq!(
        diary.read(),
        [
            "balance_rows started at 0",
            "balance_rows ready at 1",
            "balance_rows rebuilt at 2",
            "balance_rows stopped at 2",
        ]
    );
    let stopped = projections.info("balance_rows").unwrap();
    assert_eq!(stopped.status, ProjectionStatus::Stopped);
}

#[tokio::test]
async fn p4_a_stop_by_policy_is_told() {
    let world = World::new().await;
    let diary = Arc::new(Diary::default());
    let view = Balances {
        trap: Trap::new(2, u32::MAX),
        ..Balances::default()
    };
    let options = at_once(AfterRetries::Stop).hooks(diary.clone());
    let projections = world
        .start(ProjectionsBuilder::new().memory_with(view, options))
        .await;
    world.deposit("alice", 1).await;
    world.send("alice", moved("bob", 1)).await;
    world.until(|| diary.read().len() == 3).await;
    assert_eq!(diary.read()[2], "balances failed at 1");
    drop(projections);
}

/// Hooks that all panic.
struct Bombs;

impl ProjectionHooks for Bombs {
    fn started(&self, _: &str, _: GlobalPosition) {
        panic!("started");
    }

    fn ready(&self, _: &str, _: GlobalPosition) {
        panic!("ready");
    }

    fn stopped(&self, _: &str, _: GlobalPosition) {
        panic!("stopped");
    }

    fn failed(&self, _: &str, _: GlobalPosition, _: &str) {
        panic!("failed");
    }

    fn rebuilt(&self, _: &str, _: GlobalPosition) {
        panic!("rebuilt");
    }
}

#[tokio::test]
async fn p4_a_hook_that_panics_changes_nothing() {
    let world = World::new().await;
    world.deposit("alice", 1).await;
    let view = Balances {
        trap: Trap::new(2, u32::MAX),
        ..Balances::default()
    };
    let options = at_once(AfterRetries::Stop).hooks(Arc::new(Bombs));
    let builder = ProjectionsBuilder::new()
        .memory_with(view, options)
        .table_with::<BalanceRows>(ProjectionOptions::new().hooks(Arc::new(Bombs)));
    let projections = world.start(builder).await;
    for name in ["balances", "balance_rows"] {
        let rebuilt = projections.rebuild(name).await.unwrap();
        assert_eq!(rebuilt.position, world.runtime.head().position, "{name}");
    }
    world.send("alice", moved("bob", 1)).await;
    let status = |name: &str| projections.info(name).unwrap().status;
    let has_failed = || matches!(status("balances"), ProjectionStatus::Failed { .. });
    world.until(has_failed).await;
    projections.stop().await;
    assert_eq!(status("balance_rows"), ProjectionStatus::Stopped);
    assert!(has_failed());
    let restarts = projections
        .list()
        .iter()
        .map(|info| info.restarts)
        .sum::<u64>();
    assert_eq!(restarts, 0);
}

/// A view that cannot be copied at all.
struct Unique;

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("there is one of it")
    }
}

impl Projection for Unique {
    const NAME: &'static str = "unique";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|_, _, _| {});
    }
}

#[tokio::test]
async fn p4_a_start_whose_worker_panics_each_time_fails_and_says_why() {
    let world = World::new().await;
    world.deposit("alice", 1).await;
    let builder = ProjectionsBuilder::new()
        .memory(Unique)
        .memory(Balances::default());
    let starting = builder.start(&world.runtime, |_| {});
    let failed = tokio::select! {
        started = starting => started.unwrap_err(),
        () = world.turn_until(|| false) => unreachable!("time goes by for ever"),
    };
    let said = failed.to_string();
    assert!(
        said.contains("unique") && said.contains("there is one of it"),
        "{said}"
    );
}

static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// A table whose handler comes back only when it may.
struct Gated;

impl TableProjection for Gated {
    const NAME: &'static str = "gated";
    type Row = u64;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|_, _, _| {
            while !IS_OPEN.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        });
    }
}

#[tokio::test]
async fn p4_a_start_that_fails_does_not_wait_for_a_neighbour_that_hangs() {
    let world = World::new().await;
    world.send("alice", moved("bob", 1)).await;
    let view = Balances {
        trap: Trap::new(1, u32::MAX),
        ..Balances::default()
    };
    let builder = ProjectionsBuilder::new()
        .memory_with(view, at_once(AfterRetries::Stop))
        .table::<Gated>();
    let failed = tokio::select! {
        started = builder.start(&world.runtime, |_| {}) => started.unwrap_err(),
        () = world.turn_until(|| false) => unreachable!("time goes by for ever"),
    };
    assert!(failed.to_string().contains("balances"), "{failed}");
    assert!(!IS_OPEN.swap(true, Ordering::AcqRel));
}

#[tokio::test]
async fn p10_a_rebuild_begins_before_the_view_answers() {
    for at in [1, 2] {
        a_rebuild_begins_while_the_view_waits_at(at).await;
    }
}

async fn a_rebuild_begins_while_the_view_waits_at(at: u64) {
    let world = World::new().await;
    let mut last = GlobalPosition::ZERO;
    for position in 1..=3 {
        last = match position == at {
            true => world.send("alice", moved("bob", 1)).await,
            false => world.deposit("alice", 1).await,
        };
    }
    let trap = Trap::new(at, 3);
    let view = Balances {
        trap: trap.clone(),
        ..Balances::default()
    };
    let failure = FailurePolicy::new(AfterRetries::Stop).retries(9);
    let options = ProjectionOptions::new().failure(failure);
    let builder = ProjectionsBuilder::new().memory_with(view, options);
    let projections = builder.start_without_waiting(&world.runtime).unwrap();
    let info = || projections.info("balances").unwrap();
    world
        .until(|| trap.sprung.load(Ordering::Acquire) > 0)
        .await;
    let rebuild = projections.rebuild("balances");
    let watching = async {
        world.until(|| info().rebuilding.is_some()).await;
        assert_eq!(
            info().position,
            GlobalPosition::ZERO,
            "it does not answer yet"
        );
        world.turn_until(|| info().rebuilding.is_none()).await;
    };
    let (rebuilt, ()) = tokio::join!(rebuild, watching);
    assert!(
        rebuilt.unwrap().position.get() >= at,
        "it has folded something"
    );
    world.turn_until(|| info().lag_events == 0).await;
    let view = projections.view::<Balances>().unwrap();
    let balances = view.at_least(last).await.unwrap();
    assert_eq!((balances.cents["alice"], balances.cents["bob"]), (1, 1));
}

/// A view whose copying panics: no handler is to blame, so the worker itself dies.
struct Brittle {
    events: u64,
    breaks: Arc<AtomicBool>,
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert!(
            !self.breaks.swap(false, Ordering::AcqRel),
            "cannot be cloned now"
        );
        Self {
            events: self.events,
            breaks: self.breaks.clone(),
        }
    }
}

impl Projection for Brittle {
    const NAME: &'static str = "brittle";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, _, _| view.events += 1);
    }
}

#[tokio::test]
async fn p4_a_worker_that_dies_is_restarted_from_where_its_view_stands() {
    let world = World::new().await;
    let diary = Arc::new(Diary::default());
    let breaks = Arc::new(AtomicBool::new(false));
    let view = Brittle {
        events: 0,
        breaks: breaks.clone(),
    };
    let options = ProjectionOptions::new().hooks(diary.clone());
    let builder = ProjectionsBuilder::new().memory_with(view, options);
    let projections = world.start(builder).await;
    let view = projections.view::<Brittle>().unwrap();
    let first = world.deposit("alice", 1).await;
    // Held on to, so that the fold has to clone.
    let held = view.at_least(first).await.unwrap();
    breaks.store(true, Ordering::Release);
    let second = world.deposit("alice", 1).await;
    let info = || projections.info("brittle").unwrap();
    world
        .until(|| matches!(info().status, ProjectionStatus::Restarting { .. }))
        .await;
    assert_eq!(view.read().unwrap().events, 1);
    world.turn_until(|| info().lag_events == 0).await;
    assert_eq!(view.at_least(second).await.unwrap().events, 2);
    assert_eq!(held.events, 1);
    assert_eq!((info().restarts, info().folded_events), (1, 2));
    let diary = diary.read();
    let restarted = diary.last().unwrap();
    assert!(
        restarted.starts_with("brittle restarted") && restarted.ends_with("at 1"),
        "{diary:?}"
    );
}

#[tokio::test]
async fn stopping_the_runtime_stops_the_projections_and_writes_their_rows() {
    use chronicler_store::ViewStore;

    let world = World::new().await;
    let builder = ProjectionsBuilder::new().table::<BalanceRows>();
    let projections = world.start(builder).await;
    let last = world.deposit("alice", 1).await;
    projections
        .table::<BalanceRows>()
        .unwrap()
        .at_least(last)
        .await
        .unwrap();
    world.runtime.stop(Default::default()).await;
    let found = world.store.view_generations("balance_rows").await.unwrap();
    assert_eq!(found[0].1.position, last);
    let status = projections.info("balance_rows").unwrap().status;
    assert_eq!(status, ProjectionStatus::Stopped);
}

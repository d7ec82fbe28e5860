//! What was set aside is taken up: by the next start, by a verb, at its time; in order, exactly once, and by the view whose
//! it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    AfterRetries, FailurePolicy, FlushPolicy, Handlers, ParkedError, ParkedEvent, Projection,
    ProjectionOptions, ProjectionStatus, Projections, ProjectionsBuilder, Selection, SetAside,
    TableHandlers, TableProjection,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{EventLog, FactKind, FactQuery};
use serde::{Deserialize, Serialize};

use crate::world::{Account, AccountEvent, World, at_once, moved};

/// The positions that an account's row has, in the order in which they were folded; and all of them under `all`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trace(pub(crate) Vec<u64>);

/// One release of a projection: before it is `MENDED` it cannot take what pays nobody.
struct Traces<const MENDED: bool>;

impl<const MENDED: bool> TableProjection for Traces<MENDED> {
    const NAME: &'static str = "traces";
    type Row = Trace;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Account>(|table, event, info| {
            for key in [info.id(), "all"] {
                table.update(key, |row| {
                    let mut row = row.unwrap_or_default();
                    row.0.push(info.position().get());
                    Some(row)
                });
            }
            match event {
                AccountEvent::Moved { to, .. } if to == "nobody" && !MENDED => {
                    Err("nobody cannot be paid".into())
                }
                _ => Ok(()),
            }
        });
    }
}

/// The same in memory.
#[derive(Clone, Default)]
struct Sums<const MENDED: bool>(BTreeMap<String, Vec<u64>>);

impl<const MENDED: bool> Projection for Sums<MENDED> {
    const NAME: &'static str = "sums";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, event, info| {
            let row = view.0.entry(info.id().to_owned()).or_default();
            row.push(info.position().get());
            match event {
                AccountEvent::Moved { to, .. } if to == "nobody" && !MENDED => {
                    Err("nobody cannot be paid".into())
                }
                _ => Ok(()),
            }
        });
    }
}

/// Positions: 1 alice, 2 alice to nobody, 3 bob, 4 alice, 5 bob to nobody, 6 alice, 7 carol, 8 bob.
pub(crate) async fn some_history(world: &World) -> GlobalPosition {
    world.deposit("alice", 10).await;
    world.send("alice", moved("nobody", 4)).await;
    world.deposit("bob", 1).await;
    world.deposit("alice", 20).await;
    world.send("bob", moved("nobody", 1)).await;
    world.deposit("alice", 30).await;
    world.deposit("carol", 5).await;
    world.deposit("bob", 2).await
}

pub(crate) fn options() -> ProjectionOptions {
    at_once(AfterRetries::Park)
        .flush(FlushPolicy::default().events(3))
        .batch_events_max(2)
        .cached_rows(2)
}

fn traces<const MENDED: bool>() -> ProjectionsBuilder {
    ProjectionsBuilder::new().table_with::<Traces<MENDED>>(options())
}

pub(crate) async fn row<T: TableProjection<Row = Trace>>(
    projections: &Projections,
    key: &str,
) -> Vec<u64> {
    let row = projections.table::<T>().unwrap().get(key).await.unwrap();
    row.unwrap_or_default().0
}

/// Every event once, and those of each account in order.
async fn assert_whole<T: TableProjection<Row = Trace>>(projections: &Projections, said: &str) {
    assert_eq!(row::<T>(projections, "alice").await, [1, 2, 4, 6], "{said}");
    assert_eq!(row::<T>(projections, "bob").await, [3, 5, 8], "{said}");
    let mut all = row::<T>(projections, "all").await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8], "{said}");
}

/// The events that wait or are left out, by position.
pub(crate) async fn set_aside(projections: &Projections, name: &str) -> Vec<ParkedEvent> {
    let waits = projections.parked(name).await.unwrap();
    let is_left_out = |event: &ParkedEvent| event.cause == SetAside::Skipped;
    assert!(!waits.iter().any(is_left_out), "what waits is not left out");
    let left_out = projections.left_out(name).await.unwrap();
    assert!(
        left_out.iter().all(is_left_out),
        "what is left out does not wait"
    );
    let mut all = [waits, left_out].concat();
    all.sort_by_key(|event| event.position);
    all
}

pub(crate) async fn parked(projections: &Projections, name: &str) -> Vec<(u64, SetAside)> {
    let parked = set_aside(projections, name).await;
    let parked = parked
        .iter()
        .map(|event| (event.position.get(), event.cause));
    parked.collect()
}

pub(crate) async fn facts(world: &World) -> usize {
    let query = FactQuery::all(FactKind::PARKED);
    world.store.facts(query).await.unwrap().len()
}

#[tokio::test]
async fn n10_what_one_release_could_not_take_the_next_folds_in_order() {
    let world = World::new().await;
    some_history(&world).await;
    let old = ProjectionsBuilder::new()
        .table_with::<Traces<false>>(options())
        .memory_with(Sums::<false>::default(), at_once(AfterRetries::Park));
    let projections = world.start(old).await;
    for name in ["traces", "sums"] {
        assert_eq!(parked(&projections, name).await.len(), 5, "{name}");
    }
    assert_eq!(row::<Traces<false>>(&projections, "all").await, [1, 3, 7]);
    projections.stop().await;

    let world = World::over(world.store.clone()).await;
    let new = ProjectionsBuilder::new()
        .table_with::<Traces<true>>(options())
        .memory(Sums::<true>::default());
    let projections = world.start(new).await;
    assert_whole::<Traces<true>>(&projections, "when it has started").await;
    let sums = projections.view::<Sums<true>>().unwrap().read().unwrap();
    assert_eq!(sums.0["alice"], [1, 2, 4, 6]);
    assert_eq!(
        (facts(&world).await, projections.list()[0].parked_events),
        (0, 0)
    );
    // What comes later is folded as if nothing had been.
    world.deposit("alice", 1).await;
    let last = world.deposit("bob", 1).await;
    projections
        .table::<Traces<true>>()
        .unwrap()
        .at_least(last)
        .await
        .unwrap();
    assert_eq!(
        row::<Traces<true>>(&projections, "alice").await,
        [1, 2, 4, 6, 9]
    );
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(traces::<true>()).await;
    assert_eq!(
        row::<Traces<true>>(&projections, "bob").await,
        [3, 5, 8, 10]
    );
}

#[tokio::test]
async fn n11_killed_at_every_write_what_is_taken_up_counts_once() {
    let mut crashes = 0;
    for write in 1.. {
        for durable in [false, true] {
            let world = World::new().await;
            some_history(&world).await;
            let projections = world.start(traces::<false>()).await;
            projections.stop().await;
            let world = World::over(world.store.clone()).await;
            let last = world.deposit("dora", 1).await;
            let faults = world.store.faults();
            faults.crash_at(CrashPoint { write, durable });
            let projections = traces::<true>()
                .start_without_waiting(&world.runtime)
                .unwrap();
            let info = || projections.info("traces").unwrap();
            let is_done = || info().position == last && info().parked_events == 0;
            world.turn_until(|| faults.is_dead() || is_done()).await;
            if !faults.is_dead() {
                projections.stop().await;
            }
            if !faults.is_dead() {
                assert!(crashes >= 16, "only {crashes} crashes");
                return;
            }
            crashes += 1;
            // A second crash, at each of the first writes of the life after.
            let again = World::over(faults.survivor()).await;
            let second = CrashPoint {
                write: 1 + crashes % 6,
                durable,
            };
            again.store.faults().crash_at(second);
            let projections = traces::<true>()
                .start_without_waiting(&again.runtime)
                .unwrap();
            let info = || projections.info("traces").unwrap();
            let is_done = || info().position == last && info().parked_events == 0;
            let faults = again.store.faults();
            again.turn_until(|| faults.is_dead() || is_done()).await;
            let world = World::over(faults.survivor()).await;
            let projections = world.start(traces::<true>()).await;
            let said = format!("killed at {write}, {durable}");
            assert_eq!(
                row::<Traces<true>>(&projections, "alice").await,
                [1, 2, 4, 6],
                "{said}"
            );
            assert_eq!(
                row::<Traces<true>>(&projections, "bob").await,
                [3, 5, 8],
                "{said}"
            );
            let mut all = row::<Traces<true>>(&projections, "all").await;
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8, 9], "{said}");
            assert_eq!(facts(&world).await, 0, "{said}");
            let table = projections.table::<Traces<true>>().unwrap();
            let page = table.scan("", None, 100).await;
            assert_eq!(page.unwrap().rows.len(), 5, "{said}");
        }
    }
}

#[tokio::test]
async fn n11_what_a_life_noted_that_died_before_its_view_was_written_is_no_more_than_that() {
    let mut crashes = 0;
    for write in 1.. {
        let world = World::new().await;
        let last = some_history(&world).await;
        let faults = world.store.faults();
        let durable = true;
        faults.crash_at(CrashPoint { write, durable });
        let projections = traces::<false>()
            .start_without_waiting(&world.runtime)
            .unwrap();
        let info = || projections.info("traces").unwrap();
        world
            .turn_until(|| faults.is_dead() || info().position == last)
            .await;
        if !faults.is_dead() {
            projections.stop().await;
        }
        if !faults.is_dead() {
            assert!(crashes >= 8, "only {crashes} crashes");
            return;
        }
        crashes += 1;
        // The next release folds them in order. Wherever that dies, too, nothing is left to take up that it has folded.
        for second in 1..=12 {
            let world = World::over(faults.survivor().faults().survivor()).await;
            let faults = world.store.faults();
            let write = second;
            faults.crash_at(CrashPoint { write, durable });
            let projections = traces::<true>()
                .start_without_waiting(&world.runtime)
                .unwrap();
            let info = || projections.info("traces").unwrap();
            let reached = || info().status == ProjectionStatus::Running;
            world.turn_until(|| faults.is_dead() || reached()).await;
            if !faults.is_dead() {
                projections.stop().await;
            }
            let world = World::over(faults.survivor()).await;
            let projections = world.start(traces::<true>()).await;
            let said = format!("killed at {crashes} and {second}");
            assert_whole::<Traces<true>>(&projections, &said).await;
            assert_eq!(facts(&world).await, 0, "{said}");
        }
    }
}

/// Fails while it is told to, for every event of an account that begins with `bad`.
#[derive(Clone, Default)]
struct Moody {
    is_broken: Arc<AtomicBool>,
    tries: Arc<AtomicU32>,
    folded: BTreeMap<String, u64>,
}

impl Projection for Moody {
    const NAME: &'static str = "moody";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, _, info| {
            *view.folded.entry(info.id().to_owned()).or_default() += 1;
            if info.id().starts_with("bad") && view.is_broken.load(Ordering::Acquire) {
                view.tries.fetch_add(1, Ordering::AcqRel);
                return Err(format!("not {} today", info.id()).into());
            }
            Ok(())
        });
    }
}

#[tokio::test]
async fn n12_failing_keys_hold_up_neither_a_start_nor_the_others_nor_a_rebuild() {
    let world = World::new().await;
    for number in 0..50 {
        world.deposit(&format!("bad{number}"), 1).await;
        world.deposit(&format!("good{number}"), 1).await;
    }
    let moody = Moody::default();
    moody.is_broken.store(true, Ordering::Release);
    // The clock stands still: whatever waits for it waits for ever.
    let projections = world
        .start(ProjectionsBuilder::new().memory(moody.clone()))
        .await;
    let view = projections.view::<Moody>().unwrap();
    let shown = |name: &str| view.read().unwrap().folded.get(name).copied();
    assert_eq!((shown("good49"), shown("bad0")), (Some(1), None));
    let last = world.deposit("good0", 1).await;
    view.at_least(last).await.unwrap();
    assert_eq!(shown("good0"), Some(2));
    let info = || projections.info("moody").unwrap();
    assert_eq!((info().parked_events, info().lag_events), (50, 0));

    // A rebuild waits for its retries, beside the view that answers.
    let rebuilding = projections.clone();
    let rebuild = async { rebuilding.rebuild("moody").await };
    let following = async {
        world.until(|| info().rebuilding == Some(last)).await;
        for round in 0..20 {
            let last = world.deposit("good1", 1).await;
            view.at_least(last).await.unwrap();
            assert_eq!(shown("good1"), Some(2 + round));
        }
        moody.is_broken.store(false, Ordering::Release);
        world.turn_until(|| info().rebuilding.is_none()).await;
    };
    let (rebuilt, ()) = tokio::join!(rebuild, following);
    assert!(rebuilt.unwrap().position >= last);
    for number in 0..50 {
        assert_eq!(shown(&format!("bad{number}")), Some(1), "{number}");
    }
    assert_eq!(parked(&projections, "moody").await, []);
}

#[tokio::test]
async fn n12_each_key_has_its_tries_and_is_then_parked_or_left_out() {
    for (then, cause) in [
        (AfterRetries::Park, SetAside::Parked),
        (AfterRetries::Skip, SetAside::Skipped),
    ] {
        let world = World::new().await;
        for number in 0..10 {
            world.deposit(&format!("bad{number}"), 1).await;
        }
        let moody = Moody::default();
        moody.is_broken.store(true, Ordering::Release);
        let options = ProjectionOptions::new().failure(FailurePolicy::new(then).retries(2));
        let builder = ProjectionsBuilder::new().memory_with(moody.clone(), options);
        let projections = world.start(builder).await;
        let info = || projections.info("moody").unwrap();
        world
            .turn_until(|| info().status == ProjectionStatus::Running)
            .await;
        let found = set_aside(&projections, "moody").await;
        assert_eq!(found.len(), 10);
        for event in found {
            assert_eq!((event.cause, event.tries), (cause, 3), "{event:?}");
        }
        let view = projections.view::<Moody>().unwrap().read().unwrap();
        assert!(view.folded.is_empty(), "what a failing handler did is gone");
    }
}

#[tokio::test]
async fn n13_what_is_parked_is_grouped_retried_and_dropped_by_a_verb() {
    let world = World::new().await;
    let moody = Moody::default();
    moody.is_broken.store(true, Ordering::Release);
    let builder = ProjectionsBuilder::new()
        .memory_with(moody.clone(), at_once(AfterRetries::Park))
        .table_with::<Traces<false>>(options());
    let projections = world.start(builder).await;
    for id in ["bad1", "bad2", "worse", "bad1"] {
        world.deposit(id, 1).await;
    }
    let last = world.send("bad2", moved("nobody", 1)).await;
    let view = projections.view::<Moody>().unwrap();
    view.at_least(last).await.unwrap();
    let table = projections.table::<Traces<false>>().unwrap();
    table.at_least(last).await.unwrap();
    let groups = projections.parked_groups("moody").await.unwrap();
    assert_eq!(groups.len(), 1);
    let group = &groups[0];
    assert_eq!((group.events, group.held, group.keys), (2, 2, 2));
    // Only the first of a key can be tried.
    let held = Selection::Event(GlobalPosition::new(4));
    let retried = projections.retry_parked("moody", held).await.unwrap();
    assert_eq!(retried, 0);
    let group = Selection::Group(group.fingerprint);
    let retried = projections
        .retry_parked("moody", group.clone())
        .await
        .unwrap();
    assert_eq!((retried, moody.tries.load(Ordering::Acquire)), (2, 4));
    let first = &projections.parked("moody").await.unwrap()[0];
    assert_eq!((first.cause, first.tries), (SetAside::Parked, 2));
    // Dropped, it is out, and what waited for it is tried at once.
    moody.is_broken.store(false, Ordering::Release);
    let first = Selection::Event(GlobalPosition::new(1));
    assert_eq!(projections.drop_parked("moody", first).await.unwrap(), 1);
    let info = || projections.info("moody").unwrap();
    world.until(|| info().parked_events == 2).await;
    assert_eq!(view.read().unwrap().folded["bad1"], 1);
    assert_eq!(projections.retry_parked("moody", group).await.unwrap(), 1);
    // Those that waited for it follow.
    assert_eq!(view.read().unwrap().folded["bad2"], 2);
    assert_eq!((info().parked_events, info().skipped_events), (0, 1));
    let nobody = projections.drop_parked("nobody", Selection::All).await;
    assert!(matches!(nobody, Err(ParkedError::Unknown { .. })));
    assert_eq!(
        projections
            .drop_parked("traces", Selection::All)
            .await
            .unwrap(),
        1
    );
    // A start brings back nothing that was dropped.
    projections.stop().await;
    let stopped = projections.retry_parked("moody", Selection::All).await;
    assert!(matches!(stopped, Err(ParkedError::NotRunning { .. })));
    let world = World::over(world.store.clone()).await;
    let builder = traces::<true>().memory(moody);
    let projections = world.start(builder).await;
    let view = projections.view::<Moody>().unwrap().read().unwrap();
    assert_eq!((view.folded["bad1"], view.folded["bad2"]), (1, 2));
    assert_eq!(row::<Traces<true>>(&projections, "bad2").await, [2]);
    assert_eq!(
        parked(&projections, "traces").await,
        [(5, SetAside::Skipped)]
    );
}

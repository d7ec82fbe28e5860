//! Tables: rows that survive, each event counted once whatever was written when the process died.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_projections::{
    FlushPolicy, ProjectionOptions, ProjectionStatus, Projections, ProjectionsBuilder, Table,
    TableHandlers, TableProjection, ViewError,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{MemoryStore, ViewStore};

use crate::world::{Account, AccountEvent, Balance, BalanceRows, World, moved};

fn flushed_every(events: u64) -> ProjectionsBuilder {
    let options = ProjectionOptions::new()
        .flush(FlushPolicy::default().events(events))
        .batch_events_max(3)
        .cached_rows(2);
    ProjectionsBuilder::new().table_with::<BalanceRows>(options)
}

async fn rows(projections: &Projections) -> Vec<(String, i64, u64)> {
    let table = projections.table::<BalanceRows>().unwrap();
    let page = table.scan("", None, 100).await.unwrap();
    let name = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let all = page.rows.iter();
    all.map(|(key, row)| (name(key), row.cents, row.events))
        .collect()
}

async fn checkpoint(store: &MemoryStore) -> Vec<(u64, u64)> {
    let found = store.view_generations("balance_rows").await.unwrap();
    let all = found.into_iter();
    all.map(|(view, checkpoint)| (view.generation, checkpoint.position.get()))
        .collect()
}

/// Money goes round among a few accounts; some are closed and come back.
async fn some_history(world: &World, rounds: i64) -> GlobalPosition {
    let mut last = GlobalPosition::ZERO;
    for round in 0..rounds {
        let account = format!("a{}", round % 3);
        let mut events = vec![AccountEvent::Deposited { cents: 10 + round }];
        events.extend(moved(&format!("a{}", (round + 1) % 4), round));
        if round % 5 == 4 {
            events.push(AccountEvent::Closed);
        }
        last = world.send(&account, events).await;
    }
    last
}

async fn expected(rounds: i64) -> Vec<(String, i64, u64)> {
    let world = World::new().await;
    some_history(&world, rounds).await;
    let projections = world.start(flushed_every(1_000)).await;
    rows(&projections).await
}

#[tokio::test]
async fn p1_a_restart_goes_on_from_the_checkpoint() {
    let world = World::new().await;
    let projections = world.start(flushed_every(1_000)).await;
    let last = some_history(&world, 10).await;
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
    let before = rows(&projections).await;
    assert_eq!(before, expected(10).await);
    assert_eq!(checkpoint(&world.store).await, [(1, 0)]);
    projections.stop().await;
    assert_eq!(checkpoint(&world.store).await, [(1, last.get())]);

    let world = World::over(world.store.clone()).await;
    let projections = world.start(flushed_every(1_000)).await;
    assert_eq!(rows(&projections).await, before);
    assert_eq!(projections.info("balance_rows").unwrap().folded_events, 0);
    let last = world.deposit("a0", 1).await;
    let table = projections.table::<BalanceRows>().unwrap();
    table.at_least(last).await.unwrap();
    assert_eq!(projections.info("balance_rows").unwrap().folded_events, 1);
}

#[tokio::test]
async fn p1_rows_are_written_after_so_many_events_and_when_idle() {
    let world = World::new().await;
    let projections = world.start(flushed_every(4)).await;
    let table = projections.table::<BalanceRows>().unwrap();
    for _ in 0..3 {
        let last = world.deposit("alice", 1).await;
        table.at_least(last).await.unwrap();
    }
    assert_eq!(checkpoint(&world.store).await, [(1, 0)]);
    world.deposit("alice", 1).await;
    let at = |position| {
        let store = world.store.clone();
        move || {
            let found = futures::executor::block_on(checkpoint(&store));
            found == [(1, position)]
        }
    };
    world.until(at(4)).await;
    let last = world.deposit("alice", 1).await;
    table.at_least(last).await.unwrap();
    assert!(at(4)());
    world.turn_until(at(5)).await;
}

#[tokio::test]
async fn p1_a_full_overlay_is_written_in_the_middle_of_a_batch() {
    let world = World::new().await;
    let last = some_history(&world, 30).await;
    let options = ProjectionOptions::new().flush(FlushPolicy::default().rows(2));
    let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(options);
    let writes = world.store.faults().writes();
    let projections = world.start(builder).await;
    assert_eq!(rows(&projections).await, expected(30).await);
    assert_eq!(checkpoint(&world.store).await, [(1, last.get())]);
    // Each write of a view is two write points.
    assert!(world.store.faults().writes() - writes >= 30);
}

#[tokio::test]
async fn p3_killed_at_every_write_each_event_counts_once() {
    const ROUNDS: i64 = 12;
    let expected = expected(ROUNDS).await;
    let mut crashes = 0;
    for write in 1.. {
        for durable in [false, true] {
            let mut world = World::new().await;
            let last = some_history(&world, ROUNDS).await;
            world.store.faults().crash_at(CrashPoint { write, durable });
            let projections = flushed_every(5)
                .start_without_waiting(&world.runtime)
                .unwrap();
            let table = projections.table::<BalanceRows>().unwrap();
            let faults = world.store.faults();
            let reached = || projections.info("balance_rows").unwrap().position == last;
            world.turn_until(|| faults.is_dead() || reached()).await;
            if reached() {
                projections.stop().await;
            }
            if !world.store.faults().is_dead() {
                assert!(crashes >= 10, "only {crashes} crashes");
                return;
            }
            crashes += 1;
            drop(table);
            world = World::over(world.store.faults().survivor()).await;
            let projections = world.start(flushed_every(5)).await;
            assert_eq!(rows(&projections).await, expected, "at {write}, {durable}");
            assert_eq!(checkpoint(&world.store).await.len(), 1);
        }
    }
}

/// Each row takes the number that another row gives out: what a handler reads must be of its own time.
struct Numbered;

impl TableProjection for Numbered {
    const NAME: &'static str = "numbered";
    type Row = u64;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|table: &mut Table<u64>, _, info| {
            let next = table.get("next").unwrap_or(1);
            table.set(info.id(), next);
            table.set("next", next + 1);
        });
    }
}

#[tokio::test]
async fn p3_a_row_that_was_written_ahead_is_read_as_of_the_event() {
    for write in 1..20 {
        let world = World::new().await;
        for number in 1..=9 {
            world.deposit(&format!("a{number}"), 1).await;
        }
        let builder = || {
            let options = ProjectionOptions::new()
                .flush(FlushPolicy::default().rows(4))
                .cached_rows(0);
            ProjectionsBuilder::new().table_with::<Numbered>(options)
        };
        let durable = true;
        world.store.faults().crash_at(CrashPoint { write, durable });
        let projections = builder().start_without_waiting(&world.runtime).unwrap();
        let faults = world.store.faults();
        let info = || projections.info("numbered").unwrap();
        world
            .turn_until(|| faults.is_dead() || info().lag_events == 0)
            .await;
        let world = World::over(faults.survivor()).await;
        let projections = world.start(builder()).await;
        let table = projections.table::<Numbered>().unwrap();
        for number in 1..=9 {
            let row = table.get(format!("a{number}")).await.unwrap();
            assert_eq!(row, Some(number), "killed at {write}");
        }
        assert_eq!(table.get("next").await.unwrap(), Some(10));
    }
}

/// Reads a row until it is answered: an error is allowed meanwhile, another answer is not.
async fn answered(world: &World, projections: &Projections, key: &str) -> (u32, Balance) {
    let table = projections.table::<BalanceRows>().unwrap();
    let mut errors = 0;
    loop {
        match table.get(key).await {
            Ok(row) => return (errors, row.unwrap()),
            Err(error @ (ViewError::Store { .. } | ViewError::Rebuilding { .. })) => {
                assert!(error.is_retryable(), "{error}");
                errors += 1;
            }
            Err(error) => panic!("{error}"),
        }
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn k5_a_table_that_is_lost_in_use_is_noticed_by_a_reader_and_built_again() {
    let world = World::new().await;
    let last = some_history(&world, 12).await;
    let projections = world.start(flushed_every(1)).await;
    let (_, total) = answered(&world, &projections, "total").await;
    world.store.faults().lose_views();
    let (errors, found) = answered(&world, &projections, "total").await;
    assert!(errors > 0, "nothing was lost");
    assert_eq!(found, total);
    assert_eq!(rows(&projections).await, expected(12).await);
    let info = projections.info("balance_rows").unwrap();
    assert_eq!((info.restarts, info.position), (1, last));
    projections.stop().await;
    assert_eq!(checkpoint(&world.store).await, [(1, last.get())]);
}

#[tokio::test]
async fn k5_a_table_that_is_lost_in_use_is_noticed_by_its_fold_and_built_again() {
    let world = World::new().await;
    some_history(&world, 12).await;
    let projections = world.start(flushed_every(1)).await;
    world.store.faults().lose_views();
    let last = world.deposit("total", 7).await;
    let info = || projections.info("balance_rows").unwrap();
    world
        .turn_until(|| info().restarts == 1 && info().status == ProjectionStatus::Running)
        .await;
    assert_eq!(info().position, last);
    let same = World::new().await;
    some_history(&same, 12).await;
    same.deposit("total", 7).await;
    let whole = same.start(flushed_every(1)).await;
    assert_eq!(rows(&projections).await, rows(&whole).await);
}

#[tokio::test]
async fn k5_a_rebuild_of_a_table_that_is_lost_shows_nobody_an_empty_one() {
    let world = World::new().await;
    some_history(&world, 12).await;
    let projections = world.start(flushed_every(1)).await;
    let expected = rows(&projections).await;
    let (_, total) = answered(&world, &projections, "total").await;
    world.store.faults().lose_views();
    let reading = async {
        // The first to notice is the rebuild, and not this reader.
        let info = || projections.info("balance_rows").unwrap();
        world
            .until(|| info().restarts > 0 || info().rebuilding.is_some())
            .await;
        assert_eq!(answered(&world, &projections, "total").await.1, total);
        assert_eq!(info().restarts, 1);
    };
    let (rebuilt, ()) = tokio::join!(projections.rebuild("balance_rows"), reading);
    rebuilt.unwrap();
    assert_eq!(rows(&projections).await, expected);
}

#[tokio::test]
async fn a_scan_merges_what_is_written_with_what_is_not() {
    let world = World::new().await;
    let projections = world.start(flushed_every(6)).await;
    let table = projections.table::<BalanceRows>().unwrap();
    for name in ["b1", "b2", "b3", "c1"] {
        world.deposit(name, 1).await;
    }
    for name in ["b2", "b4", "b0"] {
        let last = world.deposit(name, 1).await;
        table.at_least(last).await.unwrap();
    }
    let last = world.send("b3", vec![AccountEvent::Closed]).await;
    table.at_least(last).await.unwrap();
    let scan = async |prefix: &str, limit| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = table.scan(prefix, after, limit).await.unwrap();
            assert!(page.rows.len() <= limit && page.position == last);
            let keys = page.rows.iter();
            found.extend(keys.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()));
            let Some(next) = page.next else {
                return found;
            };
            after = Some(next);
        }
    };
    for limit in 1..6 {
        assert_eq!(scan("b", limit).await, ["b0", "b1", "b2", "b4"], "{limit}");
        assert_eq!(scan("b2", limit).await, ["b2"]);
        assert_eq!(scan("x", limit).await, Vec::<String>::new());
        let all = ["b0", "b1", "b2", "b4", "c1", "total"];
        assert_eq!(scan("", limit).await, all);
    }
    assert_eq!(table.get("b2").await.unwrap().unwrap().events, 2);
    assert_eq!(table.get("b3").await.unwrap(), None);
}

/// The same table after its author raised a version.
struct Raised<const VERSION: u32, const ROW_VERSION: u32>;

impl<const VERSION: u32, const ROW_VERSION: u32> TableProjection for Raised<VERSION, ROW_VERSION> {
    const NAME: &'static str = BalanceRows::NAME;
    const VERSION: u32 = VERSION;
    const ROW_VERSION: u32 = ROW_VERSION;
    type Row = Balance;

    fn define(on: &mut TableHandlers<Self>) {
        BalanceRows::define(on);
    }
}

#[tokio::test]
async fn p15_another_version_builds_another_generation_and_drops_the_old_one() {
    let world = World::new().await;
    let last = some_history(&world, 10).await;
    let projections = world.start(flushed_every(1_000)).await;
    projections.stop().await;
    assert_eq!(checkpoint(&world.store).await, [(1, last.get())]);
    let world = World::over(world.store.clone()).await;
    let builder = ProjectionsBuilder::new().table::<Raised<2, 1>>();
    let projections = world.start(builder).await;
    let table = projections.table::<Raised<2, 1>>().unwrap();
    assert_eq!(
        table.scan("", None, 100).await.unwrap().rows.len(),
        expected(10).await.len()
    );
    projections.stop().await;
    assert_eq!(checkpoint(&world.store).await, [(2, last.get())]);
    let world = World::over(world.store.clone()).await;
    let builder = ProjectionsBuilder::new().table::<Raised<2, 2>>();
    let projections = world.start(builder).await;
    projections.stop().await;
    assert_eq!(checkpoint(&world.store).await, [(3, last.get())]);
}

#[tokio::test]
async fn a_key_that_is_too_long_fails_the_event_and_changes_nothing() {
    struct Long;
    impl TableProjection for Long {
        const NAME: &'static str = "long";
        type Row = u8;
        fn define(on: &mut TableHandlers<Self>) {
            on.events::<Account>(|table: &mut Table<u8>, _, _| {
                table.set("short", 1);
                table.set("x".repeat(2_000), 1);
            });
        }
    }
    let world = World::new().await;
    world.deposit("alice", 1).await;
    let options = crate::world::at_once(chronicler_projections::AfterRetries::Park);
    let builder = ProjectionsBuilder::new().table_with::<Long>(options);
    let projections = world.start(builder).await;
    let parked = projections.parked("long").await.unwrap();
    assert!(parked[0].reason.contains("2000 bytes"), "{parked:?}");
    let table = projections.table::<Long>().unwrap();
    assert_eq!(table.get("short").await.unwrap(), None);
}

#[tokio::test]
async fn readers_beside_the_fold_see_whole_positions_only() {
    let world = Arc::new(World::new().await);
    let projections = world.start(flushed_every(3)).await;
    let table = projections.table::<BalanceRows>().unwrap();
    let writing = async {
        for _ in 0..100 {
            world
                .send("source", {
                    let mut events = vec![AccountEvent::Deposited { cents: 5 }];
                    events.extend(moved("sink", 5));
                    events
                })
                .await;
        }
    };
    let reading = async {
        let mut seen = 0;
        while seen < 500 {
            let page = table.scan("s", None, 10).await.unwrap();
            if let [(_, sink), (_, source)] = &page.rows[..] {
                assert_eq!((source.cents, sink.cents), (0, 5 * sink.events as i64));
                assert_eq!(page.position.get(), 2 * sink.events);
                seen = sink.cents;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(writing, reading);
    })
    .await
    .unwrap();
}

//! Rows that cannot be written, cannot be read, or are of another shape; and rows that are gone.

use std::sync::Arc;

use chronicler_projections::{
    AfterRetries, FlushPolicy, ProjectionStatus, Projections, ProjectionsBuilder, SetAside,
    TableHandlers, TableProjection, ViewError,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{ViewName, ViewStore};
use serde::de::Deserializer;
use serde::ser::{Error, Serializer};
use serde::{Deserialize, Serialize};

use crate::world::{Account, AccountEvent, BalanceRows, World, at_once, moved};

/// What somebody said last. Some words have no bytes.
#[derive(Clone, Debug, PartialEq)]
struct Word(String);

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            "refuses" => Err(S::Error::custom("there are no bytes for it")),
            "panics" => panic!("the word is too long"),
            word => to.serialize_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        assert!(word != "unreadable", "nobody can read it");
        Ok(Self(word))
    }
}

/// One release of a table of words: one that is not `MENDED` takes no word at all.
struct Words<const MENDED: bool>;

impl<const MENDED: bool> TableProjection for Words<MENDED> {
    const NAME: &'static str = "words";
    type Row = Word;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Account>(|table, event, info| {
            let AccountEvent::Moved { to, .. } = event else {
                return Ok(());
            };
            if !MENDED {
                return Err("not yet".into());
            }
            table.set(format!("{} spoke", info.id()), Word("yes".to_owned()));
            table.set(info.id(), Word(to.clone()));
            Ok(())
        });
    }
}

fn words<const MENDED: bool>() -> ProjectionsBuilder {
    let options = at_once(AfterRetries::Park).flush(FlushPolicy::default().events(2));
    ProjectionsBuilder::new().table_with::<Words<MENDED>>(options)
}

async fn said(projections: &Projections, who: &str) -> Option<String> {
    let table = projections.table::<Words<true>>().unwrap();
    table.get(who).await.unwrap().map(|word| word.0)
}

/// Five have spoken, and of the second to the fourth the row cannot be written.
async fn talking() -> World {
    let world = World::new().await;
    for (who, word) in [
        ("alice", "hello"),
        ("bob", "refuses"),
        ("carol", "panics"),
        ("dora", "unreadable"),
        ("erin", "hello"),
    ] {
        world.send(who, moved(word, 0)).await;
    }
    world
}

#[tokio::test]
async fn b2_a_row_that_cannot_be_written_costs_its_event_alone_whenever_it_is_made() {
    let world = talking().await;
    let assert_alone = async |projections: &Projections| {
        let parked = projections.parked("words").await.unwrap();
        let positions: Vec<_> = parked.iter().map(|event| event.position.get()).collect();
        assert_eq!(positions, [2, 3, 4]);
        for event in &parked {
            assert_eq!(event.cause, SetAside::Parked);
            assert!(
                event
                    .reason
                    .starts_with("a row cannot be written and read back"),
                "{event:?}"
            );
            assert!(event.reason.contains("Word"), "{event:?}");
        }
        assert_eq!(said(projections, "alice").await.as_deref(), Some("hello"));
        assert_eq!(said(projections, "erin").await.as_deref(), Some("hello"));
        // Nothing that the handler changed beside it remains.
        assert_eq!(said(projections, "bob spoke").await, None);
    };
    // As the events are folded.
    let projections = world.start(words::<true>()).await;
    assert_alone(&projections).await;
    projections.stop().await;
    // As they are taken up: the release before could take none of them.
    let world = talking().await;
    let before = world.start(words::<false>()).await;
    assert_eq!(before.info("words").unwrap().parked_events, 5);
    before.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(words::<true>()).await;
    assert_alone(&projections).await;
    // The table follows as before, is written, and starts again.
    let last = world.send("alice", moved("again", 0)).await;
    let table = projections.table::<Words<true>>().unwrap();
    table.at_least(last).await.unwrap();
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(words::<true>()).await;
    assert_eq!(said(&projections, "alice").await.as_deref(), Some("again"));
    assert_eq!(projections.info("words").unwrap().restarts, 0);
}

/// A row whose type hides its shape: what it was written as is not in the bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Hidden {
    Cents(i64),
    Name(String),
}

struct HiddenRows;

impl TableProjection for HiddenRows {
    const NAME: &'static str = "hidden";
    type Row = Hidden;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|table, event, info| match event {
            AccountEvent::Deposited { cents } => table.set(info.id(), Hidden::Cents(*cents)),
            AccountEvent::Moved { to, .. } => table.set(info.id(), Hidden::Name(to.clone())),
            AccountEvent::Closed => table.remove(info.id()),
        });
    }
}

#[tokio::test]
async fn b2_a_row_type_that_hides_its_shape_is_refused_at_its_first_row() {
    let world = World::new().await;
    world.deposit("alice", 5).await;
    let last = world.send("bob", moved("carol", 1)).await;
    let options = at_once(AfterRetries::Park);
    let builder = ProjectionsBuilder::new().table_with::<HiddenRows>(options);
    let projections = world.start(builder).await;
    let parked = projections.parked("hidden").await.unwrap();
    assert_eq!(parked.len(), 2);
    for event in parked {
        for word in ["Hidden", "cannot be read back", "untagged"] {
            assert!(event.reason.contains(word), "{event:?}");
        }
    }
    let info = projections.info("hidden").unwrap();
    assert_eq!((info.position, info.restarts), (last, 0));
}

/// One release of a table whose rows have a part that most of them lack.
macro_rules! release {
    ($name:ident { $($field:ident),* }) => {
        mod $name {
            use super::*;

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub(super) struct Extra { $(pub(super) $field: i64),* }

            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            pub(super) struct Row {
                pub(super) events: u64,
                pub(super) extra: Option<Extra>,
            }

            pub(super) struct Rare;

            impl TableProjection for Rare {
                const NAME: &'static str = "rare";
                type Row = Row;

                fn define(on: &mut TableHandlers<Self>) {
                    on.events::<Account>(|table, event, info| {
                        table.update(info.id(), |row| {
                            let mut row = row.unwrap_or_default();
                            row.events += 1;
                            if let AccountEvent::Moved { cents, .. } = event {
                                row.extra = Some(Extra { $($field: *cents),* });
                            }
                            Some(row)
                        });
                    });
                }
            }
        }
    };
}

release!(first { paid });
release!(second { paid, owed });

/// A store with a table of the first release: of a hundred rows, the last has what the second release calls otherwise.
async fn written_by_the_first() -> World {
    let world = World::new().await;
    for number in 0..99 {
        world.deposit(&format!("a{number:02}"), 1).await;
    }
    world.send("last", moved("x", 4)).await;
    let builder = ProjectionsBuilder::new().table::<first::Rare>();
    let projections = world.start(builder).await;
    projections.stop().await;
    World::over(world.store.clone()).await
}

#[tokio::test]
async fn c2_a_row_of_another_shape_that_is_met_later_has_the_table_built_again() {
    let builder = || ProjectionsBuilder::new().table::<second::Rare>();
    let expected = |events| second::Row {
        events,
        extra: Some(second::Extra { paid: 4, owed: 4 }),
    };
    for is_met in ["by a reader", "by the fold", "at the start"] {
        let world = written_by_the_first().await;
        let mut events = 1;
        if is_met == "at the start" {
            world.deposit("last", 1).await;
            events += 1;
        }
        let projections = builder().start_without_waiting(&world.runtime).unwrap();
        let table = projections.table::<second::Rare>().unwrap();
        let info = || projections.info("rare").unwrap();
        if is_met == "by a reader" {
            world.until(|| info().lag_events == 0).await;
            let read = table.get("last").await;
            assert!(
                matches!(read, Err(ViewError::Undecodable { .. })),
                "{read:?}"
            );
        }
        if is_met == "by the fold" {
            world.until(|| info().lag_events == 0).await;
            world.deposit("last", 1).await;
            events += 1;
        }
        world.turn_until(|| info().restarts == 1).await;
        // The rows of the first release are never one.
        let row = loop {
            world.clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
            if let Ok(row) = table.get("last").await {
                break row;
            }
        };
        assert_eq!(row, Some(expected(events)), "{is_met}");
        // A rebuild ends, too, and the next start meets nothing.
        projections.rebuild("rare").await.unwrap();
        projections.stop().await;
        let world = World::over(world.store.clone()).await;
        let projections = world.start(builder()).await;
        let table = projections.table::<second::Rare>().unwrap();
        assert_eq!(table.get("last").await.unwrap(), Some(expected(events)));
        assert_eq!(projections.info("rare").unwrap().restarts, 0, "{is_met}");
    }
}

#[tokio::test]
async fn b2_a_row_type_that_hides_its_shape_in_few_rows_costs_one_rebuild_and_then_their_events() {
    let world = World::new().await;
    for number in 0..69 {
        world.send(&format!("a{number}"), moved("hello", 0)).await;
    }
    // Neither among the first rows nor among the samples after them.
    world.send("zed", moved("unreadable", 0)).await;
    let projections = world.start(words::<true>()).await;
    assert_eq!(projections.info("words").unwrap().parked_events, 0);
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(words::<true>()).await;
    let info = || projections.info("words").unwrap();
    let table = projections.table::<Words<true>>().unwrap();
    let read = table.get("zed").await;
    assert!(
        matches!(read, Err(ViewError::Undecodable { .. })),
        "{read:?}"
    );
    world.turn_until(|| info().restarts == 1).await;
    let is_answering = || info().status == ProjectionStatus::Running && info().parked_events == 1;
    world.turn_until(is_answering).await;
    assert_eq!(said(&projections, "a1").await.as_deref(), Some("hello"));
    assert_eq!(said(&projections, "zed").await, None);
    projections.stop().await;
    let world = World::over(world.store.clone()).await;
    let projections = world.start(words::<true>()).await;
    let info = projections.info("words").unwrap();
    assert_eq!((info.parked_events, info.restarts), (1, 0));
    assert_eq!(said(&projections, "zed").await, None);
    projections.stop().await;
}

/// Keys that the store has of a view, removed ones included.
async fn stored_keys(world: &World) -> usize {
    let (view, _) = world.store.view_generations("balance_rows").await.unwrap()[0].clone();
    let view: ViewName = view;
    world
        .store
        .view_rows(&view, None, usize::MAX)
        .await
        .unwrap()
        .len()
}

fn balance_rows(events: u64) -> ProjectionsBuilder {
    let flush = FlushPolicy::default().events(events);
    let options = at_once(AfterRetries::Park).flush(flush).batch_events_max(2);
    ProjectionsBuilder::new().table_with::<BalanceRows>(options)
}

#[tokio::test]
async fn b3_a_row_that_was_removed_leaves_nothing_in_the_store() {
    for events in [1, 3, 5, 1_000] {
        let world = World::new().await;
        let projections = world.start(balance_rows(events)).await;
        let table = projections.table::<BalanceRows>().unwrap();
        for number in 0..40 {
            let job = format!("job{number}");
            world.deposit(&job, 1).await;
            let last = world.send(&job, vec![AccountEvent::Closed]).await;
            table.at_least(last).await.unwrap();
        }
        // A page is empty only at the end.
        let page = table.scan("job", None, 2).await.unwrap();
        assert_eq!((page.rows.len(), page.next), (0, None), "{events}");
        projections.stop().await;
        // The row of all deposits.
        assert_eq!(
            stored_keys(&world).await,
            1,
            "written after {events} events"
        );
    }
}

#[tokio::test]
async fn b3_an_idle_table_keeps_nothing_of_rows_that_were_removed() {
    for events in [2, 1_000] {
        let world = World::new().await;
        let projections = world.start(balance_rows(events)).await;
        let table = projections.table::<BalanceRows>().unwrap();
        for _ in 0..2 {
            world.deposit("job", 1).await;
            world.deposit("other", 1).await;
            let last = world.send("job", vec![AccountEvent::Closed]).await;
            table.at_least(last).await.unwrap();
        }
        for turn in 0.. {
            // The row of all deposits, and the other one.
            if stored_keys(&world).await == 2 {
                break;
            }
            assert!(turn < 1_000, "written after {events} events");
            world.clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        projections.stop().await;
    }
}

#[tokio::test]
async fn b3_killed_at_every_write_a_removed_row_stays_removed_and_the_others_stay() {
    for write in 1.. {
        for durable in [false, true] {
            let world = World::new().await;
            let faults = world.store.faults();
            for number in 0..6 {
                let job = format!("job{number}");
                world.deposit(&job, 1).await;
                if number % 3 != 0 {
                    world.send(&job, vec![AccountEvent::Closed]).await;
                }
                if number % 3 == 2 {
                    world.deposit(&job, 7).await;
                }
            }
            faults.crash_at(CrashPoint { write, durable });
            let projections = balance_rows(2)
                .start_without_waiting(&world.runtime)
                .unwrap();
            let info = || projections.info("balance_rows").unwrap();
            world
                .turn_until(|| faults.is_dead() || info().lag_events == 0)
                .await;
            if !faults.is_dead() {
                projections.stop().await;
            }
            let is_over = !faults.is_dead();
            let survivor = if is_over {
                Arc::clone(&world.store)
            } else {
                faults.survivor()
            };
            let world = World::over(survivor).await;
            let projections = world.start(balance_rows(2)).await;
            let table = projections.table::<BalanceRows>().unwrap();
            let page = table.scan("", None, 100).await.unwrap();
            let rows: Vec<_> = page
                .rows
                .iter()
                .map(|(key, row)| (&key[..], row.cents))
                .collect();
            let expected: [(&[u8], i64); 5] = [
                (b"job0", 1),
                (b"job2", 7),
                (b"job3", 1),
                (b"job5", 7),
                (b"total", 20),
            ];
            assert_eq!(rows, expected, "killed at {write}, {durable}");
            projections.stop().await;
            if is_over {
                assert!(write > 5, "only {write} writes");
                return;
            }
        }
    }
}

//! Definitions that change while instances are in flight.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_sagas::steps::{
    Compensable, Define, Definition, Migration, Nil, OlderDefinition, StepSaga, Steps,
};
use chronicler_sagas::{Ending, SagaStatus, SagaVerb, replay};

use crate::journey::act;
use crate::world::World;

step_keys! {
    Reserve = "reserve" -> u64;
    Hold = "hold" -> u64;
    Checked = "checked" -> u64;
    Approved = "approved" -> String;
    Ship = "ship" -> u64;
}

type Steps0<S> = Define<S, Nil, Compensable>;

fn first<S: StepSaga>(steps: Steps0<S>) -> Definition<S> {
    reserving(steps, "reserve")
}

/// The first definition, but for what it sends.
fn other_words<S: StepSaga>(steps: Steps0<S>) -> Definition<S> {
    reserving(steps, "reserve at once")
}

fn reserving<S: StepSaga>(steps: Steps0<S>, words: &'static str) -> Definition<S> {
    steps
        .step(
            Reserve,
            move |_| act("stock", words),
            |_, _| act("stock", "not reserve"),
        )
        .wait_for(Approved)
        .within(Duration::from_secs(600))
        .pivot(Ship, |seen| {
            act("shop", format!("ship {}", seen.output(Approved)))
        })
        .build()
}

/// Reserving is called holding now, and something is checked before it.
fn second<S: StepSaga>(steps: Steps0<S>) -> Definition<S> {
    steps
        .step_without_undo(Checked, |_| act("clerk", "check"))
        .step(
            Hold,
            |_| act("stock", "hold"),
            |_, _| act("stock", "not hold"),
        )
        .wait_for(Approved)
        .within(Duration::from_secs(600))
        .pivot(Ship, |seen| {
            act("shop", format!("ship to {}", seen.output(Approved)))
        })
        .build()
}

fn no_older<S: StepSaga>() -> Vec<OlderDefinition<S>> {
    Vec::new()
}

fn the_first<S: StepSaga>() -> Vec<OlderDefinition<S>> {
    vec![first]
}

macro_rules! sales {
    ($($name:ident = $version:literal, $define:ident, $older:expr, $migrate:expr;)*) => {$(
        struct $name;

        impl StepSaga for $name {
            const NAME: &'static str = "sale";
            const VERSION: u32 = $version;
            begins_where_its_part_does!();

            fn define(steps: Steps0<Self>) -> Definition<Self> {
                $define(steps)
            }

            fn older() -> Vec<OlderDefinition<Self>> {
                $older()
            }

            fn migrate(migration: &mut Migration) -> Result<(), String> {
                let migrate: fn(&mut Migration) -> Result<(), String> = $migrate;
                migrate(migration)
            }
        }
    )*};
}

sales! {
    First = 1, first, no_older, |_| Ok(());
    Both = 2, second, the_first, |_| Ok(());
    Moves = 2, second, no_older, |migration| {
        assert_eq!(migration.version(), 1);
        if migration.is_done("reserve") {
            migration.rename("reserve", "hold").supply(Checked, &0);
        }
        Ok(())
    };
    Forgets = 2, second, no_older, |migration| {
        migration.rename("reserve", "hold");
        Ok(())
    };
}

async fn approve<S: StepSaga>(world: &World<S>, name: &str) {
    let verb = SagaVerb::Signal {
        name: "approved".to_owned(),
        payload: "\"ann\"".to_owned(),
    };
    world.operate(name, verb).await.unwrap();
}

#[tokio::test]
async fn m84_definitions_stand_side_by_side_and_each_instance_ends_under_its_own() {
    let world = World::<First>::new().await;
    world.begin("old").await;
    let world: World<Both> = world.restart().await;
    world.begin("new").await;
    approve(&world, "old").await;
    approve(&world, "new").await;
    assert_eq!(world.ended("old").await, Ending::Completed);
    assert_eq!(world.ended("new").await, Ending::Completed);
    let words = world.words().await;
    assert_eq!(
        words,
        ["reserve", "check", "hold", "ship ann", "ship to ann"]
    );
}

#[tokio::test]
async fn m84_an_instance_is_migrated_by_a_function_and_ends_under_the_newest() {
    let world = World::<First>::new().await;
    world.begin("old").await;
    let world: World<Moves> = world.restart().await;
    let migrated = world.operate("old", SagaVerb::Migrate).await.unwrap();
    assert!(matches!(migrated, SagaStatus::Waiting { .. }));
    assert_eq!(world.view("old").await.version, Some(2));
    // Asked again, nothing changes.
    world.operate("old", SagaVerb::Migrate).await.unwrap();
    let world: World<Moves> = world.restart().await;
    approve(&world, "old").await;
    assert_eq!(world.ended("old").await, Ending::Completed);
    assert_eq!(world.words().await, ["reserve", "ship to ann"]);
}

#[tokio::test]
async fn m84_migrated_it_still_undoes_what_it_did_before() {
    let world = World::<First>::new().await;
    world.begin("old").await;
    let world: World<Moves> = world.restart().await;
    world.operate("old", SagaVerb::Migrate).await.unwrap();
    // The limit counts from the migration.
    world.advance(601).await;
    assert!(matches!(
        world.ended("old").await,
        Ending::Compensated { .. }
    ));
    assert_eq!(world.words().await, ["reserve", "not reserve"]);
}

#[tokio::test]
async fn m84_a_migration_that_leaves_a_gap_is_refused_and_changes_nothing() {
    let world = World::<First>::new().await;
    world.begin("old").await;
    let world: World<Forgets> = world.restart().await;
    let refused = world.operate("old", SagaVerb::Migrate).await.unwrap_err();
    assert!(refused.contains("\"checked\""), "{refused}");
    assert_eq!(world.view("old").await.version, Some(1));
    let world: World<First> = world.restart().await;
    approve(&world, "old").await;
    assert_eq!(world.ended("old").await, Ending::Completed);
}

#[tokio::test]
async fn m84_quarantined_for_its_definition_it_is_migrated_and_takes_what_waited() {
    let world = World::<First>::new().await;
    world.begin("old").await;
    let world: World<Moves> = world.restart().await;
    world.advance(601).await;
    assert!(matches!(
        world.status("old").await,
        SagaStatus::Quarantined { .. }
    ));
    // The time that ran out under the earlier definition counts anew under the other.
    let migrated = world.operate("old", SagaVerb::Migrate).await.unwrap();
    assert!(
        matches!(migrated, SagaStatus::Waiting { .. }),
        "{migrated:?}"
    );
    approve(&world, "old").await;
    assert_eq!(world.ended("old").await, Ending::Completed);
    assert_eq!(world.words().await, ["reserve", "ship to ann"]);
}

sales! {
    Reworded = 1, other_words, no_older, |_| Ok(());
}

#[tokio::test]
async fn a_journal_is_replayed_and_what_would_be_decided_otherwise_today_is_found() {
    let world = World::<First>::new().await;
    world.begin("shipped").await;
    approve(&world, "shipped").await;
    world.begin("late").await;
    world.advance(601).await;
    world.begin("cancelled").await;
    world.cancel("cancelled").await.unwrap();
    let same = replay(&world.store, &Steps::<First>::of()).await.unwrap();
    assert_eq!((same.instances, same.differences.len()), (3, 0));
    assert!(same.inputs >= 9, "{} inputs", same.inputs);
    // Its steps are the same, and so is its fingerprint; what they send is not.
    let other = replay(&world.store, &Steps::<Reworded>::of())
        .await
        .unwrap();
    assert_eq!(other.differences.len(), 3, "{:#?}", other.differences);
    let first = &other.differences[0];
    assert!(
        first
            .recorded
            .iter()
            .any(|said| said.contains("\"reserve\""))
    );
    assert_ne!(first.recorded, first.today);
}

#[tokio::test]
async fn what_is_worth_a_look_is_said_at_the_start() {
    let world = World::<First>::new().await;
    let doubts = world.sagas.doubts();
    let has = |words: &str| doubts.iter().any(|doubt| doubt.contains(words));
    assert!(has("what takes step \"reserve\" back can be rejected"));
    assert!(!has("may wait for ever"), "it is limited");
    assert!(!has("no aggregate of this category"));
}

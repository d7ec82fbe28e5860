//! What becomes of many commands at once: taken in a few commits, each answer as if it had come alone.

use chronicler_domain::GlobalPosition;
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
use chronicler_sagas::{Ending, SagaView, replay, step_keys};
use chronicler_store::{AllQuery, EventLog, Start};
use futures::StreamExt;

use crate::parts::{Part, PartCommand};
use crate::world::{World, settle};

step_keys! {
    Parcels = "parcels" -> Vec<u64>;
    Booked = "booked" -> u64;
    Left = "left" -> ();
}

const PARCELS: usize = 300;

/// Packs 300 parcels at once, and unpacks them if they cannot be booked.
struct Shipment;

fn act(part: impl Into<String>, what: &str) -> chronicler_sagas::steps::To<Part> {
    to::<Part>(part, PartCommand::Do(what.to_owned()))
}

impl StepSaga for Shipment {
    const NAME: &'static str = "shipment";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .each(
                Parcels,
                |_| {
                    (0..PARCELS)
                        .map(|parcel| act(format!("p{parcel}"), "pack"))
                        .collect()
                },
                |_, parcel, _| act(format!("p{parcel}"), "unpack"),
            )
            .step(
                Booked,
                |_| act("book", "book"),
                |_, _| act("book", "unbook"),
            )
            .pivot_here(Left)
            .build()
    }
}

/// The types of the events of each commit of the saga.
async fn commits(world: &World<Shipment>) -> Vec<Vec<String>> {
    let query = AllQuery::from(Start::Position(GlobalPosition::ZERO));
    let mut batches = world.store.read_all(query);
    let mut found = Vec::new();
    while let Some(batch) = batches.next().await {
        for commit in batch.unwrap() {
            for part in commit.parts() {
                if part.category() == "saga:shipment" {
                    let types = part.events().map(|event| event.event_type().to_owned());
                    found.push(types.collect());
                }
            }
        }
    }
    found
}

/// Begins one, and lets nothing be durable until all that it sends is on its way; then all at once.
async fn begin(world: &World<Shipment>) {
    world.tell_at_once("s").await;
    while commits(world).await.is_empty() {
        tokio::task::yield_now().await;
    }
    world.store.faults().hold();
    settle().await;
    world.store.faults().release();
    settle().await;
}

#[tokio::test]
async fn e3_answers_that_come_together_are_one_commit() {
    let world = World::<Shipment>::new().await;
    begin(&world).await;
    assert_eq!(world.ended("s").await, Ending::Completed);
    assert_eq!(world.words().await.len(), PARCELS + 1);
    let commits = commits(&world).await;
    let answers = commits.iter().flatten().filter(|name| *name == "$Answered");
    assert_eq!(answers.count(), PARCELS + 1);
    assert!(commits.len() <= 6, "{} commits", commits.len());
    assert!(commits.iter().flatten().any(|name| name == "$Outcomes"));
    let replayed = replay(&world.store, &Steps::<Shipment>::of())
        .await
        .unwrap();
    assert_eq!(replayed.differences, []);
    // Folded again it is what it was.
    let stand = |view: SagaView<Steps<Shipment>>| {
        let effects = view.effects.into_iter();
        effects
            .map(|effect| (effect.spec.key, effect.state, effect.undo))
            .collect::<Vec<_>>()
    };
    let before = stand(world.view("s").await);
    let again = world.restart::<Shipment>().await;
    assert!(stand(again.view("s").await) == before);
}

#[tokio::test]
async fn e3_answers_to_undos_that_come_together_are_replayed_as_they_were() {
    let world = World::<Shipment>::new().await;
    world.refuse("book", &["book"]).await;
    begin(&world).await;
    let ended = world.ended("s").await;
    assert!(matches!(ended, Ending::Compensated { .. }), "{ended:?}");
    let words = world.words().await;
    let unpacked = words.iter().filter(|word| *word == "unpack").count();
    assert_eq!(unpacked, PARCELS);
    let commits = commits(&world).await;
    assert!(
        commits.len() < PARCELS,
        "{} commits for {PARCELS} answers and as many undos",
        commits.len()
    );
    let replayed = replay(&world.store, &Steps::<Shipment>::of())
        .await
        .unwrap();
    assert_eq!(replayed.differences, []);
}

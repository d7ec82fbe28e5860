//! Children: one saga begins another, and is told how it ended.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_domain::{AggregateId, Tenant};
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to_child};
use chronicler_sagas::{
    Ending, Input, Next, Orphan, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus,
    SagaVerb, SagasBuilder, StartFrom,
};

use crate::journey::act;
use crate::parts::{Part, PartEvent};
use crate::world::{World, begins, id, settle, start_where_it_begins};

step_keys! {
    Paint = "paint" -> u64;
    Dry = "dry" -> ();
    Sell = "sell" -> u64;
    Wood = "wood" -> u64;
    Painted = "painted" -> ();
    Deliver = "deliver" -> u64;
}

/// Paints something, waits until it is dry, and sells it.
struct Painting;

impl StepSaga for Painting {
    const NAME: &'static str = "painting";
    /// The colour.
    type Start = String;

    fn routes(_: &mut Routes<Steps<Self>>) {}

    fn begin(_: &Input) -> Option<String> {
        None
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Paint,
                |seen| act("painter", format!("paint {}", seen.start())),
                |_, _| act("painter", "scrape"),
            )
            .wait_for(Dry)
            .within(Duration::from_secs(3_600))
            .pivot(Sell, |_| act("painter", "sign"))
            .build()
    }
}

/// A table, whose painting is a saga of its own.
struct Table;

impl StepSaga for Table {
    const NAME: &'static str = "table";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        start_where_it_begins(on);
        on.child::<Steps<Painting>>();
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        Self::with(steps, Orphan::Cancel)
    }
}

impl Table {
    fn with<S: StepSaga>(steps: Define<S, Nil, Compensable>, orphan: Orphan) -> Definition<S> {
        steps
            .step(Wood, |_| act("joiner", "cut"), |_, _| act("joiner", "glue"))
            .child(
                Painted,
                |seen| to_child::<Painting>(format!("{}-paint", seen.id()), &"red".to_owned()),
                |_| act("joiner", "throw away"),
            )
            .orphan(orphan)
            .pivot(Deliver, |_| act("joiner", "deliver"))
            .build()
    }
}

/// The same, which waits for its child when it is undone.
struct Patient;
/// The same, which leaves its child alone.
struct Careless;

macro_rules! tables {
    ($($name:ident = $id:literal, $orphan:expr;)*) => {$(
        impl StepSaga for $name {
            const NAME: &'static str = $id;
            type Start = ();

            fn routes(on: &mut Routes<Steps<Self>>) {
                on.event::<Part>(|event, info| match begins(event) {
                    true => Route::start(&info.id),
                    false => Route::ignore(),
                });
                on.child::<Steps<Painting>>();
            }

            fn begin(_: &Input) -> Option<()> {
                Some(())
            }

            fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
                Table::with(steps, $orphan)
            }
        }
    )*};
}

tables! {
    Patient = "patient-table", Orphan::Wait;
    Careless = "careless-table", Orphan::Abandon;
}

async fn world<S: StepSaga>() -> World<S> {
    World::beside(SagasBuilder::default().saga(Steps::<Painting>::of(), StartFrom::Now)).await
}

fn paintings<S: StepSaga>(world: &World<S>) -> &SagaHandle<Steps<Painting>> {
    world.sagas.saga::<Steps<Painting>>().unwrap()
}

async fn painting<S: StepSaga>(world: &World<S>) -> SagaStatus {
    let (tenant, id) = (Tenant::default(), id("t-paint"));
    paintings(world).get(&tenant, &id).await.unwrap().status
}

async fn dry<S: StepSaga>(world: &World<S>) {
    let verb = SagaVerb::Signal {
        name: "dry".to_owned(),
        payload: "null".to_owned(),
    };
    let (tenant, id): (_, AggregateId) = (Tenant::default(), id("t-paint"));
    let said = paintings(world).operate(&tenant, &id, verb.by("sun", "it shines"));
    said.await.unwrap();
    settle().await;
}

fn ended(how: Ending) -> SagaStatus {
    SagaStatus::Ended { how }
}

#[tokio::test]
async fn m63_a_child_is_waited_for_across_restarts_and_its_end_is_the_outcome() {
    let world = world::<Table>().await;
    world.begin("t").await;
    let SagaStatus::Waiting { on, .. } = world.status("t").await else {
        panic!("{:?}", world.status("t").await);
    };
    assert_eq!(on, ["saga painting/t-paint"]);
    world.sagas.stop().await;
    let stopped = world
        .runtime
        .stop(chronicler_runtime::StopOptions::default());
    stopped.await;
    let sagas = SagasBuilder::default().saga(Steps::<Painting>::of(), StartFrom::Now);
    let world = World::<Table>::with(sagas, world.store, world.service, world.clock).await;
    settle().await;
    dry(&world).await;
    assert_eq!(world.ended("t").await, Ending::Completed);
    let words = world.words().await;
    assert_eq!(words, ["cut", "paint red", "sign", "deliver"]);
    let (tenant, id) = (Tenant::default(), id("t-paint"));
    let child = paintings(&world).get(&tenant, &id).await.unwrap();
    assert!(child.parent.unwrap().contains("table"));
}

#[tokio::test]
async fn m63_a_child_that_undid_itself_undoes_its_parent() {
    let world = world::<Table>().await;
    world.refuse("painter", &["sign"]).await;
    world.begin("t").await;
    dry(&world).await;
    let Ending::Compensated { reason } = world.ended("t").await else {
        panic!();
    };
    assert!(reason.contains("painted"), "{reason}");
    let words = world.words().await;
    assert_eq!(words, ["cut", "paint red", "scrape", "glue"]);
}

#[tokio::test]
async fn m63_a_child_under_way_is_cancelled_with_its_parent_before_the_rest_is_undone() {
    let world = world::<Table>().await;
    world.begin("t").await;
    world.cancel("t").await.unwrap();
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    assert!(matches!(
        painting(&world).await,
        SagaStatus::Ended {
            how: Ending::Compensated { .. }
        }
    ));
    let words = world.words().await;
    assert_eq!(words, ["cut", "paint red", "scrape", "glue"]);
}

#[tokio::test]
async fn m63_a_parent_can_wait_for_its_child_and_undo_what_it_did() {
    let world = world::<Patient>().await;
    world.begin("t").await;
    world.cancel("t").await.unwrap();
    assert!(matches!(
        world.status("t").await,
        SagaStatus::Compensating { .. }
    ));
    dry(&world).await;
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    assert_eq!(painting(&world).await, ended(Ending::Completed));
    let words = world.words().await;
    assert_eq!(words, ["cut", "paint red", "sign", "throw away", "glue"]);
}

#[tokio::test]
async fn m63_a_parent_can_leave_its_child_alone() {
    let world = world::<Careless>().await;
    world.begin("t").await;
    world.cancel("t").await.unwrap();
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    assert!(matches!(painting(&world).await, SagaStatus::Waiting { .. }));
    dry(&world).await;
    assert_eq!(painting(&world).await, ended(Ending::Completed));
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    let words = world.words().await;
    assert_eq!(words, ["cut", "paint red", "glue", "sign"]);
}

#[tokio::test]
async fn m63_a_child_that_was_ended_as_it_was_is_for_a_person() {
    let world = world::<Table>().await;
    world.begin("t").await;
    let (tenant, child) = (Tenant::default(), id("t-paint"));
    let ended = paintings(&world).operate(&tenant, &child, SagaVerb::Terminate.by("ann", "enough"));
    ended.await.unwrap();
    settle().await;
    let SagaStatus::Parked { key, reason } = world.status("t").await else {
        panic!("{:?}", world.status("t").await);
    };
    assert_eq!(key, "painted");
    assert!(reason.contains("terminated"), "{reason}");
    let verb = SagaVerb::Skip {
        key: "painted".to_owned(),
        output: "null".to_owned(),
    };
    world.operate("t", verb).await.unwrap();
    assert_eq!(world.ended("t").await, Ending::Completed);
}

/// A reactive saga that has something painted, and a second one painted over it when it is undone.
struct Gallery;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Noted;

impl chronicler_domain::Event for Noted {}

impl Saga for Gallery {
    const NAME: &'static str = "gallery";
    type State = ();
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Part>(|event, info| match event {
            PartEvent::Did(what) if what == "exhibit" => Route::start(&info.id),
            _ => Route::ignore(),
        });
        on.child::<Steps<Painting>>();
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let paint = |key: &str, colour: &str| {
            let child = format!("{}-{key}", ctx.id);
            Next::stay().start::<Steps<Painting>>(key, child, &colour.to_owned())
        };
        match input {
            Input::Event(_) => paint("paint", "blue"),
            Input::Answer(outcome) if outcome.is_done() => Next::stay().complete(),
            Input::Answer(_) => Next::stay().compensate("it was not painted"),
            Input::Compensated { .. } => paint("over", "white"),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Noted) {}
}

async fn dry_it(world: &World<Table>, painting: &str) {
    let verb = SagaVerb::Signal {
        name: "dry".to_owned(),
        payload: "null".to_owned(),
    };
    let (tenant, id) = (Tenant::default(), id(painting));
    let said = paintings(world).operate(&tenant, &id, verb.by("sun", "it shines"));
    said.await.unwrap();
    settle().await;
}

async fn gallery(world: &World<Table>) -> SagaStatus {
    let handle = world.sagas.saga::<Gallery>().unwrap();
    let (tenant, id) = (Tenant::default(), id("t"));
    handle.get(&tenant, &id).await.unwrap().status
}

#[tokio::test]
async fn m63_a_reactive_saga_begins_a_saga_of_steps_also_when_it_is_undone() {
    let sagas = || {
        SagasBuilder::default()
            .saga(Steps::<Painting>::of(), StartFrom::Now)
            .saga(Gallery, StartFrom::Now)
    };
    let world = World::<Table>::beside(sagas()).await;
    world.did_something("t", "exhibit").await;
    assert!(matches!(gallery(&world).await, SagaStatus::Waiting { .. }));
    dry_it(&world, "t-paint").await;
    assert_eq!(gallery(&world).await, ended(Ending::Completed));

    let world = World::<Table>::beside(sagas()).await;
    world.refuse("painter", &["sign"]).await;
    world.did_something("t", "exhibit").await;
    dry_it(&world, "t-paint").await;
    // It is being undone, and what it begins last is begun and waited for.
    assert!(matches!(
        gallery(&world).await,
        SagaStatus::Compensating { .. }
    ));
    world.refuse("painter", &[]).await;
    dry_it(&world, "t-over").await;
    let SagaStatus::Ended {
        how: Ending::Compensated { reason },
    } = gallery(&world).await
    else {
        panic!("{:?}", gallery(&world).await);
    };
    assert_eq!(reason, "it was not painted");
    let words = world.words().await;
    assert_eq!(words[1..], ["paint blue", "scrape", "paint white", "sign"]);
}

//! Sagas that set themselves in motion without end: they are cut.

use chronicler_domain::{AggregateId, Event, Tenant};
use chronicler_sagas::{
    Input, Next, OpenSaga, Route, Routes, Saga, SagaContext, SagaStatus, SagaVerb,
};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id};
use crate::shop::{Order, OrderCommand, OrderEvent};

/// It touches an order whenever one is touched: the next one, or, if its id does not end in a number, the same.
struct Round;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

impl Saga for Round {
    const NAME: &'static str = "round";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let next = match ctx.id.parse::<u32>() {
            Ok(number) => (number + 1).to_string(),
            Err(_) => ctx.id.clone(),
        };
        match input {
            Input::Event(_) => Next::stay().send::<Order>("touch", &next, OrderCommand::Touch),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// It begins itself as its own child, and each child the next.
struct Nest;

impl Saga for Nest {
    const NAME: &'static str = "nest";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
        on.child::<Self>();
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let number: u32 = ctx.id.parse().unwrap_or_default();
        let next = (number + 1).to_string();
        match input {
            Input::Event(_) | Input::Begin(_) => Next::stay().start::<Self>("egg", &next, &()),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// All that are open, and those of them that were cut.
async fn cut<S: Saga>(f: &Fixture) -> (usize, Vec<AggregateId>) {
    f.sagas.settled().await;
    let all = f.sagas.saga::<S>().unwrap().open().await.unwrap();
    let is_cut = |saga: &&OpenSaga| saga.status == "quarantined";
    let ids = all.iter().filter(is_cut).map(|saga| id(&saga.id));
    (all.len(), ids.collect())
}

async fn reason<S: Saga>(f: &Fixture, id: &AggregateId) -> String {
    let handle = f.sagas.saga::<S>().unwrap();
    let view = handle.get(&Tenant::default(), id).await.unwrap();
    assert_eq!(view.stalled, 1, "what it was cut at waits");
    match view.status {
        SagaStatus::Quarantined { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn release<S: Saga>(f: &Fixture, id: &AggregateId) {
    let handle = f.sagas.saga::<S>().unwrap();
    let (tenant, verb) = (Tenant::default(), SagaVerb::Release);
    let done = handle.operate(&tenant, id, verb, "ann", "it may go on");
    done.await.unwrap();
}

#[tokio::test]
async fn a_cycle_through_new_instances_is_cut_and_goes_on_when_it_is_released() {
    let f = fixture_with(Round).await;
    f.order("1", OrderCommand::Touch).await;
    let (open, ids) = cut::<Round>(&f).await;
    let [last] = ids.as_slice() else {
        panic!("{ids:?}")
    };
    assert_eq!(last.as_str(), open.to_string(), "the last is the cut one");
    assert_eq!(open, 33, "two causes a round, and 64 of them");
    let reason = reason::<Round>(&f, last).await;
    assert!(reason.starts_with("65 causes"), "{reason}");
    release::<Round>(&f, last).await;
    let (more, ids) = cut::<Round>(&f).await;
    assert_eq!(
        (more, ids.len()),
        (66, 1),
        "it counts anew, and is cut again"
    );
}

#[tokio::test]
async fn a_cycle_through_one_instance_is_cut_and_nobody_else_is() {
    let f = fixture_with(Round).await;
    f.order("same", OrderCommand::Touch).await;
    assert_eq!(cut::<Round>(&f).await, (1, vec![id("same")]));
    let handle = f.sagas.saga::<Round>().unwrap();
    let effects = handle.get(&Tenant::default(), &id("same")).await.unwrap();
    assert_eq!(effects.effects.len(), 32);
}

#[tokio::test]
async fn children_that_begin_children_are_cut() {
    let f = fixture_with(Nest).await;
    f.order("1", OrderCommand::Touch).await;
    let (open, ids) = cut::<Nest>(&f).await;
    assert_eq!(ids, vec![id(&open.to_string())], "the last is the cut one");
    assert_eq!(open, 65);
    let reason = reason::<Nest>(&f, &ids[0]).await;
    assert!(reason.contains("cycle"), "{reason}");
}

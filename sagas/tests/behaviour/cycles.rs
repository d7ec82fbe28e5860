//! Sagas that set themselves in motion without end: they are cut.

use chronicler_domain::{AggregateId, Event, Tenant};
use chronicler_sagas::{
    Ending, Input, Next, OpenSaga, OpenStatus, Route, Routes, Saga, SagaContext, SagaStatus,
    SagaVerb, replay,
};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, settle};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script};

/// It touches an order whenever one is touched: the next one, or, if its id is no number, the same.
struct Round {
    /// This one touches its own once more, and ends with a charge.
    last: Option<u32>,
}

const ENDLESS: Round = Round { last: None };

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
        let number = ctx.id.parse::<u32>().ok();
        let is_last = number.is_some() && number == self.last;
        let next = match number.filter(|_| !is_last) {
            Some(number) => (number + 1).to_string(),
            None => ctx.id.clone(),
        };
        let touch = || Next::stay().send::<Order>("touch", &next, OrderCommand::Touch);
        match input {
            Input::Event(_) if is_last => {
                let (order, cents) = (ctx.id.clone(), 1);
                let charge = Charge::Take { order, cents };
                touch().call("charge", "gateway", &charge).complete()
            }
            Input::Event(_) => touch(),
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
    let is_cut = |saga: &&OpenSaga| saga.status == OpenStatus::Quarantined;
    let ids = all.iter().filter(is_cut).map(|saga| id(saga.id()));
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
    let done = handle.operate(&tenant, id, verb.by("ann", "it may go on"));
    done.await.unwrap();
}

/// What was cut then is cut today, and nothing else is otherwise.
async fn replays<S: Saga>(f: &Fixture, saga: &S) {
    let replayed = replay(&f.store, saga).await.unwrap();
    assert!(replayed.inputs > 30);
    assert!(
        replayed.differences.is_empty(),
        "{:?}",
        replayed.differences
    );
}

#[tokio::test]
async fn a_cycle_through_new_instances_is_cut_and_goes_on_when_it_is_released() {
    let f = fixture_with(ENDLESS).await;
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
    replays(&f, &ENDLESS).await;
}

#[tokio::test]
async fn a_cycle_through_one_instance_is_cut_and_nobody_else_is() {
    let f = fixture_with(ENDLESS).await;
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
    replays(&f, &Nest).await;
}

#[tokio::test]
async fn what_has_decided_its_end_is_not_cut() {
    let f = fixture_with(Round { last: Some(32) }).await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.order("1", OrderCommand::Touch).await;
    // The last touch comes while the charge is under way.
    for _ in 0..20 {
        settle().await;
    }
    f.gateway.inner.lock().script = Script::Honest;
    f.advance(31).await;
    f.advance(2).await;
    let (open, ids) = cut::<Round>(&f).await;
    assert_eq!((open, ids.len()), (31, 0));
    let handle = f.sagas.saga::<Round>().unwrap();
    let last = handle.get(&Tenant::default(), &id("32")).await.unwrap();
    let how = Ending::Completed;
    assert_eq!(last.status, SagaStatus::Ended { how });
}

//! Nothing on its way is lost or overtaken: what cannot be routed or taken waits, is seen, and is taken up in order.

use std::cell::Cell;
use std::sync::Arc;

use chronicler_domain::{Event, GlobalPosition, StreamId, Tenant, Timestamp};
use chronicler_runtime::{FollowerHandle, ParkedEvent, Selection, SetAside, record_parked};
use chronicler_sagas::{Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus};
use chronicler_store::{AllQuery, Append, EventLog, FactKind, SideRecord, Start};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fixture::{Fixture, fixture_with, id, next_life_with, settle};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script};

thread_local! {
    /// What is broken in this release of the watcher; each test has a thread of its own.
    static BROKEN: Cell<Option<Part>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Routes,
    /// They name what is no id.
    Ids,
    Evolve,
}

/// Counts what happens to orders, one instance for all whose names begin alike.
struct Watcher;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saw(String);

impl Event for Saw {}

impl Saga for Watcher {
    const NAME: &'static str = "watcher";
    type State = Vec<String>;
    type Event = Saw;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| {
            let is_broken = BROKEN.get() == Some(Part::Routes);
            assert!(
                !(is_broken && info.id.ends_with('1')),
                "routing broke on order {}",
                info.position
            );
            let group = info.id.split('-').next().unwrap_or_default();
            let group = match BROKEN.get() {
                Some(Part::Ids) if group == "a" => "",
                _ => group,
            };
            match event {
                OrderEvent::Touched | OrderEvent::Placed { .. } => Route::start_or_resume(group),
                _ => Route::ignore(),
            }
        });
    }

    fn on(&self, seen: &Vec<String>, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let name = |event: &OrderEvent| match event {
            OrderEvent::Placed { units, .. } => format!("{units}"),
            _ => "touched".to_owned(),
        };
        match input {
            Input::Event(_) if ctx.id == "calls" && seen.is_empty() => {
                let (order, cents) = (ctx.id.clone(), 1);
                let next = Next::stay().record(Saw("it".to_owned()));
                next.call("charge", "gateway", &Charge::Take { order, cents })
            }
            Input::Event(_) => {
                let event = input.event::<Order>().map(name).unwrap_or_default();
                Next::stay().record(Saw(event))
            }
            Input::Answer(_) => Next::stay().complete(),
            _ => Next::stay(),
        }
    }

    fn evolve(seen: &mut Vec<String>, Saw(event): &Saw) {
        assert!(BROKEN.get() != Some(Part::Evolve), "evolve broke");
        seen.push(event.clone());
    }
}

async fn place(f: &Fixture, name: &str, units: u32) {
    let cents = 1;
    f.order(name, OrderCommand::Place { units, cents }).await;
}

fn handle(f: &Fixture) -> &SagaHandle<Watcher> {
    f.sagas.saga::<Watcher>().unwrap()
}

fn follower(f: &Fixture) -> &FollowerHandle {
    handle(f).follower()
}

async fn seen(f: &Fixture, name: &str) -> Vec<String> {
    let view = handle(f).get(&Tenant::default(), &id(name)).await;
    view.unwrap().state
}

async fn parked(f: &Fixture) -> Vec<ParkedEvent> {
    follower(f).parked().await.unwrap()
}

async fn causes(f: &Fixture) -> Vec<SetAside> {
    let parked = parked(f).await.into_iter();
    parked.map(|event| event.cause).collect()
}

fn stream(name: &str) -> StreamId {
    StreamId::of("saga:watcher", name).unwrap()
}

#[tokio::test]
async fn n1_what_comes_for_an_instance_in_quarantine_waits_and_is_taken_in_order_at_its_release() {
    let f = fixture_with(Watcher).await;
    place(&f, "a-1", 1).await;
    BROKEN.set(Some(Part::Evolve));
    let f = next_life_with(f, Watcher).await;
    place(&f, "a-2", 2).await;
    place(&f, "a-3", 3).await;
    assert!(f.runtime.is_quarantined(&stream("a")));
    let waiting = parked(&f).await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!(waiting[0].cause, SetAside::Parked);
    let behind = waiting[0].position;
    assert_eq!(waiting[1].cause, SetAside::Held { behind });
    assert!(waiting[0].reason.contains("evolve broke"), "{waiting:?}");
    let listed = f.sagas.quarantined().await.unwrap();
    assert!(
        listed.iter().any(|saga| saga.stream == stream("a")),
        "{listed:?}"
    );
    // Nothing of that is forgotten by a further life, and others are not concerned.
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert_eq!(parked(&f).await.len(), 2);
    BROKEN.set(None);
    place(&f, "b-1", 7).await;
    assert_eq!(seen(&f, "b").await, ["7"]);
    let released = handle(&f).release(&Tenant::default(), &id("a"), "me").await;
    assert!(
        matches!(released, Ok(SagaStatus::Waiting { .. })),
        "{released:?}"
    );
    place(&f, "a-4", 4).await;
    settle().await;
    assert_eq!(seen(&f, "a").await, ["1", "2", "3", "4"]);
    assert!(parked(&f).await.is_empty());
}

#[tokio::test]
async fn n2_what_an_instance_in_quarantine_had_under_way_is_taken_up_at_its_release() {
    let f = fixture_with(Watcher).await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    place(&f, "calls-1", 1).await;
    let made = f.gateway.inner.lock().calls;
    BROKEN.set(Some(Part::Evolve));
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert!(f.runtime.is_quarantined(&stream("calls")));
    BROKEN.set(None);
    f.gateway.inner.lock().script = Script::Honest;
    assert!(f.runtime.release(&stream("calls")).await.unwrap());
    settle().await;
    assert!(f.gateway.inner.lock().calls > made);
    let view = handle(&f)
        .get(&Tenant::default(), &id("calls"))
        .await
        .unwrap();
    assert!(
        matches!(view.status, SagaStatus::Ended { .. }),
        "{:?}",
        view.status
    );
}

#[tokio::test]
async fn n3_an_event_whose_routing_failed_is_seen_and_taken_up_even_after_later_ones() {
    let f = fixture_with(Watcher).await;
    BROKEN.set(Some(Part::Routes));
    place(&f, "a-1", 1).await;
    f.order("a-1", OrderCommand::Touch).await;
    // Another stream of the same instance goes on.
    place(&f, "a-2", 2).await;
    assert_eq!(seen(&f, "a").await, ["2"]);
    // It was placed, confirmed by its process, and touched.
    let waiting = parked(&f).await;
    assert_eq!(waiting.len(), 3, "{waiting:?}");
    assert!(waiting[0].reason.contains("routing broke"), "{waiting:?}");
    assert_eq!(follower(&f).status().parked, 3);
    // A retry that fails again keeps it, in order, and counts.
    assert_eq!(follower(&f).retry(Selection::All).await.unwrap(), 1);
    settle().await;
    assert_eq!(parked(&f).await[0].tries, 2);
    BROKEN.set(None);
    // The next release takes it up by itself.
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert_eq!(seen(&f, "a").await, ["2", "1", "touched"]);
    assert!(parked(&f).await.is_empty());
    // Read again from the beginning, nothing is taken twice.
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert_eq!(seen(&f, "a").await, ["2", "1", "touched"]);
}

#[tokio::test]
async fn n4_what_is_parked_is_grouped_by_its_cause_and_dropped_for_good() {
    let f = fixture_with(Watcher).await;
    BROKEN.set(Some(Part::Routes));
    for group in ["a", "b", "c"] {
        place(&f, &format!("{group}-1"), 1).await;
    }
    f.order("a-1", OrderCommand::Touch).await;
    let groups = follower(&f).parked_groups().await.unwrap();
    assert_eq!(groups.len(), 1, "they differ only in a number: {groups:?}");
    // Each was confirmed, too, and one touched.
    assert_eq!(
        (groups[0].events, groups[0].held, groups[0].keys),
        (3, 4, 3)
    );
    BROKEN.set(None);
    let first = parked(&f).await[0].position;
    assert_eq!(
        follower(&f)
            .drop_parked(Selection::Event(first))
            .await
            .unwrap(),
        1
    );
    settle().await;
    // What waited for it is taken, and it never is.
    assert_eq!(seen(&f, "a").await, ["touched"]);
    let retried = follower(&f)
        .retry(Selection::Group(groups[0].fingerprint))
        .await;
    assert_eq!(retried.unwrap(), 2);
    settle().await;
    assert_eq!(seen(&f, "b").await, ["1"]);
    // Once the cursor has passed it, not even that it was dropped has to be known.
    f.advance(2).await;
    assert_eq!(causes(&f).await, []);
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert_eq!(seen(&f, "a").await, ["touched"]);
}

#[tokio::test]
async fn n3_an_event_that_was_taken_is_not_taken_again_though_it_is_routed_late() {
    let f = fixture_with(Watcher).await;
    f.order("a-1", OrderCommand::Touch).await;
    f.order("a-2", OrderCommand::Touch).await;
    f.order("a-1", OrderCommand::Touch).await;
    assert_eq!(seen(&f, "a").await.len(), 3);
    // As after a crash between the taking of an event that was parked under its stream, and the record of that.
    let (clock, at) = (f.clock.clone(), Timestamp::EPOCH);
    let event = |position| {
        let key = StreamId::of("order", "a-1").unwrap().key().into();
        let position = GlobalPosition::new(position);
        ParkedEvent::new(position, Arc::clone(&key), key, SetAside::Parked, at)
    };
    let first = f
        .store
        .read_all(AllQuery::from(Start::Position(GlobalPosition::new(1))))
        .next()
        .await;
    let first = first.unwrap().unwrap()[0].first_position().get();
    let parked_again = [event(first)];
    record_parked(&f.store, &clock, "saga:watcher", &parked_again)
        .await
        .unwrap();
    // And as an older release left it: nobody knows who has taken that one.
    let older = SideRecord::Fact {
        kind: FactKind::PARKED,
        key: [b"saga:watcher\0".as_slice(), &2_u64.to_be_bytes()]
            .concat()
            .into(),
        value: Some("no way".into()),
    };
    let append = Append::new(Uuid::from_u128(7), at).record(older);
    f.store.append(append).await.unwrap();
    let f = next_life_with(f, Watcher).await;
    settle().await;
    assert_eq!(seen(&f, "a").await.len(), 3);
    let left = parked(&f).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&*left[0].reason, left[0].position.get()), ("no way", 2));
    assert_eq!(follower(&f).retry(Selection::All).await.unwrap(), 1);
    settle().await;
    assert_eq!(seen(&f, "a").await.len(), 3);
    assert!(parked(&f).await.is_empty());
}

#[tokio::test]
async fn n3_an_event_for_what_is_no_id_is_brought_when_its_route_is_mended() {
    let f = fixture_with(Watcher).await;
    BROKEN.set(Some(Part::Ids));
    f.order("a-1", OrderCommand::Touch).await;
    f.order("b-1", OrderCommand::Touch).await;
    assert_eq!(seen(&f, "b").await, ["touched"]);
    assert!(parked(&f).await[0].reason.contains("is no saga id"));
    BROKEN.set(None);
    // Its stream is not held back.
    place(&f, "a-2", 2).await;
    assert_eq!(seen(&f, "a").await, ["2"]);
    assert_eq!(follower(&f).retry(Selection::All).await.unwrap(), 1);
    settle().await;
    assert_eq!(seen(&f, "a").await, ["2", "touched"]);
    assert!(parked(&f).await.is_empty());
}

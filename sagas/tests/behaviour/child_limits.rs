//! Children of which only so many are alive at a time: whatever becomes of them, of those who begin them, and of the limit.

use std::cell::Cell;
use std::collections::BTreeSet;

use chronicler_domain::{Event, Tenant};
use chronicler_runtime::{ManualClock, SendOptions, StopOptions};
use chronicler_sagas::{
    Answer, Ending, Input, Next, OpenStatus, Orphan, Route, Routes, Saga, SagaContext, SagaHandle,
    SagaOptions, SagaStatus, SagaVerb, SagasBuilder, StartFrom,
};
use chronicler_store::MemoryStore;
use chronicler_store::memory::CrashPoint;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, id, impatient, settle, start};
use crate::shop::{Charge, Gateway, Order, OrderCommand, OrderEvent, Script, Stock, StockCommand};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

thread_local! {
    /// How many of this release may be alive; each test has a thread of its own.
    static LIMIT: Cell<u32> = const { Cell::new(1) };
}

fn limit() -> u32 {
    LIMIT.get()
}

fn limit_to(count: u32) {
    LIMIT.set(count);
}

/// Lives until its order is confirmed. One whose name says so makes a call first, or begins a child, under the name of its own
/// limit.
struct Child;

impl Saga for Child {
    const NAME: &'static str = "child";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::resume(&info.id),
            _ => Route::ignore(),
        });
        on.child::<Child>();
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = ctx.id.clone();
        match input {
            Input::Begin(_) if order.starts_with("calls") => Next::stay()
                .call("charge", "gateway", &Charge::Take { order, cents: 1 })
                .at_most(1, "slot"),
            Input::Begin(_) if order.starts_with("begins") => Next::stay()
                .start::<Child>("own", format!("own-{order}"), &())
                .at_most(1, "slot"),
            Input::Event(_) | Input::Answer(_) => Next::stay().complete(),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// Begins three children, and has them undone by a command. What becomes of them with it is told by its name.
struct Parent;

impl Saga for Parent {
    const NAME: &'static str = "parent";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed { .. } => Route::start(&info.id),
            _ => Route::ignore(),
        });
        on.child::<Child>();
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let orphan = match ctx.id.split('-').next() {
            Some("waits") => Orphan::Wait,
            Some("leaves") => Orphan::Abandon,
            _ => Orphan::Cancel,
        };
        let begin = |n: u32| {
            let (key, child) = (format!("c{n}"), child_of(&ctx.id, n));
            let release = StockCommand::Release {
                order: child.clone(),
            };
            Next::stay()
                .start::<Child>(key, child, &())
                .undo::<Stock>("all", release)
                .at_most(limit(), "slot")
                .orphan(orphan)
        };
        match input {
            Input::Event(_) => Next::stay().together((0..3).map(begin)),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

fn child_of(parent: &str, n: u32) -> String {
    format!("{parent}-{n}")
}

async fn life(options: SagaOptions, store: MemoryStore, clock: ManualClock) -> Fixture {
    let sagas = SagasBuilder::default()
        .saga(Parent, StartFrom::Now)
        .saga(Child, StartFrom::Now);
    let f = start(options, sagas, store, Gateway::default(), clock).await;
    settle().await;
    f
}

async fn fresh(count: u32) -> Fixture {
    limit_to(count);
    life(impatient(), MemoryStore::new(), ManualClock::default()).await
}

async fn next_life(f: Fixture) -> Fixture {
    f.sagas.stop().await;
    f.runtime.stop(StopOptions::default()).await;
    life(impatient(), f.store, f.clock).await
}

fn parents(f: &Fixture) -> &SagaHandle<Parent> {
    f.sagas.saga::<Parent>().unwrap()
}

fn children(f: &Fixture) -> &SagaHandle<Child> {
    f.sagas.saga::<Child>().unwrap()
}

/// Who is alive, by name.
async fn alive(f: &Fixture) -> Vec<String> {
    let open = children(f).open().await.unwrap();
    open.iter().map(|open| open.id().to_owned()).collect()
}

async fn status<S: Saga>(handle: &SagaHandle<S>, name: &str) -> SagaStatus {
    let view = handle.get(&Tenant::default(), &id(name)).await;
    view.unwrap().status
}

async fn operate<S: Saga>(handle: &SagaHandle<S>, name: &str, verb: SagaVerb) {
    let order = verb.by("ann", "looked");
    let done = handle.operate(&Tenant::default(), &id(name), order).await;
    done.unwrap();
    settle().await;
}

/// Has a child complete.
async fn end(f: &Fixture, child: &str) {
    f.order(child, OrderCommand::Touch).await;
}

fn compensated(status: &SagaStatus) -> bool {
    let how = Ending::Compensated {
        reason: "looked".to_owned(),
    };
    *status == SagaStatus::Ended { how }
}

#[tokio::test]
async fn g2_no_more_children_are_alive_than_may_be_and_all_get_their_turn() {
    let f = fresh(1).await;
    f.place("p", 1).await;
    f.place("q", 1).await;
    for n in 0..6 {
        let now = alive(&f).await;
        assert_eq!(now.len(), 1, "{n}: {now:?}");
        end(&f, &now[0]).await;
    }
    assert!(alive(&f).await.is_empty());
    for parent in ["p", "q"] {
        for n in 0..3 {
            let child = status(children(&f), &child_of(parent, n)).await;
            let how = Ending::Completed;
            assert_eq!(child, SagaStatus::Ended { how });
        }
    }
}

#[tokio::test]
async fn g2_what_waits_for_room_is_seen_and_is_not_under_way() {
    let f = fresh(1).await;
    f.place("p", 1).await;
    let SagaStatus::Waiting { on, .. } = status(parents(&f), "p").await else {
        panic!("{:?}", status(parents(&f), "p").await)
    };
    let expected = [
        "saga child/p-0",
        r#"room at "slot" for saga child/p-1"#,
        r#"room at "slot" for saga child/p-2"#,
    ];
    assert_eq!(on, expected);
    let open = parents(&f).open().await.unwrap();
    assert_eq!(
        (open[0].status, &open[0].on[..]),
        (OpenStatus::Waiting, &expected.map(str::to_owned)[..])
    );
    let history = parents(&f).history(&Tenant::default(), &id("p")).await;
    let history = history.unwrap();
    let waits = history
        .iter()
        .filter(|line| line.event_type == "$AwaitsRoom");
    let waits: Vec<_> = waits.map(|line| line.says.as_str()).collect();
    assert_eq!(waits.len(), 2);
    assert!(waits[0].contains("saga:child/p-0"), "{waits:?}");
    assert!(f.sagas.settled().now_or_never().is_some(), "nothing moves");
}

#[tokio::test]
async fn g2_those_that_are_alive_have_their_places_first_after_a_restart_and_a_retry_gives_no_second()
 {
    let f = fresh(2).await;
    f.place("p", 1).await;
    f.place("q", 1).await;
    let before = alive(&f).await;
    assert_eq!(before.len(), 2);
    for verb in [SagaVerb::RetryNow, SagaVerb::Pause, SagaVerb::Resume] {
        for parent in ["q", "p"] {
            operate(parents(&f), parent, verb.clone()).await;
        }
        assert_eq!(alive(&f).await, before, "{verb:?}");
    }
    let f = next_life(f).await;
    assert_eq!(alive(&f).await, before);
    operate(parents(&f), "q", SagaVerb::RetryNow).await;
    end(&f, &before[0]).await;
    let after = alive(&f).await;
    assert_eq!(after.len(), 2, "one place was free, and is taken");
    assert!(after.contains(&before[1]), "{after:?}");
}

#[tokio::test]
async fn g2_a_limit_that_is_raised_or_lowered_holds_while_older_instances_are_open() {
    let f = fresh(1).await;
    f.place("old", 1).await;
    limit_to(4);
    let f = next_life(f).await;
    assert_eq!(alive(&f).await.len(), 1, "nobody has decided on it yet");
    f.place("new", 1).await;
    assert_eq!(alive(&f).await.len(), 4);
    limit_to(2);
    let f = next_life(f).await;
    f.place("last", 1).await;
    let mut now = alive(&f).await;
    assert_eq!(now.len(), 4, "nobody is ended for it");
    while now.len() > 2 {
        end(&f, &now[0]).await;
        now = alive(&f).await;
    }
    end(&f, &now[0]).await;
    assert_eq!(alive(&f).await.len(), 2, "the next one's turn came");
}

#[tokio::test]
async fn g2_a_compensation_needs_no_room_and_begins_no_child_that_waits() {
    for (name, goes_on) in [("cancels", 0), ("waits", 1), ("leaves", 1)] {
        let f = fresh(1).await;
        f.place(name, 1).await;
        operate(parents(&f), name, SagaVerb::Cancel).await;
        assert_eq!(alive(&f).await.len(), goes_on, "{name}");
        if goes_on > 0 {
            end(&f, &child_of(name, 0)).await;
            assert!(alive(&f).await.is_empty(), "{name}: no other was begun");
        }
        let status = status(parents(&f), name).await;
        assert!(compensated(&status), "{name}: {status:?}");
    }
    // Nor while another's child has all the room there is.
    let f = fresh(1).await;
    f.place("first", 1).await;
    f.place("second", 1).await;
    operate(parents(&f), "second", SagaVerb::Cancel).await;
    let second = status(parents(&f), "second").await;
    assert!(compensated(&second), "{second:?}");
    assert_eq!(alive(&f).await, ["first-0"]);
    end(&f, "first-0").await;
    assert_eq!(alive(&f).await, ["first-1"], "what was ended has no place");
}

#[tokio::test]
async fn g2_the_undo_of_a_child_needs_no_room() {
    let f = fresh(1).await;
    f.place("p", 1).await;
    end(&f, "p-0").await;
    f.place("q", 1).await;
    assert_eq!(alive(&f).await, ["p-1"]);
    operate(parents(&f), "p", SagaVerb::Cancel).await;
    let p = status(parents(&f), "p").await;
    assert!(compensated(&p), "{p:?}");
}

#[tokio::test]
async fn g2_a_person_can_skip_a_child_that_waits_and_end_its_saga() {
    let f = fresh(1).await;
    f.place("p", 1).await;
    let skip = |key: &str| SagaVerb::Skip {
        key: key.to_owned(),
        output: "null".to_owned(),
    };
    operate(parents(&f), "p", skip("c1")).await;
    let settled = SagaVerb::Settle {
        key: "c2".to_owned(),
        outcome: Answer::Done("null".to_owned()),
    };
    operate(parents(&f), "p", settled).await;
    f.place("q", 1).await;
    operate(parents(&f), "q", SagaVerb::Terminate).await;
    f.place("r", 1).await;
    end(&f, "p-0").await;
    assert_eq!(alive(&f).await, ["r-0"]);
}

#[tokio::test]
async fn g2_what_waits_holds_no_place_of_those_under_way() {
    limit_to(1);
    let mut options = impatient();
    options.under_way_max = 1;
    let f = life(options, MemoryStore::new(), ManualClock::default()).await;
    for name in ["p", "q", "r"] {
        f.place(name, 1).await;
    }
    assert_eq!(alive(&f).await, ["p-0"]);
    operate(parents(&f), "r", SagaVerb::Cancel).await;
    let r = status(parents(&f), "r").await;
    assert!(compensated(&r), "{r:?}");
}

/// Two parents, one after the other, whose process dies at a write of the first. Says whether it died.
async fn dies_at(point: CrashPoint) -> bool {
    let f = fresh(1).await;
    f.store.faults().crash_at(point);
    let (tenant, p, options) = (Tenant::default(), id("p"), SendOptions::default());
    let place = OrderCommand::Place { units: 1, cents: 1 };
    let sent = f.runtime.send::<Order>(&tenant, &p, place.clone(), options);
    drop(sent.now_or_never());
    settle().await;
    let died = f.store.faults().is_dead();
    let survivor = MemoryStore::clone(&f.store.faults().survivor());
    let f = life(impatient(), survivor, f.clock.clone()).await;
    f.place("q", 1).await;
    // One whose order was not placed is rejected, or placed now.
    let again = f
        .runtime
        .send::<Order>(&tenant, &p, place, SendOptions::default());
    drop(again.await);
    settle().await;
    let mut ended = BTreeSet::new();
    for n in 0..6 {
        let now = alive(&f).await;
        assert_eq!(now.len(), 1, "{point:?}, {n}: {now:?}");
        end(&f, &now[0]).await;
        ended.extend(now);
    }
    assert_eq!(ended.len(), 6, "{point:?}");
    assert!(alive(&f).await.is_empty(), "{point:?}");
    died
}

#[tokio::test]
async fn g2_killed_at_every_write_no_more_are_alive_than_may_be() {
    for durable in [false, true] {
        let mut write = 1;
        while dies_at(CrashPoint { write, durable }).await {
            write += 1;
        }
        assert!(write > 6, "only {write} writes were met");
    }
}

#[tokio::test]
async fn g2_a_child_that_calls_under_the_name_of_its_own_limit_does_not_wait_for_itself() {
    let f = fresh(1).await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("calls", 1).await;
    // One for the order itself, and one for the child.
    let calls = f.gateway.inner.lock().calls;
    assert_eq!(calls, 2, "calls have room of their own");
    assert_eq!(alive(&f).await, ["calls-0"]);
    // A child of its own would: that is refused, and seen.
    let f = fresh(1).await;
    f.place("begins", 1).await;
    let status = status(children(&f), "begins-0").await;
    let SagaStatus::Quarantined { reason } = &status else {
        panic!("{status:?}")
    };
    assert!(
        reason.contains("\"slot\"") && reason.contains("another name"),
        "{reason}"
    );
    operate(children(&f), "begins-0", SagaVerb::Cancel).await;
    assert_eq!(alive(&f).await, ["begins-1"], "it has given its place back");
}

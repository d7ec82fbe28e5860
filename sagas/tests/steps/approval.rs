//! A purchase that somebody has to approve.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_runtime::{ManualClock, RuntimeOptions};
use chronicler_sagas::steps::{Compensable, Define, Definition, Heard, Nil, StepSaga, Steps};
use chronicler_sagas::{Ending, Input, Route, Routes, SagaStatus, SagaVerb, SagasBuilder};
use chronicler_store::MemoryStore;

use crate::journey::act;
use crate::parts::{Part, PartEvent, Service};
use crate::world::{World, begins, settle, start_where_it_begins};

step_keys! {
    Reserve = "reserve" -> u64;
    Approved = "approved" -> String;
    Counted = "counted" -> ();
    Buy = "buy" -> u64;
}

struct Purchase;

impl StepSaga for Purchase {
    const NAME: &'static str = "purchase";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Part>(|event, info| match event {
            event if begins(event) => Route::start(&info.id),
            PartEvent::Did(what) if !what.contains(' ') => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn heard(event: &Input, _: &()) -> Heard {
        match event.event::<Part>() {
            Some(PartEvent::Did(what)) if what == "counted" => Heard::signal(Counted, &()),
            Some(PartEvent::Did(what)) => match what.strip_prefix("approved-by-") {
                Some(who) => Heard::signal(Approved, &who.to_owned()),
                None => Heard::Nothing,
            },
            _ => Heard::Nothing,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Reserve,
                |_| act("stock", "reserve it"),
                |_, _| act("stock", "reserve it not"),
            )
            .wait_for(Approved)
            .within(Duration::from_secs(3_600))
            .escalate_after(Duration::from_secs(1_800))
            .wait_for(Counted)
            .pivot(Buy, |seen| {
                act("shop", format!("buy for {}", seen.output(Approved)))
            })
            .build()
    }
}

#[tokio::test]
async fn m60_signals_count_in_any_order_and_once() {
    for signals in [
        ["approved-by-ann", "approved-by-bob", "counted"],
        ["counted", "approved-by-ann", "approved-by-bob"],
        ["approved-by-ann", "counted", "counted"],
    ] {
        let world = World::<Purchase>::new().await;
        world.begin("p").await;
        assert!(matches!(
            world.status("p").await,
            SagaStatus::Waiting { .. }
        ));
        for signal in signals {
            world.did_something("p", signal).await;
        }
        let completed = SagaStatus::Ended {
            how: Ending::Completed,
        };
        assert_eq!(world.status("p").await, completed, "{signals:?}");
        let words = world.words().await;
        let bought: Vec<_> = words
            .iter()
            .filter(|word| word.starts_with("buy"))
            .collect();
        assert_eq!(bought, ["buy for ann"], "{signals:?}");
        assert!(world.view("p").await.timers.is_empty());
    }
}

#[tokio::test]
async fn m56_a_signal_that_does_not_come_in_time_undoes_what_was_done() {
    let world = World::<Purchase>::new().await;
    world.begin("p").await;
    let world: World<Purchase> = world.restart().await;
    world.advance(3_601).await;
    let reason = "step \"approved\" took too long".to_owned();
    let ended = SagaStatus::Ended {
        how: Ending::Compensated { reason },
    };
    assert_eq!(world.status("p").await, ended);
    assert_eq!(world.words().await, ["reserve it", "reserve it not"]);
    // Too late is too late.
    world.did_something("p", "approved-by-ann").await;
    assert_eq!(world.status("p").await, ended);
}

#[tokio::test]
async fn instances_that_wait_cost_no_actor_and_wake_when_something_comes() {
    let mut options = RuntimeOptions::default();
    options.warm_max = 0;
    let (store, service) = (MemoryStore::new(), Service::default());
    let (sagas, clock) = (SagasBuilder::default(), ManualClock::default());
    let world = World::<Purchase>::with_options(sagas, options, store, service, clock).await;
    let names: Vec<_> = (0..50).map(|number| format!("p{number}")).collect();
    for name in &names {
        world.begin(name).await;
    }
    assert_eq!(world.handle().awake(), 0);
    assert_eq!(world.handle().open().await.unwrap().len(), 50);
    assert_eq!(world.handle().awake(), 0, "listing wakes nobody");
    for name in &names {
        world.did_something(name, "approved-by-ann").await;
        world.did_something(name, "counted").await;
    }
    for name in &names {
        let how = Ending::Completed;
        assert_eq!(world.status(name).await, SagaStatus::Ended { how });
    }
    let bought = world.words().await;
    let bought = bought.iter().filter(|word| *word == "buy for ann");
    assert_eq!(bought.count(), 50);
    settle().await;
    assert_eq!(world.handle().awake(), 0);
}

#[tokio::test]
async fn what_is_told_while_the_disk_is_slow_sleeps_when_it_is_durable() {
    let mut options = RuntimeOptions::default();
    options.warm_max = 0;
    let (store, service) = (MemoryStore::new(), Service::default());
    let (sagas, clock) = (SagasBuilder::default(), ManualClock::default());
    let world = World::<Purchase>::with_options(sagas, options, store, service, clock).await;
    world.begin("p").await;
    let faults = world.store.faults();
    faults.hold();
    world.advance(1_800).await;
    assert_eq!(world.handle().awake(), 1, "it is not durable yet");
    faults.release();
    settle().await;
    assert_eq!(world.handle().awake(), 0);
    assert!(world.view("p").await.escalated.is_some());
}

#[tokio::test]
async fn m36_what_a_person_was_shown_is_over_when_the_step_is_given_up() {
    for gives_up in [Some(1_801), None] {
        let world = World::<Purchase>::new().await;
        world.refuse("stock", &["reserve it not"]).await;
        world.begin("p").await;
        world.advance(1_800).await;
        assert!(world.view("p").await.escalated.is_some());
        match gives_up {
            Some(seconds) => world.advance(seconds).await,
            None => world.cancel("p").await.unwrap(),
        }
        let seen = world.view("p").await;
        assert!(matches!(seen.status, SagaStatus::CompensationStuck { .. }));
        assert_eq!(seen.escalated, None);
    }
}

/// A purchase that no event begins: each is quarantined before it has begun.
struct Unbegun;

impl StepSaga for Unbegun {
    const NAME: &'static str = "unbegun";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        start_where_it_begins(on);
    }

    fn begin(_: &Input) -> Option<()> {
        None
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .wait_for(Approved)
            .within(Duration::from_secs(3_600))
            .pivot(Buy, |_| act("shop", "buy"))
            .build()
    }
}

#[tokio::test]
async fn m60_a_signal_that_no_step_could_ever_take_is_refused_before_the_saga_has_begun() {
    let world = World::<Unbegun>::new().await;
    world.begin("p").await;
    let signal = |name: &str, payload: &str| SagaVerb::Signal {
        name: name.to_owned(),
        payload: payload.to_owned(),
    };
    for (name, payload) in [("aproved", "\"ann\""), ("approved", "17")] {
        let refused = world.operate("p", signal(name, payload)).await;
        assert!(refused.unwrap_err().contains("signal"), "{name} {payload}");
        assert_eq!(world.view("p").await.stalled, 1, "{name} {payload}");
    }
    world
        .operate("p", signal("approved", "\"ann\""))
        .await
        .unwrap();
    assert_eq!(world.view("p").await.stalled, 2);
}

//! Instances that live long continue as new: what they knew is forgotten, and what is under way goes on.

use std::time::Duration;

use chronicler_domain::{Event, Tenant};
use chronicler_sagas::{
    EffectState, Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus, SagaVerb,
    SagaView, replay,
};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, next_life_with, settle};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script, Stock, StockCommand};

/// What it does is told by the first word of the id, and by how often it was touched in its life.
struct Lodger;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stay {
    life: u32,
    touches: u32,
    answers: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Noted {
    Touched,
    Answered,
    Began { life: u32 },
}

impl Event for Noted {}

impl Saga for Lodger {
    const NAME: &'static str = "lodger";
    type State = Stay;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, stay: &Stay, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = || ctx.id.clone();
        let life = stay.life + 1;
        let anew = |next: Next<Self>| next.continue_as_new(Noted::Began { life });
        let word = ctx.id.split('-').next().unwrap_or_default();
        match (word, stay.touches, input) {
            ("stays", 0..3, Input::Event(_)) => Next::stay()
                .record(Noted::Touched)
                .send::<Stock>(
                    "reserve",
                    "all",
                    StockCommand::Reserve {
                        order: order(),
                        units: 1,
                    },
                )
                .undo::<Stock>("all", StockCommand::Release { order: order() })
                .timer("leaves", Duration::from_secs(60)),
            ("pays", 0, Input::Event(_)) => {
                let (take, back) = (
                    Charge::Take {
                        order: order(),
                        cents: 5,
                    },
                    Charge::GiveBack { order: order() },
                );
                Next::stay()
                    .record(Noted::Touched)
                    .call("charge", "gateway", &take)
                    .undo_call("gateway", &back, &back)
                    .patience(Duration::from_secs(600))
            }
            ("ends", 1, Input::Event(_)) => anew(Next::stay()).complete(),
            ("undoes", 1, Input::Event(_)) => anew(Next::stay().compensate("no")),
            ("pivots", 0, Input::Event(_)) => Next::stay().record(Noted::Touched).pivot(),
            (_, 0, Input::Event(_)) => Next::stay().record(Noted::Touched),
            (_, _, Input::Event(_)) => anew(Next::stay()),
            (_, _, Input::Answer(_)) => Next::stay().record(Noted::Answered),
            (_, _, Input::Timer(_)) => Next::stay().compensate("it leaves"),
            _ => Next::stay(),
        }
    }

    fn evolve(stay: &mut Stay, event: &Noted) {
        match event {
            Noted::Touched => stay.touches += 1,
            Noted::Answered => stay.answers += 1,
            Noted::Began { life } => stay.life = *life,
        }
    }
}

async fn touched(name: &str, times: usize) -> Fixture {
    let f = fixture_with(Lodger).await;
    for _ in 0..times {
        f.order(name, OrderCommand::Touch).await;
    }
    f
}

fn handle(f: &Fixture) -> &SagaHandle<Lodger> {
    f.sagas.saga::<Lodger>().unwrap()
}

async fn view(f: &Fixture, name: &str) -> SagaView<Lodger> {
    handle(f).get(&Tenant::default(), &id(name)).await.unwrap()
}

const SECOND: Stay = Stay {
    life: 1,
    touches: 0,
    answers: 0,
};

#[tokio::test]
async fn e5_an_instance_that_continues_as_new_forgets_what_it_knew_and_what_is_done() {
    let f = touched("stays", 4).await;
    let before = view(&f, "stays").await;
    assert_eq!(before.state, SECOND);
    assert_eq!(before.effects, [], "all three were done");
    assert_eq!(before.timers.len(), 1, "timers are carried over");
    let replayed = replay(&f.store, &Lodger).await.unwrap();
    assert_eq!(replayed.differences, []);
    // Folded from its journal it is the same.
    let f = next_life_with(f, Lodger).await;
    settle().await;
    let after = view(&f, "stays").await;
    assert_eq!(
        (&after.state, &after.timers),
        (&before.state, &before.timers)
    );
    assert_eq!(after.effects, []);
    // The effects of the new life are others than those of the old one: each is done.
    f.order("stays", OrderCommand::Touch).await;
    assert_eq!(f.stock().await.reserved["stays"], 4);
    // And of what was done, only they are taken back: one undo was sent.
    f.advance(61).await;
    let view = view(&f, "stays").await;
    assert!(
        matches!(view.status, SagaStatus::Ended { .. }),
        "{:?}",
        view.status
    );
    let history = handle(&f)
        .history(&Tenant::default(), &id("stays"))
        .await
        .unwrap();
    let of_type = |name: &str| {
        history
            .iter()
            .filter(|line| line.event_type == name)
            .count()
    };
    assert_eq!(of_type("$Undone"), 1);
    assert_eq!(of_type("$ContinuedAsNew"), 1);
    assert_eq!(of_type("$Decided"), 4, "its whole history is told");
}

#[tokio::test]
async fn e5_what_is_under_way_is_carried_over_with_its_undo() {
    let f = fixture_with(Lodger).await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.order("pays", OrderCommand::Touch).await;
    f.order("pays", OrderCommand::Touch).await;
    let carried = view(&f, "pays").await;
    assert_eq!(carried.state, SECOND);
    assert!(matches!(
        carried.effects.first().map(|effect| &effect.state),
        Some(EffectState::Pending { .. })
    ));
    // The next life makes the call again, under the same key, and the answer comes to the new state.
    f.gateway.inner.lock().script = Script::Honest;
    let f = next_life_with(f, Lodger).await;
    settle().await;
    let answered = view(&f, "pays").await;
    assert_eq!(answered.state.answers, 1);
    assert_eq!(f.charges("pays"), (5, 0));
    let (tenant, name) = (Tenant::default(), id("pays"));
    let cancelled = handle(&f).operate(&tenant, &name, SagaVerb::Cancel.by("ann", ""));
    cancelled.await.unwrap();
    settle().await;
    assert_eq!(f.charges("pays"), (5, 1));
}

#[tokio::test]
async fn e5_an_instance_that_continues_as_new_cannot_end_or_compensate_with_that() {
    for name in ["ends", "undoes"] {
        let f = touched(name, 2).await;
        let view = view(&f, name).await;
        let SagaStatus::Quarantined { reason } = &view.status else {
            panic!("{:?}", view.status)
        };
        assert!(reason.contains("continue as new"), "{reason}");
        assert_eq!(view.state.touches, 1, "nothing of it is taken");
    }
}

#[tokio::test]
async fn e5_a_pivot_of_the_old_life_counts_no_more() {
    let f = touched("pivots", 1).await;
    assert!(view(&f, "pivots").await.pivoted);
    let cancel = || async {
        let (tenant, name) = (Tenant::default(), id("pivots"));
        let done = handle(&f).cancel(&tenant, &name, "enough", "ann").await;
        settle().await;
        done
    };
    assert!(cancel().await.unwrap_err().is_refusal());
    f.order("pivots", OrderCommand::Touch).await;
    assert!(!view(&f, "pivots").await.pivoted);
    cancel().await.unwrap();
}

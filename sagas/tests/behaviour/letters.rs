//! A saga that decides its pivot itself, and writes a letter at the end of a compensation.

use chronicler_domain::{Event, Tenant};
use chronicler_sagas::{
    Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus,
};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script};

/// What it does is told by the id: `twice` wants both its pivot and compensation, `pivot` calls its pivot, and the
/// others only write a letter when they are undone.
struct Letters;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

fn call(next: Next<Letters>, key: &str, order: &str) -> Next<Letters> {
    let cents = 1;
    let order = order.to_owned();
    next.call(key, "gateway", &Charge::Take { order, cents })
}

impl Saga for Letters {
    const NAME: &'static str = "letters";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        match (input, ctx.id.as_str()) {
            (Input::Event(_), "twice") => call(Next::stay(), "pivot", &ctx.id)
                .pivoting()
                .compensate("both"),
            (Input::Event(_), "pivot") => call(Next::stay(), "pivot", &ctx.id).pivoting(),
            (Input::Event(_), _) => Next::stay().compensate("at once"),
            (Input::Answer(_), _) => Next::stay().complete(),
            (Input::Compensated { .. }, _) => call(Next::stay(), "letter", &ctx.id),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

async fn begun(name: &str, script: Script) -> Fixture {
    let f = fixture_with(Letters).await;
    f.gateway.inner.lock().script = script;
    f.order(name, OrderCommand::Touch).await;
    f
}

fn handle(f: &Fixture) -> &SagaHandle<Letters> {
    f.sagas.saga::<Letters>().unwrap()
}

async fn status(f: &Fixture, name: &str) -> SagaStatus {
    let view = handle(f).get(&Tenant::default(), &id(name)).await;
    view.unwrap().status
}

#[tokio::test]
async fn m26_a_call_at_the_end_of_a_compensation_is_tried_again() {
    let f = begun("o", Script::LosesReplies).await;
    assert_eq!(f.gateway.inner.lock().calls, 1);
    f.gateway.inner.lock().script = Script::Honest;
    f.advance(2).await;
    assert_eq!(f.gateway.inner.lock().calls, 2);
    let reason = "at once".to_owned();
    assert_eq!(
        status(&f, "o").await,
        SagaStatus::Ended {
            how: Ending::Compensated { reason }
        }
    );
}

#[tokio::test]
async fn a_decision_for_its_pivot_and_against_it_quarantines_and_sends_nothing() {
    let f = begun("twice", Script::Honest).await;
    let SagaStatus::Quarantined { reason } = status(&f, "twice").await else {
        panic!("{:?}", status(&f, "twice").await)
    };
    assert!(reason.contains("pivot"), "{reason}");
    assert_eq!(f.gateway.inner.lock().calls, 0);
}

#[tokio::test]
async fn m76_a_pivot_of_which_nobody_knows_waits_for_a_person_and_cannot_be_cancelled() {
    let f = begun("pivot", Script::LosesReplies).await;
    for _ in 0..5 {
        f.advance(2).await;
    }
    assert!(matches!(
        status(&f, "pivot").await,
        SagaStatus::Parked { .. }
    ));
    let (tenant, name) = (Tenant::default(), id("pivot"));
    let refused = handle(&f)
        .cancel(&tenant, &name, "no", "ann")
        .await
        .unwrap_err();
    assert!(
        refused.is_refusal() && refused.to_string().contains("pivot"),
        "{refused}"
    );
    // Asked once more, the service says what became of it.
    f.gateway.inner.lock().script = Script::Honest;
    handle(&f).retry_now(&tenant, &name, "ann").await.unwrap();
    f.advance(1).await;
    assert_eq!(
        status(&f, "pivot").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.charges("pivot"), (1, 0), "one charge");
}

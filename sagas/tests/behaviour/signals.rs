//! Signals that a reactive saga takes at one time, and refuses at another.

use chronicler_domain::{Event, Tenant};
use chronicler_sagas::{
    Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus, SagaVerb,
};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, next_life_with, settle};
use crate::shop::{Order, OrderCommand, OrderEvent};

/// Takes orders until it has two.
struct Counter;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Counted {
    Touched,
    Told(String),
}

impl Event for Counted {}

impl Saga for Counter {
    const NAME: &'static str = "counter";
    type State = Vec<String>;
    type Event = Counted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, heard: &Vec<String>, input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => Next::stay().record(Counted::Touched),
            Input::Signal(_) if heard.len() > 1 => Next::refuse("the counter is shut"),
            Input::Signal(message) => Next::stay().record(Counted::Told(message.name().to_owned())),
            _ => Next::stay(),
        }
    }

    fn evolve(heard: &mut Vec<String>, event: &Counted) {
        heard.push(match event {
            Counted::Touched => "touched".to_owned(),
            Counted::Told(name) => name.clone(),
        });
    }
}

fn handle(f: &Fixture) -> &SagaHandle<Counter> {
    f.sagas.saga::<Counter>().unwrap()
}

async fn operate(f: &Fixture, verb: SagaVerb) -> Result<SagaStatus, String> {
    let order = verb.by("ann", "why not");
    let done = handle(f).operate(&Tenant::default(), &id("c"), order).await;
    settle().await;
    done.map_err(|error| error.to_string())
}

fn signal(name: &str) -> SagaVerb {
    SagaVerb::Signal {
        name: name.to_owned(),
        payload: "null".to_owned(),
    }
}

#[tokio::test]
async fn g4_a_signal_that_waited_and_is_refused_in_its_turn_is_recorded_and_quarantines_nobody() {
    let f = fixture_with(Counter).await;
    f.order("c", OrderCommand::Touch).await;
    operate(&f, SagaVerb::Pause).await.unwrap();
    // As it is now it would take it; when its turn comes it has heard more.
    f.order("c", OrderCommand::Touch).await;
    operate(&f, signal("late")).await.unwrap();
    f.order("c", OrderCommand::Touch).await;
    let status = operate(&f, SagaVerb::Resume).await.unwrap();
    assert!(matches!(status, SagaStatus::Waiting { .. }), "{status:?}");
    let (tenant, c) = (Tenant::default(), id("c"));
    let view = handle(&f).get(&tenant, &c).await.unwrap();
    assert_eq!(view.state, ["touched", "touched", "touched"]);
    assert_eq!(view.stalled, 0);
    let history = handle(&f).history(&tenant, &c).await.unwrap();
    let refused = history
        .iter()
        .find(|line| line.event_type == "$SignalRefused");
    let says = &refused.unwrap().says;
    assert!(says.contains("late") && says.contains("is shut"), "{says}");
    // Whoever says it now is told, and a recovery sees what was.
    let said = operate(&f, signal("later")).await.unwrap_err();
    assert!(said.contains("is shut"), "{said}");
    let f = next_life_with(f, Counter).await;
    f.order("c", OrderCommand::Touch).await;
    let view = handle(&f).get(&tenant, &c).await.unwrap();
    assert_eq!(view.state.len(), 4);
}

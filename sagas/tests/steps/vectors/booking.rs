//! Apache ServiceComb Pack: a car, a hotel, and a booking that may take too long.

use chronicler_sagas::step_keys;
use std::collections::BTreeMap;
use std::time::Duration;

use chronicler_domain::{Aggregate, Context, Decided, Event};
use chronicler_sagas::steps::{
    Compensable, Define, Definition, Nil, StepSaga, Steps, to, to_service,
};
use chronicler_sagas::{EffectState, Ending, Input, Routes, SagaStatus, UndoState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::{World, start_where_it_begins};

/// Cars or rooms under one name. There are two rooms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reservation {
    amount: u64,
    confirmed: bool,
    cancelled: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ReservationCommand {
    Reserve { amount: u64, of: u64 },
    Cancel,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ReservationEvent {
    Reserved { amount: u64 },
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("there are not so many")]
pub(crate) struct TooMany;

impl Event for ReservationEvent {}

impl Aggregate for Reservation {
    const CATEGORY: &'static str = "reservation";
    type Command = ReservationCommand;
    type Event = ReservationEvent;
    type Reply = ();
    type Rejection = TooMany;

    fn decide(&self, command: ReservationCommand, _: &Context) -> Decided<Self> {
        match command {
            ReservationCommand::Reserve { amount, of } if amount > of => Err(TooMany),
            ReservationCommand::Reserve { amount, .. } => {
                Ok(ReservationEvent::Reserved { amount }.into())
            }
            ReservationCommand::Cancel => Ok(ReservationEvent::Cancelled.into()),
        }
    }

    fn evolve(&mut self, event: &ReservationEvent) {
        match event {
            ReservationEvent::Reserved { amount } => {
                (self.amount, self.confirmed) = (*amount, true);
            }
            ReservationEvent::Cancelled => (self.confirmed, self.cancelled) = (false, true),
        }
    }
}

step_keys! {
    Car = "car" -> ();
    Hotel = "hotel" -> ();
    Finish = "finish" -> usize;
    Sure = "sure" -> ();
}

struct Booking;

impl StepSaga for Booking {
    const NAME: &'static str = "booking";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        start_where_it_begins(on);
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Car,
                |seen| {
                    let amount = if seen.id() == "five" { 5 } else { 2 };
                    to::<Reservation>("car", ReservationCommand::Reserve { amount, of: 9 })
                },
                |_, ()| to::<Reservation>("car", ReservationCommand::Cancel),
            )
            .step(
                Hotel,
                |seen| {
                    let amount = if seen.id() == "five" { 5 } else { 1 };
                    to::<Reservation>("hotel", ReservationCommand::Reserve { amount, of: 2 })
                },
                |_, ()| to::<Reservation>("hotel", ReservationCommand::Cancel),
            )
            .external::<Finish, String>(
                Finish,
                |_| to_service("service", &"finish"),
                |_, _| to_service("service", &"finish not"),
            )
            .within(Duration::from_secs(5))
            .pivot_here(Sure)
            .build()
    }
}

pub(super) async fn hold(name: &str, case: &Value) {
    let world = World::<Booking>::new().await;
    let id = if case["state"]["car"]["amount"] == 5 {
        "five"
    } else {
        "two"
    };
    if name.ends_with("timeout") {
        world.service.0.lock().loses = vec!["finish".to_owned()];
    }
    world.begin(id).await;
    world.advance(6).await;
    assert_eq!(log(&world, id).await, case["log"], "{name}");
    for (part, wanted) in case["state"].as_object().unwrap() {
        let state = world.look::<Reservation>(part).await;
        let has = BTreeMap::from([
            ("amount", json!(state.amount)),
            ("confirmed", json!(state.confirmed)),
            ("cancelled", json!(state.cancelled)),
        ]);
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(&has[field.as_str()], value, "{name}: {field} of {part}");
        }
    }
}

/// What happened to the saga in the words of that project. What is outside belongs to the booking itself.
async fn log(world: &World<Booking>, id: &str) -> Value {
    let view = world.view(id).await;
    let mut log = vec![json!(["booking", "SagaStarted"])];
    let mut aborted = false;
    for effect in view
        .effects
        .iter()
        .filter(|effect| !effect.spec.request.is_call())
    {
        log.push(json!([effect.spec.key, "TxStarted"]));
        let is_done = effect.state == EffectState::Done;
        aborted |= !is_done;
        log.push(json!([
            effect.spec.key,
            if is_done { "TxEnded" } else { "TxAborted" }
        ]));
    }
    match &view.status {
        SagaStatus::Ended {
            how: Ending::Completed,
        } => {
            assert!(!aborted);
            log.push(json!(["booking", "SagaEnded"]));
        }
        SagaStatus::Ended {
            how: Ending::Compensated { .. },
        } => {
            log.push(json!(["booking", "TxAborted"]));
            for part in world.cancelled().await {
                let effect = view.effects.iter().find(|effect| effect.spec.key == part);
                assert_eq!(effect.unwrap().undo, UndoState::Undone);
                log.push(json!([part, "TxCompensated"]));
            }
            log.push(json!(["*", "SagaEnded"]));
        }
        other => panic!("{other:?}"),
    }
    log.into()
}

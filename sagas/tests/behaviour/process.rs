//! The order process: reserve, charge, confirm.

use std::time::Duration;

use chronicler_domain::Event;
use chronicler_sagas::{Answer, Input, Next, Route, Routes, Saga, SagaContext};
use serde::{Deserialize, Serialize};

use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Stock, StockCommand};

#[derive(Default)]
pub(crate) struct Fulfil;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) cents: u32,
    pub(crate) reserved: bool,
    pub(crate) touched: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Did {
    Began { cents: u32 },
    Reserved,
    Touched,
}

impl Event for Did {}

impl Saga for Fulfil {
    const NAME: &'static str = "fulfil";
    type State = Progress;
    type Event = Did;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed { .. } if info.id == "unroutable" => panic!("cannot be routed"),
            OrderEvent::Placed { .. } => Route::start(&info.id),
            OrderEvent::Touched => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, state: &Progress, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = &ctx.id;
        if let Some(event) = input.event::<Order>() {
            return match event {
                OrderEvent::Placed { units, cents } => Next::stay()
                    .record(Did::Began { cents: *cents })
                    .timer("patience", Duration::from_secs(900))
                    .send::<Stock>(
                        "reserve",
                        "all",
                        StockCommand::Reserve {
                            order: order.clone(),
                            units: *units,
                        },
                    )
                    .undo::<Stock>(
                        "all",
                        StockCommand::Release {
                            order: order.clone(),
                        },
                    ),
                OrderEvent::Touched if order == "poison" && state.touched == 1 => {
                    panic!("touched once too often")
                }
                OrderEvent::Touched => Next::stay().record(Did::Touched),
                _ => Next::stay(),
            };
        }
        if let Some(outcome) = input.answer() {
            return match outcome.key() {
                "reserve" if outcome.is_done() => {
                    let take = Charge::Take {
                        order: order.clone(),
                        cents: state.cents,
                    };
                    let back = Charge::GiveBack {
                        order: order.clone(),
                    };
                    Next::stay()
                        .record(Did::Reserved)
                        .call("charge", "gateway", &take)
                        .undo_call("gateway", &back, &back)
                }
                "reserve" => Next::stay().compensate("out of stock"),
                "charge" => match outcome.call::<(), String>().unwrap() {
                    Answer::Done(()) => Next::stay().cancel_timer("patience").send::<Order>(
                        "confirm",
                        order,
                        OrderCommand::Confirm,
                    ),
                    Answer::Rejected(reason) => Next::stay().compensate(reason),
                    Answer::Unknown(reason) => Next::stay().compensate(reason),
                },
                "confirm" if outcome.is_done() => Next::stay().pivot().complete(),
                "confirm" => Next::stay().compensate("not confirmed"),
                _ => Next::stay(),
            };
        }
        match input {
            Input::Timer(_) => Next::stay().compensate("time-out"),
            Input::Compensated { .. } => {
                Next::stay().send::<Order>("reject", order, OrderCommand::Reject)
            }
            _ => Next::stay(),
        }
    }

    fn evolve(state: &mut Progress, event: &Did) {
        match event {
            Did::Began { cents } => state.cents = *cents,
            Did::Reserved => state.reserved = true,
            Did::Touched => state.touched += 1,
        }
    }
}

//! The process of a return: restock every line, pay out its value, settle it.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Charge, GoodsReturn, GoodsReturnCommand, GoodsReturnEvent, Inventory, InventoryCommand, Parcel,
    Payment, PaymentCommand,
};

/// How money is said to be given for returned goods.
const PAID_OUT: &str = "return";

/// The process of a return.
pub struct ReturnHandling;

/// What the process remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ReturnHandlingEvent {
    /// So many answers are waited for.
    Begun {
        pending: usize,
    },
    Answered,
}

impl Event for ReturnHandlingEvent {}

/// What the process knows: how many answers it waits for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReturnHandlingState {
    pending: usize,
}

impl Saga for ReturnHandling {
    const NAME: &'static str = "return-handling";
    type State = ReturnHandlingState;
    type Event = ReturnHandlingEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<GoodsReturn>(|event, info| match event {
            GoodsReturnEvent::Received(_) => Route::start(&info.id),
            GoodsReturnEvent::Settled => Route::ignore(),
        });
    }

    fn on(&self, state: &ReturnHandlingState, input: &Input, ctx: &SagaContext) -> Next<Self> {
        if let Some(GoodsReturnEvent::Received(parcel)) = input.event::<GoodsReturn>() {
            return give_back(&ctx.id, parcel);
        }
        let Some(outcome) = input.answer() else {
            return Next::stay();
        };
        // Nothing that a return asks for is ever refused.
        if !outcome.is_done() {
            return Next::stay().fail(format!("{} was refused", outcome.key()));
        }
        let next = Next::stay().record(ReturnHandlingEvent::Answered);
        match (outcome.key(), state.pending) {
            ("settle", _) => next.complete(),
            (_, 1) => next.send::<GoodsReturn>("settle", &ctx.id, GoodsReturnCommand::Settle),
            _ => next,
        }
    }

    fn evolve(state: &mut ReturnHandlingState, event: &ReturnHandlingEvent) {
        match event {
            ReturnHandlingEvent::Begun { pending } => state.pending = *pending,
            ReturnHandlingEvent::Answered => state.pending = state.pending.saturating_sub(1),
        }
    }
}

fn give_back(id: &str, parcel: &Parcel) -> Next<ReturnHandling> {
    let stocked = (0..).zip(&parcel.lines).filter(|(_, line)| line.stocked);
    let pending = stocked.clone().count() + 1;
    let next = Next::stay().record(ReturnHandlingEvent::Begun { pending });
    let next = stocked.fold(next, |next, (place, line)| {
        let command = InventoryCommand::Restock {
            message: parcel.message.clone(),
            line: place,
            quantity: line.quantity,
        };
        next.send::<Inventory>(format!("restock-{place}"), &line.sku, command)
    });
    let charge = Charge {
        order: parcel.order.clone(),
        kind: PAID_OUT.to_owned(),
        amount: parcel.value(),
        region: None,
    };
    let pay_out = PaymentCommand::PayOut {
        charge,
        at: parcel.at,
    };
    next.send::<Payment>("pay-out", format!("return {id}"), pay_out)
}

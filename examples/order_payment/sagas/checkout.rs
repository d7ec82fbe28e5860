//! The process of an order that is worked off at once: reserve every line, authorize and capture every payment,
//! confirm, ship, deliver.
//!
//! Until it is confirmed, a shortage, a decline, a time-out or the customer's change of mind gives back what was
//! taken, the latest first. After that it only goes forward.

use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::sagas::Outcome;
use serde::{Deserialize, Serialize};

use super::steps::{authorize, capture, commit_lines, reserve, stocked};
use crate::domain::{
    Order, OrderCommand, OrderEvent, PaymentPlan, Placement, Process, RejectReason, Shipment,
    ShipmentCommand,
};
use crate::gateway::{Declined, GATEWAY, GatewayReply, GatewayRequest};

/// How many cards a customer tries before the payment counts as declined.
const CARDS_MAX: u32 = 3;

/// The process of an order that is worked off at once.
pub(crate) struct Checkout;

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Reserving line after line.
    #[default]
    Reserving,
    /// The gateway takes the money, where there is one.
    Charging,
    Authorizing,
    Capturing,
    Confirming,
    /// Past the point of no return.
    Shipping,
    Delivering,
    Closing,
    Ended,
}

/// What the process remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CheckoutEvent {
    Placed {
        placement: Arc<Placement>,
    },
    /// A stage was entered, with so many answers to wait for.
    Entered {
        stage: Stage,
        pending: usize,
    },
    /// A line is being reserved.
    LineTaken {
        place: u32,
    },
    Answered,
    /// A card was declined; the next one is tried.
    CardDeclined,
    /// It cannot be carried out.
    GivenUp {
        why: WhyNot,
    },
}

impl Event for CheckoutEvent {}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WhyNot {
    Rejected(RejectReason),
    Canceled,
}

/// What the process knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CheckoutState {
    placement: Option<Arc<Placement>>,
    stage: Stage,
    pending: usize,
    /// The line from which on none was reserved yet.
    next_line: u32,
    given_up: Option<WhyNot>,
}

impl Saga for Checkout {
    const NAME: &'static str = "checkout";
    type State = CheckoutState;
    type Event = CheckoutEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed(placement) if placement.process != Process::AsReported => {
                Route::start(&info.id)
            }
            OrderEvent::CancelAsked => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, state: &CheckoutState, input: &Input, ctx: &SagaContext) -> Next<Self> {
        match input {
            Input::Compensated { .. } => {
                let command = match state.given_up.clone() {
                    Some(WhyNot::Rejected(reason)) => OrderCommand::Reject { reason },
                    Some(WhyNot::Canceled) | None => OrderCommand::Cancel,
                };
                Next::stay().send::<Order>("end", &ctx.id, command)
            }
            Input::Outcome(outcome) if outcome.is_done() => {
                state.go_on(&ctx.id, CheckoutEvent::Answered)
            }
            Input::Outcome(outcome) => state.refused(&ctx.id, outcome),
            _ => match input.event::<Order>() {
                Some(OrderEvent::Placed(placement)) => {
                    let placement = Arc::new(placement.clone());
                    state.go_on(&ctx.id, CheckoutEvent::Placed { placement })
                }
                Some(OrderEvent::CancelAsked) => state.give_up(WhyNot::Canceled),
                _ => Next::stay(),
            },
        }
    }

    fn evolve(state: &mut CheckoutState, event: &CheckoutEvent) {
        match event {
            CheckoutEvent::Placed { placement } => state.placement = Some(Arc::clone(placement)),
            CheckoutEvent::Entered { stage, pending } => {
                (state.stage, state.pending) = (*stage, *pending);
            }
            CheckoutEvent::LineTaken { place } => {
                (state.next_line, state.pending) = (place + 1, 1);
            }
            CheckoutEvent::Answered => state.pending = state.pending.saturating_sub(1),
            CheckoutEvent::CardDeclined => {}
            CheckoutEvent::GivenUp { why } => state.given_up = Some(why.clone()),
        }
    }
}

impl CheckoutState {
    /// Takes something in, and goes as far as it can.
    fn go_on(&self, order: &str, heard: CheckoutEvent) -> Next<Checkout> {
        let mut now = self.clone();
        Checkout::evolve(&mut now, &heard);
        let mut next = Next::stay().record(heard);
        while now.pending == 0
            && let Some((entered, work)) = now.upcoming(order)
        {
            Checkout::evolve(&mut now, &entered);
            next = next.record(entered).and(work);
        }
        next
    }

    /// Something was refused, or its outcome cannot be known.
    fn refused(&self, order: &str, outcome: &Outcome) -> Next<Checkout> {
        let (Some(placement), None) = (self.placement.as_deref(), &self.given_up) else {
            return Next::stay();
        };
        let key = outcome.key();
        if self.stage >= Stage::Shipping {
            return Next::stay().fail(format!("{key} was refused after the order was confirmed"));
        }
        if let Some(place) = key.strip_prefix("reserve-") {
            let line = place
                .parse()
                .ok()
                .and_then(|at: usize| placement.lines.get(at));
            let sku = line.map(|line| line.sku.clone()).unwrap_or_default();
            return self.give_up(WhyNot::Rejected(RejectReason::Shortage { sku }));
        }
        let Some((plan, card)) = charged_by(key, placement) else {
            // Only the order itself refuses what comes later: the customer was quicker.
            return self.give_up(WhyNot::Canceled);
        };
        let why = match outcome.call::<GatewayReply, Declined>() {
            Ok(CallOutcome::Rejected(_)) if card < CARDS_MAX => {
                let next = Next::stay().record(CheckoutEvent::CardDeclined);
                return charge(next, order, plan, card + 1);
            }
            Ok(CallOutcome::Rejected(declined)) => RejectReason::Declined { why: declined.why },
            _ => RejectReason::PaymentTimedOut,
        };
        self.give_up(WhyNot::Rejected(why))
    }

    /// Gives back what was taken, unless that is under way or it is too late.
    fn give_up(&self, why: WhyNot) -> Next<Checkout> {
        if self.given_up.is_some() || self.stage >= Stage::Shipping {
            return Next::stay();
        }
        let reason = match &why {
            WhyNot::Canceled => "the customer wants it no more".to_owned(),
            WhyNot::Rejected(reason) => format!("{reason:?}"),
        };
        Next::stay()
            .record(CheckoutEvent::GivenUp { why })
            .compensate(reason)
    }

    /// What comes next, and its work.
    fn upcoming(&self, order: &str) -> Option<(CheckoutEvent, Next<Checkout>)> {
        let placement = self.placement.as_deref()?;
        let (plans, at, next) = (&placement.payments, placement.at, Next::stay());
        let (stage, pending, work) = match self.stage {
            Stage::Reserving => {
                let mut rest = stocked(placement).skip_while(|(place, _)| *place < self.next_line);
                if let Some((place, line)) = rest.next() {
                    let work = reserve(next, order, place, line);
                    return Some((CheckoutEvent::LineTaken { place }, work));
                }
                if placement.process == Process::StockFirstByGateway {
                    let first_cards = plans
                        .iter()
                        .fold(next, |next, plan| charge(next, order, plan, 1));
                    (Stage::Charging, plans.len(), first_cards)
                } else {
                    (Stage::Charging, 0, next)
                }
            }
            Stage::Charging => {
                let work = plans
                    .iter()
                    .fold(next, |next, plan| authorize(next, order, placement, plan));
                (Stage::Authorizing, plans.len(), work)
            }
            Stage::Authorizing => {
                let work = plans
                    .iter()
                    .fold(next, |next, plan| capture(next, order, plan, at));
                (Stage::Capturing, plans.len(), work)
            }
            Stage::Capturing => {
                let work = next.send::<Order>("confirm", order, OrderCommand::Confirm);
                (Stage::Confirming, 1, work)
            }
            Stage::Confirming => {
                let work = commit_lines(next.pivot(), order, placement);
                let dispatch = ShipmentCommand::Dispatch { at };
                let work = work.send::<Shipment>("dispatch", order, dispatch);
                (Stage::Shipping, stocked(placement).count() + 1, work)
            }
            Stage::Shipping => {
                let work = next.send::<Shipment>("deliver", order, ShipmentCommand::Deliver { at });
                (Stage::Delivering, 1, work)
            }
            Stage::Delivering => {
                let work = next.send::<Order>("close", order, OrderCommand::Close);
                (Stage::Closing, 1, work)
            }
            Stage::Closing => (Stage::Ended, 0, next.complete()),
            Stage::Ended => return None,
        };
        Some((CheckoutEvent::Entered { stage, pending }, work))
    }
}

/// Has the gateway charge a card. If it cannot be known whether it did, the same refund finds out.
fn charge(next: Next<Checkout>, order: &str, plan: &PaymentPlan, card: u32) -> Next<Checkout> {
    let charge = format!("{}/{card}", plan.payment_id(order));
    let request = GatewayRequest::Charge {
        charge: charge.clone(),
        amount: plan.amount,
    };
    let refund = GatewayRequest::Refund { charge };
    next.call(
        format!("charge-{}-{card}", plan.sequential),
        GATEWAY,
        &request,
    )
    .undo_call(GATEWAY, &refund, &refund)
}

/// The plan and the card that a charge was for.
fn charged_by<'a>(key: &str, placement: &'a Placement) -> Option<(&'a PaymentPlan, u32)> {
    let (sequential, card) = key.strip_prefix("charge-")?.split_once('-')?;
    let sequential: u32 = sequential.parse().ok()?;
    let plan = placement
        .payments
        .iter()
        .find(|plan| plan.sequential == sequential)?;
    Some((plan, card.parse().ok()?))
}

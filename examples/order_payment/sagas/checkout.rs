//! The process of an order that is worked off at once: reserve every line, charge, authorize and capture every
//! payment, confirm, ship, deliver.
//!
//! Until it is confirmed, a shortage, a decline, a time-out or the customer's change of mind gives back what was
//! taken, the latest first. After that it only goes forward.

use std::sync::Arc;
use std::time::Duration;

use chronicler::prelude::*;

use super::steps::{authorization, key_of, stocked};
use crate::domain::{
    CloseOrder, Deliver, Dispatch, HandOver, Inventory, InventoryCommand, Order, OrderCommand,
    OrderEvent, Payment, PaymentCommand, PaymentPlan, Placement, Process, RejectReason, Shipment,
};
use crate::gateway::{Declined, GATEWAY, GatewayReply, GatewayRequest};

/// How many cards a customer tries before the payment counts as declined.
const CARDS_MAX: u32 = 3;
/// How long the gateway may take for all of them.
const CHARGING_MAX: Duration = Duration::from_secs(600);

/// The process of an order that is worked off at once.
pub struct Checkout;

step_keys! {
    Reserved = "reserve" -> Vec<()>;
    Charged = "charge" -> Vec<GatewayReply>;
    Authorized = "authorize" -> Vec<()>;
    Captured = "capture" -> Vec<()>;
    Confirmed = "confirm" -> ();
    HandedOver = "hand-over" -> Vec<()>;
    Dispatched = "dispatch" -> ();
    Delivered = "deliver" -> ();
    Closed = "close" -> ();
    Ended = "end" -> ();
}

impl StepSaga for Checkout {
    const NAME: &'static str = "order-payment";
    type Start = Arc<Placement>;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed(placement) if placement.process != Process::AsReported => {
                Route::start(&info.id)
            }
            OrderEvent::CancelAsked => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(event: &Input) -> Option<Arc<Placement>> {
        match event.event::<Order>()? {
            OrderEvent::Placed(placement) => Some(Arc::new(placement.clone())),
            _ => None,
        }
    }

    fn heard(event: &Input, _: &Arc<Placement>) -> Heard {
        match event.event::<Order>() {
            Some(OrderEvent::CancelAsked) => Heard::cancel("the customer wants it no more"),
            _ => Heard::Nothing,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .each_in_turn(Reserved, reserve, release)
            .external_each::<_, _, Declined>(Charged, charge, refund_charge)
            .or_else(|order, _| order.tried() + 1 < CARDS_MAX)
            .within(CHARGING_MAX)
            .only_if(|order| order.start().process == Process::StockFirstByGateway)
            .each(Authorized, authorize, void)
            .each(Captured, capture, refund)
            .pivot(Confirmed, |order| confirm(order.id()))
            .parallel(
                |goods| goods.then_each(HandedOver, hand_over),
                |parcel| parcel.then(Dispatched, dispatch),
            )
            .then(Delivered, deliver)
            .then(Closed, |order| surely::<Order, _>(order.id(), CloseOrder))
            .if_undone(Ended, end)
            .build()
    }
}

type Seen<'a, L> = chronicler::sagas::steps::Seen<'a, Checkout, L>;

fn reserve<L: StepList>(order: &Seen<'_, L>) -> Vec<To<Inventory>> {
    let lines = stocked(order.start());
    lines
        .map(|(place, line)| {
            let (key, quantity) = (key_of(order.id(), place), line.quantity);
            to(&line.sku, InventoryCommand::Reserve { key, quantity })
        })
        .collect()
}

fn release<L: StepList>(order: &Seen<'_, L>, at: usize, (): &()) -> To<Inventory> {
    let line = stocked(order.start()).nth(at);
    let (place, sku) = line.map_or((0, ""), |(place, line)| (place, line.sku.as_str()));
    let key = key_of(order.id(), place);
    to(sku, InventoryCommand::Release { key })
}

/// Takes the money of every payment from the customer's next card.
fn charge<L: StepList>(order: &Seen<'_, L>) -> Vec<ToService> {
    let plans = order.start().payments.iter();
    plans
        .map(|plan| {
            let (charge, amount) = (charge_id(order, plan), plan.amount);
            to_service(GATEWAY, &GatewayRequest::Charge { charge, amount })
        })
        .collect()
}

/// Gives back what was taken from a card. If it cannot be known whether it was, the same finds out.
fn refund_charge<L: StepList>(
    order: &Seen<'_, L>,
    at: usize,
    _: Attempt<'_, GatewayReply>,
) -> ToService {
    let plan = order.start().payments.get(at);
    let charge = plan.map(|plan| charge_id(order, plan)).unwrap_or_default();
    to_service(GATEWAY, &GatewayRequest::Refund { charge })
}

/// How the gateway knows a charge: by the payment, and by which card it is.
fn charge_id<L: StepList>(order: &Seen<'_, L>, plan: &PaymentPlan) -> String {
    format!("{}/{}", plan.payment_id(order.id()), order.tried() + 1)
}

fn authorize<L: StepList>(order: &Seen<'_, L>) -> Vec<To<Payment>> {
    let placement = order.start();
    payments(order, |plan| authorization(order.id(), placement, plan))
}

fn void<L: StepList>(order: &Seen<'_, L>, at: usize, (): &()) -> To<Payment> {
    payment(order, at, PaymentCommand::Void)
}

fn capture<L: StepList>(order: &Seen<'_, L>) -> Vec<To<Payment>> {
    let at = order.start().at;
    payments(order, |_| PaymentCommand::Capture { at })
}

fn refund<L: StepList>(order: &Seen<'_, L>, at: usize, (): &()) -> To<Payment> {
    payment(order, at, PaymentCommand::Refund)
}

fn payments<L: StepList>(
    order: &Seen<'_, L>,
    command: impl Fn(&PaymentPlan) -> PaymentCommand,
) -> Vec<To<Payment>> {
    let plans = order.start().payments.iter();
    plans
        .map(|plan| to(plan.payment_id(order.id()), command(plan)))
        .collect()
}

fn payment<L: StepList>(order: &Seen<'_, L>, at: usize, command: PaymentCommand) -> To<Payment> {
    let plan = order.start().payments.get(at);
    let id = plan.map(|plan| plan.payment_id(order.id()));
    to(id.unwrap_or_default(), command)
}

fn confirm(order: &str) -> To<Order> {
    to(order, OrderCommand::Confirm)
}

fn hand_over<L: StepList>(order: &Seen<'_, L>) -> Vec<Surely<Inventory>> {
    let lines = stocked(order.start());
    lines
        .map(|(place, line)| {
            let key = key_of(order.id(), place);
            surely(&line.sku, HandOver { key })
        })
        .collect()
}

fn dispatch<L: StepList>(order: &Seen<'_, L>) -> Surely<Shipment> {
    let at = order.start().at;
    surely(order.id(), Dispatch { at })
}

fn deliver<L: StepList>(order: &Seen<'_, L>) -> Surely<Shipment> {
    let at = order.start().at;
    surely(order.id(), Deliver { at })
}

/// How an order ends that is not carried out, by why it is not.
fn end<L: StepList>(order: &Seen<'_, L>, why: &GivenUp) -> To<Order> {
    let reason = if why.is_of(Reserved) {
        let line = stocked(order.start()).nth(why.item());
        let sku = line.map(|(_, line)| line.sku.clone()).unwrap_or_default();
        RejectReason::Shortage { sku }
    } else if why.is_of(Charged) && why.cause() == Cause::Rejected {
        let declined = why.rejection::<Declined>().unwrap_or_default();
        RejectReason::Declined { why: declined.why }
    } else if why.is_of(Charged) {
        RejectReason::PaymentTimedOut
    } else {
        // Only the order itself refuses what comes later: the customer was quicker.
        return to(order.id(), OrderCommand::Cancel);
    };
    to(order.id(), OrderCommand::Reject { reason })
}

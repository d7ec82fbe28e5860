//! The process of an order whose steps the world reports, in whatever order it reports them (Olist).
//!
//! Authorize, capture, reserve, confirm, ship, deliver: each has its turn, and a report that comes early is
//! remembered until then. An order that is canceled or found unavailable gives back what it took.

use std::sync::Arc;

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use super::steps::{authorization, key_of, stocked};
use crate::domain::{
    CloseOrder, Deliver, Dispatch, HandOver, Inventory, InventoryCommand, Line, Order,
    OrderCommand, OrderEvent, Payment, PaymentCommand, PaymentPlan, Placement, Process,
    RejectReason, ReportedStatus, Shipment, ShipmentEvent, SourceTime,
};

/// The process of an order whose steps the world reports.
pub struct Marketplace;

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Unplaced,
    Authorized,
    Captured,
    Reserved,
    Confirmed,
    Shipped,
    Delivered,
    /// Everything is being undone.
    Undone,
    Closed,
    Ended,
}

/// What the process remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MarketplaceEvent {
    Placed {
        placement: Arc<Placement>,
    },
    Approved {
        at: SourceTime,
    },
    DispatchReported {
        at: SourceTime,
    },
    DeliveryReported {
        at: SourceTime,
    },
    StatusReported {
        status: ReportedStatus,
    },
    /// A stage was entered, with so many answers to wait for.
    Entered {
        stage: Stage,
        pending: usize,
    },
    Answered,
}

impl Event for MarketplaceEvent {}

/// What the process knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MarketplaceState {
    placement: Option<Arc<Placement>>,
    approved: Option<SourceTime>,
    dispatched: Option<SourceTime>,
    delivered: Option<SourceTime>,
    status: Option<ReportedStatus>,
    stage: Stage,
    pending: usize,
}

impl Saga for Marketplace {
    const NAME: &'static str = "marketplace";
    type State = MarketplaceState;
    type Event = MarketplaceEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed(placement) if placement.process == Process::AsReported => {
                Route::start_or_resume(&info.id)
            }
            OrderEvent::ApprovalReported { .. } | OrderEvent::StatusReported { .. } => {
                Route::start_or_resume(&info.id)
            }
            _ => Route::ignore(),
        });
        on.event::<Shipment>(|event, info| match event {
            ShipmentEvent::DispatchReported { .. } | ShipmentEvent::DeliveryReported { .. } => {
                Route::start_or_resume(&info.id)
            }
            _ => Route::ignore(),
        });
    }

    fn on(&self, state: &MarketplaceState, input: &Input, ctx: &SagaContext) -> Next<Self> {
        if let Input::Compensated { .. } = input {
            let command = match state.status {
                Some(ReportedStatus::Canceled) => OrderCommand::Cancel,
                _ => OrderCommand::Reject {
                    reason: RejectReason::Unavailable,
                },
            };
            return Next::stay().send::<Order>("end", &ctx.id, command);
        }
        if let Some(outcome) = input.answer().filter(|outcome| !outcome.is_done()) {
            return Next::stay().compensate(format!("{} was refused", outcome.key()));
        }
        let Some(heard) = heard(input) else {
            return Next::stay();
        };
        let mut now = state.clone();
        Self::evolve(&mut now, &heard);
        let mut next = Next::stay().record(heard);
        while now.pending == 0
            && let Some((stage, pending, work)) = now.upcoming(&ctx.id)
        {
            let entered = MarketplaceEvent::Entered { stage, pending };
            Self::evolve(&mut now, &entered);
            next = next.record(entered).and(work);
        }
        next
    }

    fn evolve(state: &mut MarketplaceState, event: &MarketplaceEvent) {
        match event {
            MarketplaceEvent::Placed { placement } => {
                state.placement = Some(Arc::clone(placement));
            }
            MarketplaceEvent::Approved { at } => state.approved = Some(*at),
            MarketplaceEvent::DispatchReported { at } => state.dispatched = Some(*at),
            MarketplaceEvent::DeliveryReported { at } => state.delivered = Some(*at),
            MarketplaceEvent::StatusReported { status } => state.status = Some(*status),
            MarketplaceEvent::Entered { stage, pending } => {
                (state.stage, state.pending) = (*stage, *pending);
            }
            MarketplaceEvent::Answered => state.pending = state.pending.saturating_sub(1),
        }
    }
}

fn heard(input: &Input) -> Option<MarketplaceEvent> {
    if input.answer().is_some() {
        return Some(MarketplaceEvent::Answered);
    }
    if let Some(event) = input.event::<Shipment>() {
        return match event {
            ShipmentEvent::DispatchReported { at } => {
                Some(MarketplaceEvent::DispatchReported { at: *at })
            }
            ShipmentEvent::DeliveryReported { at } => {
                Some(MarketplaceEvent::DeliveryReported { at: *at })
            }
            _ => None,
        };
    }
    match input.event::<Order>()? {
        OrderEvent::Placed(placement) => Some(MarketplaceEvent::Placed {
            placement: Arc::new(placement.clone()),
        }),
        OrderEvent::ApprovalReported { at } => Some(MarketplaceEvent::Approved { at: *at }),
        OrderEvent::StatusReported { status, .. } => {
            Some(MarketplaceEvent::StatusReported { status: *status })
        }
        _ => None,
    }
}

type Work = (Stage, usize, Next<Marketplace>);

impl MarketplaceState {
    /// The next stage whose turn it is, how many answers it waits for, and its work. Steps that were reported
    /// come before the end.
    fn upcoming(&self, order: &str) -> Option<Work> {
        let placement = self.placement.as_deref()?;
        let (plans, next) = (&placement.payments, Next::stay());
        let forward = match self.stage {
            Stage::Unplaced => {
                let work = plans
                    .iter()
                    .fold(next, |next, plan| authorize(next, order, placement, plan));
                Some((Stage::Authorized, plans.len(), work))
            }
            Stage::Authorized => self.approved.map(|at| {
                let work = plans
                    .iter()
                    .fold(next, |next, plan| capture(next, order, plan, at));
                (Stage::Captured, plans.len(), work)
            }),
            Stage::Captured => {
                let work = stocked(placement).fold(next, |next, (place, line)| {
                    reserve(next, order, place, line)
                });
                Some((Stage::Reserved, stocked(placement).count(), work))
            }
            Stage::Reserved => {
                let work = next.send::<Order>("confirm", order, OrderCommand::Confirm);
                Some((Stage::Confirmed, 1, work))
            }
            Stage::Confirmed => self.dispatched.map(|at| {
                let work = commit_lines(next, order, placement);
                let work = work.send::<Shipment>("dispatch", order, Dispatch { at }.into());
                (Stage::Shipped, stocked(placement).count() + 1, work)
            }),
            Stage::Shipped => self.delivered.map(|at| {
                let work = next.send::<Shipment>("deliver", order, Deliver { at }.into());
                (Stage::Delivered, 1, work)
            }),
            Stage::Delivered => None,
            Stage::Closed => Some((Stage::Ended, 0, next.complete())),
            Stage::Undone | Stage::Ended => return None,
        };
        forward.or_else(|| self.end(order))
    }

    /// How the order ends, if the world said so. Other statuses leave it open.
    fn end(&self, order: &str) -> Option<Work> {
        let undo = |reason: &str| Some((Stage::Undone, 0, Next::stay().compensate(reason)));
        match self.status? {
            ReportedStatus::Canceled => undo("canceled"),
            ReportedStatus::Unavailable => undo("unavailable"),
            ReportedStatus::Delivered => {
                let close = Next::stay().send::<Order>("close", order, CloseOrder.into());
                Some((Stage::Closed, 1, close))
            }
            _ => None,
        }
    }
}

/// Sets the money of one payment aside.
fn authorize(
    next: Next<Marketplace>,
    order: &str,
    placement: &Placement,
    plan: &PaymentPlan,
) -> Next<Marketplace> {
    let id = plan.payment_id(order);
    let key = format!("authorize-{}", plan.sequential);
    next.send::<Payment>(key, &id, authorization(order, placement, plan))
        .undo::<Payment>(&id, PaymentCommand::Void)
}

/// Takes the money of one payment.
fn capture(
    next: Next<Marketplace>,
    order: &str,
    plan: &PaymentPlan,
    at: SourceTime,
) -> Next<Marketplace> {
    let id = plan.payment_id(order);
    let key = format!("capture-{}", plan.sequential);
    next.send::<Payment>(key, &id, PaymentCommand::Capture { at })
        .undo::<Payment>(&id, PaymentCommand::Refund)
}

/// Promises the units of one line.
fn reserve(next: Next<Marketplace>, order: &str, place: u32, line: &Line) -> Next<Marketplace> {
    let key = key_of(order, place);
    let release = InventoryCommand::Release { key: key.clone() };
    let quantity = line.quantity;
    let reserve = InventoryCommand::Reserve { key, quantity };
    next.send::<Inventory>(format!("reserve-{place}"), &line.sku, reserve)
        .undo::<Inventory>(&line.sku, release)
}

/// Hands over the units of every line.
fn commit_lines(next: Next<Marketplace>, order: &str, placement: &Placement) -> Next<Marketplace> {
    stocked(placement).fold(next, |next, (place, line)| {
        let key = key_of(order, place);
        let command = HandOver { key }.into();
        next.send::<Inventory>(format!("commit-{place}"), &line.sku, command)
    })
}

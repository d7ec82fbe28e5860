//! Every order with what became of it, and how many there are by status.

use std::collections::BTreeMap;
use std::fmt;

use chronicler::prelude::*;
use order_payment::domain::{
    Amount, MessageId, Order, OrderEnd, OrderEvent, Placement, RejectReason, ReportedStatus,
    Shipment, ShipmentEvent, SourceTime,
};

/// Every order, by its id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(pub(crate) BTreeMap<String, OrderRecord>);

/// One order. A report may come before the order itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderRecord {
    pub(crate) placed: Option<Box<Placement>>,
    pub(crate) approved: Option<SourceTime>,
    pub(crate) dispatched: Option<SourceTime>,
    pub(crate) delivered: Option<SourceTime>,
    pub(crate) reported: Option<ReportedStatus>,
    pub(crate) confirmed: Option<Amount>,
    pub(crate) rejected: Option<(MessageId, RejectReason)>,
    pub(crate) end: Option<OrderEnd>,
}

/// Where an order stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Something was reported about it, but it was not placed yet.
    Announced,
    Open,
    Confirmed,
    Closed,
    Rejected,
    Canceled,
}

impl OrderRecord {
    pub(crate) fn standing(&self) -> Standing {
        match self.end {
            Some(OrderEnd::Closed) => Standing::Closed,
            Some(OrderEnd::Rejected) => Standing::Rejected,
            Some(OrderEnd::Canceled) => Standing::Canceled,
            None if self.confirmed.is_some() => Standing::Confirmed,
            None if self.placed.is_some() => Standing::Open,
            None => Standing::Announced,
        }
    }
}

impl Orders {
    /// How many orders there are by status.
    pub(crate) fn by_standing(&self) -> BTreeMap<Standing, u64> {
        let mut counts = BTreeMap::new();
        for record in self.0.values() {
            *counts.entry(record.standing()).or_default() += 1;
        }
        counts
    }

    fn of(&mut self, id: &str) -> &mut OrderRecord {
        if !self.0.contains_key(id) {
            self.0.insert(id.to_owned(), OrderRecord::default());
        }
        self.0.entry(id.to_owned()).or_default()
    }
}

impl Projection for Orders {
    const NAME: &'static str = "orders";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Order>(|view, event, info| {
            let order = view.of(info.id());
            match event {
                OrderEvent::Placed(placement) => order.placed = Some(Box::new(placement.clone())),
                OrderEvent::ApprovalReported { at } => order.approved = Some(*at),
                OrderEvent::StatusReported { status, .. } => order.reported = Some(*status),
                OrderEvent::CancelAsked => {}
                OrderEvent::Confirmed { gross } => order.confirmed = Some(*gross),
                OrderEvent::Rejected { message, reason } => {
                    order.rejected = Some((message.clone(), reason.clone()));
                    order.end = Some(OrderEnd::Rejected);
                }
                OrderEvent::Canceled => order.end = Some(OrderEnd::Canceled),
                OrderEvent::Closed => order.end = Some(OrderEnd::Closed),
            }
        });
        on.events::<Shipment>(|view, event, info| match event {
            ShipmentEvent::DispatchReported { at } => view.of(info.id()).dispatched = Some(*at),
            ShipmentEvent::DeliveryReported { at } => view.of(info.id()).delivered = Some(*at),
            ShipmentEvent::Dispatched { .. } | ShipmentEvent::Delivered { .. } => {}
        });
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Announced => "announced",
            Self::Open => "open",
            Self::Confirmed => "confirmed",
            Self::Closed => "delivered",
            Self::Rejected => "rejected",
            Self::Canceled => "canceled",
        })
    }
}

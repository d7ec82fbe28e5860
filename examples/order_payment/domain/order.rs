//! An order: placed once, told what the world reports about it, ended once.

use std::fmt;

use chronicler_domain::{Aggregate, Certain, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Amount, PaymentPlan, SourceTime};

/// Which line of which source said it. The same line twice is the same message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId {
    /// The name of the file, or of the generator with its seed.
    pub source: String,
    /// Counted from 1.
    pub line: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}

/// One line of an order or of a return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is sold.
    pub sku: String,
    /// At least 1.
    pub quantity: u32,
    /// For one unit, without freight.
    pub unit_price: Amount,
    /// For the whole line.
    pub freight: Amount,
    /// Who sells it, where the source says so.
    pub seller: Option<String>,
    /// False for a charge that takes nothing from the stock.
    pub stocked: bool,
}

impl Line {
    /// What the units of the line cost, without freight.
    pub fn price(&self) -> Amount {
        self.unit_price.saturating_mul(Amount::from(self.quantity))
    }
}

/// In which order an order is worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// Reserve, authorize, capture, confirm, ship, deliver: all of it unasked, paid on the spot.
    StockFirst,
    /// The same, paid through the payment gateway, which may decline, time out or lose its reply.
    StockFirstByGateway,
    /// Authorize, capture, reserve, confirm, ship, deliver: each when the world reports it (Olist).
    AsReported,
}

/// Everything that a placed order says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where it was read.
    pub message: MessageId,
    /// When it was placed.
    pub at: SourceTime,
    /// Who placed it.
    pub customer: Option<String>,
    /// The state that the customer lives in.
    pub region: Option<String>,
    /// May be empty.
    pub lines: Vec<Line>,
    /// How it is paid. May be empty, and need not equal the lines.
    pub payments: Vec<PaymentPlan>,
    /// In which order it is worked off.
    pub process: Process,
}

impl Placement {
    /// What all lines cost, without freight.
    pub fn gross(&self) -> Amount {
        self.lines.iter().map(Line::price).sum()
    }

    /// What all lines cost to carry.
    pub fn freight(&self) -> Amount {
        self.lines.iter().map(|line| line.freight).sum()
    }
}

/// The last status that the source gives for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedStatus {
    Created,
    Approved,
    Processing,
    Invoiced,
    Shipped,
    Delivered,
    Canceled,
    Unavailable,
}

/// Why an order was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// Too little of this was there.
    Shortage { sku: String },
    /// The gateway declined a payment.
    Declined { why: String },
    /// The payment was not settled in time.
    PaymentTimedOut,
    /// The seller reported that it cannot deliver.
    Unavailable,
}

/// How an order ended, or stands at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OrderEnd {
    Rejected,
    Canceled,
    Closed,
}

/// What an order can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// From the feed. The same message again changes nothing.
    Place(Placement),
    /// From the feed: the gateway approved the payments. The order need not exist yet.
    ReportApproved { at: SourceTime },
    /// From the feed: nothing more will be said. The order need not exist yet.
    ReportStatus {
        status: ReportedStatus,
        at: SourceTime,
    },
    /// The customer wants it no more.
    AskToCancel,
    /// Paid and reserved.
    Confirm,
    /// Ended by us; money and goods were given back.
    Reject { reason: RejectReason },
    /// Ended by the customer; money and goods were given back.
    Cancel,
    /// Ended well.
    Close(CloseOrder),
}

/// It is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseOrder;

impl From<CloseOrder> for OrderCommand {
    fn from(command: CloseOrder) -> Self {
        Self::Close(command)
    }
}

/// What can have happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderEvent {
    Placed(Placement),
    ApprovalReported {
        at: SourceTime,
    },
    StatusReported {
        status: ReportedStatus,
        at: SourceTime,
    },
    CancelAsked,
    Confirmed {
        gross: Amount,
    },
    Rejected {
        /// Where the order was read, which says which rejection came first in the file.
        message: MessageId,
        reason: RejectReason,
    },
    Canceled,
    Closed,
}

impl Event for OrderEvent {}

/// Why an order says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum OrderRejection {
    #[error("this order id was placed before, by {first}")]
    PlacedBefore { first: MessageId },
    #[error("the order was never placed")]
    NotPlaced,
    #[error("something else was reported before")]
    ReportedOtherwise,
    #[error("the customer wants it no more")]
    CancelAsked,
    #[error("it is confirmed, and can only be returned")]
    Confirmed,
    #[error("the order has ended already: {0:?}")]
    Ended(OrderEnd),
}

/// What an order must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    placed: Option<MessageId>,
    gross: Amount,
    approved: Option<SourceTime>,
    reported: Option<(ReportedStatus, SourceTime)>,
    cancel_asked: bool,
    confirmed: bool,
    end: Option<OrderEnd>,
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";

    type Command = OrderCommand;
    type Event = OrderEvent;
    type Reply = ();
    type Rejection = OrderRejection;

    fn decide(&self, command: OrderCommand, ctx: &Context) -> Decided<Self> {
        match command {
            OrderCommand::Place(placement) => self.place(placement),
            OrderCommand::ReportApproved { at } => report(self.approved.as_ref(), &at, || {
                OrderEvent::ApprovalReported { at }
            }),
            OrderCommand::ReportStatus { status, at } => {
                report(self.reported.as_ref(), &(status, at), || {
                    OrderEvent::StatusReported { status, at }
                })
            }
            OrderCommand::AskToCancel => self.ask_to_cancel(),
            OrderCommand::Confirm => self.confirm(),
            OrderCommand::Reject { reason } => self.end(OrderEnd::Rejected, |message| {
                OrderEvent::Rejected { message, reason }
            }),
            OrderCommand::Cancel => self.end(OrderEnd::Canceled, |_| OrderEvent::Canceled),
            OrderCommand::Close(command) => Ok(self.certain(command, ctx)),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed(placement) => {
                self.gross = placement.gross();
                self.placed = Some(placement.message.clone());
            }
            OrderEvent::ApprovalReported { at } => self.approved = Some(*at),
            OrderEvent::StatusReported { status, at } => self.reported = Some((*status, *at)),
            OrderEvent::CancelAsked => self.cancel_asked = true,
            OrderEvent::Confirmed { .. } => self.confirmed = true,
            OrderEvent::Rejected { .. } => self.end = Some(OrderEnd::Rejected),
            OrderEvent::Canceled => self.end = Some(OrderEnd::Canceled),
            OrderEvent::Closed => self.end = Some(OrderEnd::Closed),
        }
    }
}

/// An order that was carried out ends well, once; that is never refused.
impl Certain<CloseOrder> for Order {
    fn certain(&self, _: CloseOrder, _: &Context) -> Decision<OrderEvent> {
        match (&self.placed, self.end) {
            (Some(_), None) => OrderEvent::Closed.into(),
            _ => Decision::nothing(),
        }
    }
}

impl Order {
    fn place(&self, placement: Placement) -> Decided<Self> {
        match &self.placed {
            None => Ok(OrderEvent::Placed(placement).into()),
            Some(first) if *first == placement.message => Ok(Decision::nothing()),
            Some(first) => Err(OrderRejection::PlacedBefore {
                first: first.clone(),
            }),
        }
    }

    fn ask_to_cancel(&self) -> Decided<Self> {
        match self.end {
            _ if self.placed.is_none() => Err(OrderRejection::NotPlaced),
            Some(OrderEnd::Canceled) => Ok(Decision::nothing()),
            Some(end) => Err(OrderRejection::Ended(end)),
            None if self.confirmed => Err(OrderRejection::Confirmed),
            None if self.cancel_asked => Ok(Decision::nothing()),
            None => Ok(OrderEvent::CancelAsked.into()),
        }
    }

    fn confirm(&self) -> Decided<Self> {
        match self.end {
            _ if self.placed.is_none() => Err(OrderRejection::NotPlaced),
            Some(end) => Err(OrderRejection::Ended(end)),
            None if self.cancel_asked => Err(OrderRejection::CancelAsked),
            None if self.confirmed => Ok(Decision::nothing()),
            None => Ok(OrderEvent::Confirmed { gross: self.gross }.into()),
        }
    }

    fn end(&self, how: OrderEnd, event: impl FnOnce(MessageId) -> OrderEvent) -> Decided<Self> {
        let Some(message) = self.placed.clone() else {
            return Err(OrderRejection::NotPlaced);
        };
        match self.end {
            None => Ok(event(message).into()),
            Some(end) if end == how => Ok(Decision::nothing()),
            Some(end) => Err(OrderRejection::Ended(end)),
        }
    }
}

/// A report is remembered; the same one again is nothing new, another one contradicts it.
fn report<T: PartialEq>(
    known: Option<&T>,
    reported: &T,
    event: impl FnOnce() -> OrderEvent,
) -> Decided<Order> {
    match known {
        None => Ok(event().into()),
        Some(known) if known == reported => Ok(Decision::nothing()),
        Some(_) => Err(OrderRejection::ReportedOtherwise),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;

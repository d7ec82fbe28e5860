//! The Olist orders as one list of messages: order by order, or merged by time.

use order_payment::domain::{
    Line, MessageId, OrderCommand, PaymentPlan, Placement, Process, ShipmentCommand, SourceTime,
};

use super::olist_files::ORDERS_FILE;
use super::{Message, OlistOrder, Sent};

/// In which order the messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FeedOrder {
    /// Order by order, in file order; each from its purchase to its final status.
    Lifecycle,
    /// All steps of all orders by their time, even where that is not the order of life.
    Timestamp,
}

/// The steps of an order, in the order that breaks ties of time. Payments are placed with their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Purchase,
    Approval,
    Carrier,
    Customer,
    FinalStatus,
}

/// All messages of all orders.
pub(crate) fn olist_plan(orders: &[OlistOrder], feed: FeedOrder) -> Vec<Message> {
    let mut steps: Vec<_> = (orders.iter().enumerate())
        .flat_map(|(place, order)| steps_of(order).map(move |(step, at)| (at, step, place)))
        .collect();
    match feed {
        FeedOrder::Lifecycle => steps.sort_by_key(|(_, step, place)| (*place, *step)),
        FeedOrder::Timestamp => steps.sort(),
    }
    let messages = steps.into_iter().filter_map(|(at, step, place)| {
        let order = orders.get(place)?;
        Some((order.id.clone(), sent(order, step, at)))
    });
    (1..)
        .zip(messages)
        .map(|(position, (key, sent))| Message {
            position,
            key,
            sent,
            skus: Vec::new(),
        })
        .collect()
}

fn steps_of(order: &OlistOrder) -> impl Iterator<Item = (Step, SourceTime)> {
    let steps = [
        (Step::Purchase, Some(order.purchased)),
        (Step::Approval, order.approved),
        (Step::Carrier, order.carrier),
        (Step::Customer, order.delivered),
    ];
    // The data has no time for the final status: it comes after the last recorded step.
    let latest = steps.iter().filter_map(|(_, at)| *at).max();
    let steps = steps.into_iter().chain([(Step::FinalStatus, latest)]);
    steps.filter_map(|(step, at)| Some((step, at?)))
}

fn sent(order: &OlistOrder, step: Step, at: SourceTime) -> Sent {
    match step {
        Step::Purchase => Sent::Order(OrderCommand::Place(placement(order))),
        Step::Approval => Sent::Order(OrderCommand::ReportApproved { at }),
        Step::Carrier => Sent::Shipment(ShipmentCommand::ReportDispatched { at }),
        Step::Customer => Sent::Shipment(ShipmentCommand::ReportDelivered { at }),
        Step::FinalStatus => {
            let status = order.status;
            Sent::Order(OrderCommand::ReportStatus { status, at })
        }
    }
}

fn placement(order: &OlistOrder) -> Placement {
    let lines = order.items.iter().map(|item| Line {
        sku: item.product.clone(),
        quantity: 1,
        unit_price: item.price,
        freight: item.freight,
        seller: Some(item.seller.clone()),
        stocked: true,
    });
    let payments = order.payments.iter().map(|payment| PaymentPlan {
        sequential: payment.sequential,
        kind: payment.kind.clone(),
        amount: payment.amount,
    });
    Placement {
        message: MessageId {
            source: ORDERS_FILE.to_owned(),
            line: order.line,
        },
        at: order.purchased,
        customer: Some(order.customer.clone()),
        region: Some(order.region.clone()),
        lines: lines.collect(),
        payments: payments.collect(),
        process: Process::AsReported,
    }
}

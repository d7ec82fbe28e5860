//! The report over the Olist orders, made from what happened in the shop alone.

use std::collections::{BTreeMap, HashMap};

use order_payment::domain::{Amount, Line, ReportedStatus, SourceTime};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::views::{Held, Money, OrderRecord, Orders};

/// How many sellers are named.
const TOP_SELLERS: usize = 5;

/// The report over all orders and all money.
pub(crate) fn olist_report(orders: &Orders, money: &Money) -> Value {
    let mut tally = Tally::default();
    for (id, record) in &orders.0 {
        tally.count(record, money.held.get(id).copied().unwrap_or_default());
    }
    let sellers = by_amount(&tally.delivered_by_seller);
    let lines: Vec<String> = tally
        .delivered_by_seller
        .iter()
        .map(|(seller, amount)| format!("{seller}\t{amount}"))
        .collect();
    let repeat = tally
        .orders_by_customer
        .values()
        .filter(|count| **count > 1);
    let in_flight = tally.in_flight_authorized;
    json!({
        "anomalies": present(&tally.anomalies),
        "authorized": money.authorized,
        "captured": money.captured,
        "captured_by_month": present(&money.captured_by_month),
        "captured_by_state": present(&money.captured_by_region),
        "captured_by_type": present(&money.captured_by_type),
        "check": { "authorized_eq": money.authorized == money.captured + money.voided + in_flight },
        "customers": tally.orders_by_customer.len(),
        "delivered_by_seller_digest": format!("{:x}", Sha256::digest(lines.join("\n"))),
        "delivered_by_seller_top": sellers,
        "in_flight_authorized_only": in_flight,
        "in_flight_captured": tally.in_flight_captured,
        "items": tally.items,
        "net_captured": money.captured - money.refunded,
        "orders": orders.0.len(),
        "path": present(&tally.paths),
        "payments": tally.payments,
        "purchase_range": tally.purchased.map(|(first, last)| [first.to_string(), last.to_string()]),
        "refunded": money.refunded,
        "refunded_by_type": present(&money.refunded_by_type),
        "repeat_customers": repeat.count(),
        "sellers": tally.delivered_by_seller.len(),
        "status": present(&tally.statuses),
        "voided": money.voided,
    })
}

#[derive(Default)]
struct Tally {
    orders_by_customer: HashMap<String, u64>,
    items: usize,
    payments: usize,
    /// The first purchase and the last.
    purchased: Option<(SourceTime, SourceTime)>,
    statuses: BTreeMap<String, i64>,
    paths: BTreeMap<String, i64>,
    anomalies: BTreeMap<String, i64>,
    delivered_by_seller: BTreeMap<String, Amount>,
    in_flight_captured: Amount,
    in_flight_authorized: Amount,
}

impl Tally {
    fn count(&mut self, order: &OrderRecord, held: Held) {
        let (Some(placed), Some(status)) = (order.placed.as_deref(), order.reported) else {
            return;
        };
        if let Some(customer) = &placed.customer {
            *self.orders_by_customer.entry(customer.clone()).or_default() += 1;
        }
        self.items += placed.lines.len();
        self.payments += placed.payments.len();
        let (first, last) = self.purchased.unwrap_or((placed.at, placed.at));
        self.purchased = Some((first.min(placed.at), last.max(placed.at)));
        *self.statuses.entry(name(status)).or_default() += 1;
        *self.paths.entry(path(order, status)).or_default() += 1;
        match status {
            ReportedStatus::Delivered => {
                for line in &placed.lines {
                    let seller = line.seller.clone().unwrap_or_default();
                    *self.delivered_by_seller.entry(seller).or_default() += line.price();
                }
            }
            ReportedStatus::Created => self.in_flight_authorized += held.authorized,
            ReportedStatus::Canceled | ReportedStatus::Unavailable => {}
            _ => self.in_flight_captured += held.captured,
        }
        self.count_anomalies(order, status, &placed.lines);
    }

    fn count_anomalies(&mut self, order: &OrderRecord, status: ReportedStatus, lines: &[Line]) {
        let Some(placed) = order.placed.as_deref() else {
            return;
        };
        let paid: Amount = placed.payments.iter().map(|plan| plan.amount).sum();
        let difference = paid - placed.gross() - placed.freight();
        let recorded = [
            Some(placed.at),
            order.approved,
            order.dispatched,
            order.delivered,
        ];
        let times: Vec<_> = recorded.into_iter().flatten().collect();
        // An order that lacks one of the two times was not early.
        let earlier = |one: Option<SourceTime>, other: Option<SourceTime>| matches!((one, other), (Some(one), Some(other)) if one < other);
        let with_lines = !lines.is_empty();
        let plans = &placed.payments;
        let found = [
            ("orders_without_items", !with_lines),
            (
                "payment_total_differs_from_items_plus_freight",
                with_lines && difference != 0,
            ),
            ("orders_with_several_payments", plans.len() > 1),
            (
                "orders_with_zero_value_payment",
                plans.iter().any(|plan| plan.amount == 0),
            ),
            (
                "payment_type_not_defined",
                plans.iter().any(|plan| plan.kind == "not_defined"),
            ),
            ("timestamps_out_of_lifecycle_order", !times.is_sorted()),
            (
                "shipped_before_payment_approved",
                earlier(order.dispatched, order.approved),
            ),
            (
                "delivered_before_shipped",
                earlier(order.delivered, order.dispatched),
            ),
            (
                "status_delivered_without_delivery_date",
                status == ReportedStatus::Delivered && order.delivered.is_none(),
            ),
            (
                "canceled_after_delivery",
                status == ReportedStatus::Canceled && order.delivered.is_some(),
            ),
        ];
        for (name, _) in found.into_iter().filter(|(_, found)| *found) {
            *self.anomalies.entry(name.to_owned()).or_default() += 1;
        }
        if with_lines {
            let sum = self.anomalies.entry("difference_abs_sum".to_owned());
            *sum.or_default() += difference.abs();
        }
    }
}

/// What the reports say happened to an order, whatever the order of their times.
fn path(order: &OrderRecord, status: ReportedStatus) -> String {
    let mut path = "place>authorize".to_owned();
    let steps = [
        (order.approved, ">capture"),
        (order.dispatched, ">ship"),
        (order.delivered, ">deliver"),
    ];
    for (_, step) in steps.into_iter().filter(|(at, _)| at.is_some()) {
        path.push_str(step);
    }
    if matches!(
        status,
        ReportedStatus::Canceled | ReportedStatus::Unavailable
    ) {
        path.push_str(if order.approved.is_some() {
            ">refund"
        } else {
            ">void"
        });
    }
    path
}

fn name(status: ReportedStatus) -> String {
    let value = serde_json::to_value(status).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn by_amount(sellers: &BTreeMap<String, Amount>) -> Vec<Value> {
    let mut sellers: Vec<_> = sellers.iter().collect();
    sellers.sort_by_key(|(seller, amount)| (-**amount, (*seller).clone()));
    let top = sellers.into_iter().take(TOP_SELLERS);
    top.map(|(seller, amount)| json!([seller, amount]))
        .collect()
}

/// A key whose value is zero is not there.
fn present(map: &BTreeMap<String, i64>) -> Value {
    let present = map.iter().filter(|(_, value)| **value != 0);
    let map: Map<String, Value> = present
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    Value::Object(map)
}

//! Orders made up from a seed: some want more than there is, some are called off, some are hard to pay.

use order_payment::domain::{
    InventoryCommand, Line, MessageId, OrderCommand, PaymentPlan, Placement, Process, SourceTime,
};

use sha2::{Digest, Sha256};

use super::{Message, Sent};

/// The products of the shop.
const PRODUCTS: u64 = 50;
/// How often a customer changes his mind, in parts of a hundred.
const CANCELED_PERCENT: u64 = 3;
/// 2026-01-01 00:00:00; an order comes every minute.
const FIRST_AT_MICROS: i64 = 1_767_225_600_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// What is delivered to every product before a run over `orders` orders that begins after number `done`: enough
/// for most, too little of some. The first delivery is what the product opens with.
pub(crate) fn deliveries(
    seed: u64,
    orders: u64,
    done: u64,
) -> impl Iterator<Item = (String, InventoryCommand)> {
    (0..PRODUCTS).map(move |product| {
        let plenty = i64::try_from(orders.saturating_mul(6) / PRODUCTS).unwrap_or(i64::MAX);
        // One product in eight is scarce.
        let units = match chance(seed, &format!("stock of {product}")) % 8 {
            0 => plenty / 2,
            _ => plenty,
        };
        let command = if done == 0 {
            InventoryCommand::Open { units }
        } else {
            InventoryCommand::Adjust {
                message: message_id(seed, done),
                quantity: units,
                reason: "delivery".to_owned(),
                at: arrival(done),
            }
        };
        (sku(product), command)
    })
}

/// The messages of order number `number`, counted from 1: its placement, and for some a change of mind.
pub(crate) fn order(seed: u64, number: u64) -> Vec<Message> {
    let key = format!("order-{number:06}");
    let draw = |what: &str, of: u64| chance(seed, &format!("{key} {what}")) % of;
    let lines: Vec<Line> = (0..=draw("lines", 4))
        .map(|line| Line {
            sku: sku(draw(&format!("sku {line}"), PRODUCTS)),
            quantity: 1 + u32::try_from(draw(&format!("quantity {line}"), 3)).unwrap_or(0),
            unit_price: 500 + i64::try_from(draw(&format!("price {line}"), 20_000)).unwrap_or(0),
            freight: 0,
            seller: None,
            stocked: true,
        })
        .collect();
    let placement = Placement {
        message: message_id(seed, number),
        at: arrival(number),
        customer: Some(format!("customer-{}", draw("customer", 500))),
        region: None,
        payments: vec![PaymentPlan {
            sequential: 1,
            kind: if draw("kind", 3) == 0 {
                "voucher"
            } else {
                "credit_card"
            }
            .to_owned(),
            amount: lines.iter().map(Line::price).sum(),
        }],
        lines,
        process: Process::StockFirstByGateway,
    };
    let message = |command| Message {
        position: number,
        key: key.clone(),
        sent: Sent::Order(command),
        skus: vec![],
    };
    let mut messages = vec![message(OrderCommand::Place(placement))];
    if draw("cancel", 100) < CANCELED_PERCENT {
        messages.push(message(OrderCommand::AskToCancel));
    }
    messages
}

fn message_id(seed: u64, number: u64) -> MessageId {
    MessageId {
        source: format!("generated with seed {seed}"),
        line: number,
    }
}

fn arrival(number: u64) -> SourceTime {
    let minutes = i64::try_from(number).unwrap_or(i64::MAX / MINUTE_MICROS / 2);
    SourceTime::from_micros(FIRST_AT_MICROS + minutes * MINUTE_MICROS)
}

fn sku(product: u64) -> String {
    format!("product-{product:02}")
}

/// A number by chance, but the same each time.
fn chance(seed: u64, what: &str) -> u64 {
    let hash = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(what)
        .finalize();
    hash.first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

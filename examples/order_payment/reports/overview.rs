//! What happened, as tables to read.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::OpenSaga;
use chronicler::store::{FactKind, FactQuery};
use order_payment::domain::{Amount, RejectReason};
use order_payment::sagas::{Checkout, Marketplace, ReturnHandling};

use super::neutral::stock;

use crate::shop::Shop;
use crate::views::{Money, Orders, Standing};

/// How much was done in how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) orders: u64,
    pub(crate) commits: u64,
    pub(crate) took: Duration,
}

/// What became of generated orders.
pub(crate) async fn print_generated(shop: &Shop, effort: Effort) -> Result<(), Box<dyn Error>> {
    let head = shop.app.head().position;
    let orders = shop.app.view::<Orders>().at_least(head).await?;
    let money = shop.app.view::<Money>().at_least(head).await?;
    print_orders(&orders);
    print_money(&money);
    let book = shop.book.totals();
    say!("\nPayment gateway");
    row(
        "charged",
        format!("{:>14}   in {} charges", cents(book.charged), book.charges),
    );
    row(
        "refunded",
        format!("{:>14}   in {} refunds", cents(book.refunded), book.refunds),
    );
    let kept = book.charged - book.refunded;
    let agrees = if kept == money.captured - money.refunded {
        "as the shop's own books say"
    } else {
        "and the shop's own books say otherwise"
    };
    row("kept", format!("{:>14}   {agrees}", cents(kept)));
    print_stock(shop).await?;
    let seconds = effort.took.as_secs_f64().max(f64::EPSILON);
    say!("\nThis run");
    row("orders", format!("{} in {seconds:.2} s", effort.orders));
    row(
        "commands",
        format!(
            "{} durable commits, {:.0} per second",
            effort.commits,
            effort.commits as f64 / seconds
        ),
    );
    Ok(())
}

/// What is open, done, compensated and parked.
pub(crate) async fn print_status(shop: &Shop) -> Result<(), Box<dyn Error>> {
    let app = &shop.app;
    let head = app.head();
    say!("{}", shop.data.display());
    row(
        "log",
        format!("{} commits, {} events", head.sequence, head.position),
    );
    print_orders(&*app.view::<Orders>().read()?);
    print_money(&*app.view::<Money>().read()?);
    print_stock(shop).await?;
    say!("\nOpen processes");
    let open = [
        (<Steps<Checkout>>::NAME, open::<Steps<Checkout>>(app).await?),
        (Marketplace::NAME, open::<Marketplace>(app).await?),
        (ReturnHandling::NAME, open::<ReturnHandling>(app).await?),
    ];
    if open.iter().all(|(_, open)| open.is_empty()) {
        say!("  none");
    }
    for (name, open) in open {
        let mut counts = BTreeMap::new();
        for saga in &open {
            *counts.entry(saga.status.word()).or_insert(0) += 1;
        }
        for (status, count) in counts {
            row(name, format!("{count:>10}   {status}"));
        }
        for saga in open.iter().filter(|saga| saga.needs_a_person()) {
            say!("    {}: {} since {}", saga.id(), saga.status, saga.since);
        }
    }
    say!("\nParked");
    let parked = app.store().facts(FactQuery::all(FactKind::PARKED)).await?;
    row("events", format!("{:>10}", parked.len()));
    Ok(())
}

/// The processes that wait for a person, and why; none is what everybody hopes for.
pub(crate) async fn in_trouble(app: &App) -> Result<Vec<String>, Box<dyn Error>> {
    let mut found = Vec::new();
    let open = [
        (<Steps<Checkout>>::NAME, open::<Steps<Checkout>>(app).await?),
        (Marketplace::NAME, open::<Marketplace>(app).await?),
        (ReturnHandling::NAME, open::<ReturnHandling>(app).await?),
    ];
    for (name, open) in open {
        let stuck = open.iter().filter(|saga| saga.needs_a_person());
        found.extend(stuck.map(|saga| format!("{name} {}: {}", saga.id(), saga.status)));
    }
    Ok(found)
}

async fn open<S: Saga>(app: &App) -> Result<Vec<OpenSaga>, Box<dyn Error>> {
    match app.saga::<S>() {
        Some(handle) => Ok(handle.open().await?),
        None => Ok(Vec::new()),
    }
}

fn print_orders(orders: &Orders) {
    say!("\nOrders");
    for (standing, count) in orders.by_standing() {
        row(standing, format!("{count:>10}"));
        if standing == Standing::Rejected {
            for (why, count) in reasons(orders) {
                say!("    {why:<18} {count:>8}");
            }
        }
    }
}

fn reasons(orders: &Orders) -> BTreeMap<&'static str, u64> {
    let mut reasons = BTreeMap::new();
    for (_, reason) in orders
        .0
        .values()
        .filter_map(|order| order.rejected.as_ref())
    {
        let name = match reason {
            RejectReason::Shortage { .. } => "out of stock",
            RejectReason::Declined { .. } => "payment declined",
            RejectReason::PaymentTimedOut => "payment timed out",
            RejectReason::Unavailable => "unavailable",
        };
        *reasons.entry(name).or_default() += 1;
    }
    reasons
}

fn print_money(money: &Money) {
    say!("\nMoney");
    let rows = [
        ("authorized", money.authorized),
        ("captured", money.captured),
        ("voided", money.voided),
        ("refunded", money.refunded),
        ("paid for returns", money.paid_out),
    ];
    for (name, amount) in rows.into_iter().filter(|(_, amount)| *amount != 0) {
        row(name, format!("{:>14}", cents(amount)));
    }
    for (kind, amount) in &money.captured_by_type {
        say!("    {kind:<18} {:>12}", cents(*amount));
    }
}

async fn print_stock(shop: &Shop) -> Result<(), Box<dyn Error>> {
    let stock = stock(&shop.app).await?;
    let sum =
        |of: fn(&crate::views::StockRow) -> i64| stock.iter().map(|(_, row)| of(row)).sum::<i64>();
    say!("\nStock of {} products, in units", stock.len());
    row("sold", format!("{:>10}", sum(|row| row.sold)));
    row(
        "on hand",
        format!("{:>10}", sum(crate::views::StockRow::on_hand)),
    );
    row("reserved", format!("{:>10}", sum(|row| row.reserved)));
    row("released again", format!("{:>10}", sum(|row| row.released)));
    Ok(())
}

fn row(name: impl std::fmt::Display, value: impl std::fmt::Display) {
    say!("  {name:<18} {value}");
}

fn cents(amount: Amount) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}

//! The views that a checker can query.

use std::collections::BTreeMap;

use chronicler::domain::GlobalPosition;
use chronicler::prelude::*;
use chronicler::projections::{TableView, ViewError};
use order_payment::domain::{Order, OrderEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::account::{Account, AccountEvent};

/// Account id to balance in cents, what is set aside included. A transfer moves its cents from one account to the
/// other with the deposit alone, so that their sum is the same at every position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balances(pub(crate) BTreeMap<String, i64>);

impl Projection for Balances {
    const NAME: &'static str = "balances";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, info| {
            let mut add = |id: &str, cents: i64| *view.0.entry(id.to_owned()).or_default() += cents;
            match event {
                AccountEvent::Opened { cents } => add(info.id(), *cents),
                AccountEvent::Deposited { cents, of } => {
                    add(info.id(), *cents);
                    if let Some(of) = of {
                        add(&of.from, -cents);
                    }
                }
                AccountEvent::Withdrawn { cents } => add(info.id(), -cents),
                AccountEvent::Settled {
                    cents,
                    moved: false,
                    ..
                } => add(info.id(), -cents),
                AccountEvent::Settled { .. }
                | AccountEvent::Reserved { .. }
                | AccountEvent::Released { .. } => {}
            }
        });
    }
}

/// Order id to status.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderStatus(pub(crate) BTreeMap<String, &'static str>);

impl Projection for OrderStatus {
    const NAME: &'static str = "orders";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Order>(|view, event, info| {
            let status = match event {
                OrderEvent::Placed(_) => "placed",
                OrderEvent::Confirmed { .. } => "confirmed",
                OrderEvent::Rejected { .. } => "rejected",
                OrderEvent::Canceled => "canceled",
                OrderEvent::Closed => "delivered",
                OrderEvent::CancelAsked
                | OrderEvent::ApprovalReported { .. }
                | OrderEvent::StatusReported { .. } => return,
            };
            view.0.insert(info.id().to_owned(), status);
        });
    }
}

/// Account id to how many events it has, and the cents that went in and out: rows in the store, with a checkpoint.
pub(crate) struct Ledger;

/// A row of [`Ledger`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turnover {
    events: u64,
    cents: i64,
}

impl TableProjection for Ledger {
    const NAME: &'static str = "ledger";
    type Row = Turnover;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|table: &mut Table<Turnover>, event, info| {
            let cents = match event {
                AccountEvent::Opened { cents } | AccountEvent::Deposited { cents, .. } => *cents,
                AccountEvent::Withdrawn { cents } => -cents,
                AccountEvent::Settled { .. }
                | AccountEvent::Reserved { .. }
                | AccountEvent::Released { .. } => 0,
            };
            table.update(info.id(), |row: Option<Turnover>| {
                let row = row.unwrap_or_default();
                Some(Turnover {
                    events: row.events + 1,
                    cents: row.cents + cents,
                })
            });
        });
    }
}

/// All rows of the ledger as of one position.
pub(crate) async fn ledger(
    table: &TableView<Ledger>,
) -> Result<(GlobalPosition, BTreeMap<String, Value>), ViewError> {
    loop {
        let (mut all, mut after, mut positions) = (BTreeMap::new(), None, Vec::new());
        loop {
            let page = table.scan("", after, usize::MAX).await?;
            positions.push(page.position);
            all.extend(page.rows.into_iter().map(|(key, row)| {
                let shown = json!({ "events": row.events, "cents": row.cents });
                (String::from_utf8_lossy(&key).into_owned(), shown)
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // Pages that are as of different positions make no view.
        if let Some((first, others)) = positions.split_first()
            && others.iter().all(|position| position == first)
        {
            return Ok((*first, all));
        }
    }
}

/// A view as keys and values, whatever it is.
pub(crate) trait Shown: Projection {
    fn all(&self) -> BTreeMap<String, Value>;
}

/// SHA-256 over its lines, `key<TAB>value`, sorted and joined by newlines.
pub(crate) fn digest(all: &BTreeMap<String, Value>) -> String {
    let line = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}\t{text}"),
        other => format!("{key}\t{other}"),
    };
    let lines: Vec<String> = all.iter().map(line).collect();
    format!("{:x}", Sha256::digest(lines.join("\n")))
}

impl Shown for Balances {
    fn all(&self) -> BTreeMap<String, Value> {
        self.0
            .iter()
            .map(|(id, cents)| (id.clone(), (*cents).into()))
            .collect()
    }
}

impl Shown for OrderStatus {
    fn all(&self) -> BTreeMap<String, Value> {
        self.0
            .iter()
            .map(|(id, status)| (id.clone(), (*status).into()))
            .collect()
    }
}

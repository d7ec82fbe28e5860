//! The views that a checker can query.

use std::collections::BTreeMap;

use chronicler::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::account::{Account, AccountEvent};
use crate::domain::{Order, OrderEvent};

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

/// A view as keys and values, whatever it is.
pub(crate) trait Shown: Projection {
    fn all(&self) -> BTreeMap<String, Value>;

    /// SHA-256 over its lines, `key<TAB>value`, sorted and joined by newlines.
    fn digest(&self) -> String {
        let line = |(key, value): (&String, &Value)| match value {
            Value::String(text) => format!("{key}\t{text}"),
            other => format!("{key}\t{other}"),
        };
        let lines: Vec<String> = self.all().iter().map(line).collect();
        format!("{:x}", Sha256::digest(lines.join("\n")))
    }
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

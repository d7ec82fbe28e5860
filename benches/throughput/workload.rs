//! The aggregate, its commands and the view that everything is measured with.

use std::collections::HashMap;
use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::projections::Handlers;
use serde::{Deserialize, Serialize};

use crate::Measured;

/// Makes a payload of 100 bytes, and a frame of about twice that: what the ratios are measured with.
pub(crate) const MEMO_BYTES: usize = 98;

/// A bank account.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    pub(crate) deposits: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Deposit {
    cents: i64,
    memo: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    /// As bincode a byte of amount, one of length, and the memo.
    Deposited { cents: i64, memo: String },
}

impl Event for AccountEvent {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = Deposit;
    type Event = AccountEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: Deposit, _: &Context) -> Decided<Self> {
        let Deposit { cents, memo } = command;
        Ok(AccountEvent::Deposited { cents, memo }.into())
    }

    fn evolve(&mut self, event: &AccountEvent) {
        let AccountEvent::Deposited { cents, .. } = event;
        self.cents += cents;
        self.deposits += 1;
    }
}

impl Deposit {
    /// A deposit with a memo of so many bytes.
    pub(crate) fn with_memo(bytes: usize) -> Self {
        Self {
            cents: 1,
            memo: "m".repeat(bytes),
        }
    }
}

impl Default for Deposit {
    fn default() -> Self {
        Self::with_memo(MEMO_BYTES)
    }
}

/// The balance of every account.
#[derive(Clone, Default)]
pub(crate) struct Balances(pub HashMap<String, i64>);

impl Projection for Balances {
    const NAME: &'static str = "balances";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, info| {
            let AccountEvent::Deposited { cents, .. } = event;
            match view.0.get_mut(info.id()) {
                Some(balance) => *balance += cents,
                None => {
                    view.0.insert(info.id().to_owned(), *cents);
                }
            }
        });
    }
}

/// The ids of so many accounts.
pub(crate) fn accounts(count: usize) -> Measured<Arc<[AggregateId]>> {
    let id = |number| AggregateId::new(format!("account-{number:06}"));
    Ok((0..count).map(id).collect::<Result<_, _>>()?)
}

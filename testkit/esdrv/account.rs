//! An account of a bank: cents that are there, and cents that are set aside for transfers.

use std::collections::{BTreeMap, BTreeSet};

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an account can be asked. Missing amounts are zero.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum AccountCommand {
    /// With an amount to begin with.
    Open {
        #[serde(default, alias = "amount", alias = "balance")]
        cents: i64,
    },
    Deposit {
        #[serde(alias = "amount")]
        cents: i64,
        /// Of a transfer, and from which account it comes.
        #[serde(default)]
        of: Option<Part>,
    },
    Withdraw {
        #[serde(alias = "amount")]
        cents: i64,
    },
    /// Sets cents aside. With `to`, the saga `transfer` of the same id brings them there.
    Reserve {
        #[serde(alias = "id", alias = "key", alias = "reservation")]
        transfer: String,
        #[serde(alias = "amount")]
        cents: i64,
        #[serde(default)]
        to: Option<String>,
        /// The account itself.
        #[serde(default)]
        from: String,
    },
    /// Gives back what was set aside.
    Release {
        #[serde(alias = "id", alias = "key", alias = "reservation")]
        transfer: String,
    },
    /// Lets go of what was set aside: it is elsewhere.
    Settle {
        #[serde(alias = "id", alias = "key", alias = "reservation")]
        transfer: String,
    },
}

/// The part of a transfer that an amount is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) transfer: String,
    pub(crate) from: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened {
        cents: i64,
    },
    Deposited {
        cents: i64,
        of: Option<Part>,
    },
    Withdrawn {
        cents: i64,
    },
    Reserved {
        transfer: String,
        cents: i64,
        to: Option<String>,
        from: String,
    },
    Released {
        transfer: String,
        cents: i64,
    },
    Settled {
        transfer: String,
        cents: i64,
        /// Whether a transfer of ours moved it; else it left the bank.
        moved: bool,
    },
}

impl Event for AccountEvent {}

#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub(crate) enum AccountRejection {
    #[error("the account is not open")]
    NotOpen,
    #[error("the account is open already")]
    OpenAlready,
    #[error("an amount must be above zero")]
    NoAmount,
    #[error("insufficient funds: {available} available")]
    InsufficientFunds { available: i64 },
    #[error("nothing is reserved under {transfer:?}")]
    NotReserved { transfer: String },
    #[error("{transfer:?} was used before")]
    UsedBefore { transfer: String },
}

/// What an account must know to decide.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    open: bool,
    /// What can be withdrawn.
    available: i64,
    /// What is set aside, by transfer, and whether a transfer of ours moves it.
    reserved: BTreeMap<String, (i64, bool)>,
    used: BTreeSet<String>,
}

impl Account {
    pub(crate) fn shown(&self) -> serde_json::Value {
        let reserved: BTreeMap<_, _> = self
            .reserved
            .iter()
            .map(|(key, (cents, _))| (key, cents))
            .collect();
        serde_json::json!({
            "open": self.open,
            "balance": self.available + reserved.values().copied().sum::<i64>(),
            "available": self.available,
            "reserved": reserved,
        })
    }

    fn take(&self, cents: i64) -> Result<(), AccountRejection> {
        match cents {
            ..=0 => Err(AccountRejection::NoAmount),
            _ if cents > self.available => Err(AccountRejection::InsufficientFunds {
                available: self.available,
            }),
            _ => Ok(()),
        }
    }

    fn set_aside(&self, transfer: &str) -> Result<(i64, bool), AccountRejection> {
        let found = self.reserved.get(transfer).copied();
        let transfer = transfer.to_owned();
        found.ok_or(AccountRejection::NotReserved { transfer })
    }
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    /// What can be withdrawn afterwards.
    type Reply = i64;
    type Rejection = AccountRejection;

    fn decide(&self, command: AccountCommand, _: &Context) -> Decided<Self> {
        let event = match command {
            AccountCommand::Open { .. } if self.open => return Err(AccountRejection::OpenAlready),
            AccountCommand::Open { cents } if cents < 0 => return Err(AccountRejection::NoAmount),
            AccountCommand::Open { cents } => AccountEvent::Opened { cents },
            _ if !self.open => return Err(AccountRejection::NotOpen),
            AccountCommand::Deposit { cents, .. } if cents <= 0 => {
                return Err(AccountRejection::NoAmount);
            }
            AccountCommand::Deposit { cents, of } => AccountEvent::Deposited { cents, of },
            AccountCommand::Withdraw { cents } => {
                self.take(cents)?;
                AccountEvent::Withdrawn { cents }
            }
            AccountCommand::Reserve { transfer, .. } if self.used.contains(&transfer) => {
                return Err(AccountRejection::UsedBefore { transfer });
            }
            AccountCommand::Reserve {
                transfer,
                cents,
                to,
                from,
            } => {
                self.take(cents)?;
                AccountEvent::Reserved {
                    transfer,
                    cents,
                    to,
                    from,
                }
            }
            AccountCommand::Release { transfer } => {
                let (cents, _) = self.set_aside(&transfer)?;
                AccountEvent::Released { transfer, cents }
            }
            AccountCommand::Settle { transfer } => {
                let (cents, moved) = self.set_aside(&transfer)?;
                AccountEvent::Settled {
                    transfer,
                    cents,
                    moved,
                }
            }
        };
        let mut after = self.clone();
        after.evolve(&event);
        Ok(Decision::event(event).reply(after.available))
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { cents } => (self.open, self.available) = (true, *cents),
            AccountEvent::Deposited { cents, .. } => self.available += cents,
            AccountEvent::Withdrawn { cents } => self.available -= cents,
            AccountEvent::Reserved {
                transfer,
                cents,
                to,
                ..
            } => {
                self.available -= cents;
                self.used.insert(transfer.clone());
                self.reserved
                    .insert(transfer.clone(), (*cents, to.is_some()));
            }
            AccountEvent::Released { transfer, cents } => {
                self.available += cents;
                self.reserved.remove(transfer);
            }
            AccountEvent::Settled { transfer, .. } => {
                self.reserved.remove(transfer);
            }
        }
    }
}

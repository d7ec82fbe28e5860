//! Accounts, and orders to move money between them.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) is_open: bool,
    pub(crate) cents: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum AccountCommand {
    Open {
        cents: i64,
    },
    Withdraw {
        cents: i64,
    },
    Deposit {
        cents: i64,
    },
    /// Money that comes back: taken even by an account that was closed meanwhile.
    GiveBack {
        cents: i64,
    },
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened { cents: i64 },
    Withdrawn { cents: i64 },
    Deposited { cents: i64 },
    Closed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the account is not open")]
    NotOpen,
    #[error("the account is open already")]
    OpenAlready,
    #[error("there are only {cents} cents")]
    NotEnough { cents: i64 },
}

impl Event for AccountEvent {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    /// The balance afterwards, in cents.
    type Reply = i64;
    type Rejection = Refusal;

    fn decide(&self, command: AccountCommand, _: &Context) -> Decided<Self> {
        let becomes = |event, cents| Ok(Decision::event(event).reply(cents));
        match command {
            AccountCommand::Open { .. } if self.is_open => Err(Refusal::OpenAlready),
            AccountCommand::Open { cents } => becomes(AccountEvent::Opened { cents }, cents),
            AccountCommand::GiveBack { cents } => {
                becomes(AccountEvent::Deposited { cents }, self.cents + cents)
            }
            _ if !self.is_open => Err(Refusal::NotOpen),
            AccountCommand::Withdraw { cents } if cents > self.cents => {
                Err(Refusal::NotEnough { cents: self.cents })
            }
            AccountCommand::Withdraw { cents } => {
                becomes(AccountEvent::Withdrawn { cents }, self.cents - cents)
            }
            AccountCommand::Deposit { cents } => {
                becomes(AccountEvent::Deposited { cents }, self.cents + cents)
            }
            AccountCommand::Close => becomes(AccountEvent::Closed, self.cents),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { cents } => (self.is_open, self.cents) = (true, *cents),
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Closed => self.is_open = false,
        }
    }
}

/// An order to move money. It never says no: what comes of it is told by the accounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) state: TransferState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum TransferState {
    #[default]
    Unknown,
    Requested,
    Completed,
    Failed,
}

/// What is to be moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum TransferCommand {
    Request(Amount),
    Complete,
    Fail,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TransferEvent {
    Requested(Amount),
    Completed,
    Failed,
}

impl Event for TransferEvent {}

impl Aggregate for Transfer {
    const CATEGORY: &'static str = "transfer";
    type Command = TransferCommand;
    type Event = TransferEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: TransferCommand, _: &Context) -> Decided<Self> {
        Ok(match (command, self.state) {
            (TransferCommand::Request(amount), TransferState::Unknown) => {
                TransferEvent::Requested(amount).into()
            }
            (TransferCommand::Complete, TransferState::Requested) => {
                TransferEvent::Completed.into()
            }
            (TransferCommand::Fail, TransferState::Requested) => TransferEvent::Failed.into(),
            _ => Decision::nothing(),
        })
    }

    fn evolve(&mut self, event: &TransferEvent) {
        self.state = match event {
            TransferEvent::Requested(_) => TransferState::Requested,
            TransferEvent::Completed => TransferState::Completed,
            TransferEvent::Failed => TransferState::Failed,
        };
    }
}

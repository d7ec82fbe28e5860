//! The application in trouble: accounts, and transfers between them as sagas that are undone when they are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

/// A transfer of so many cents and a multiple of ten is refused by its receiver, and undone.
const REFUSED_REST: i64 = 7;
/// How long a transfer rests on its way, if it does.
const REST: Duration = Duration::from_millis(150);
/// One transfer in so many rests on its way.
const RESTS: u64 = 4;

/// An account. Nobody opens it; it begins with nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cents: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AccountCommand {
    /// So many events of so many cents, in one commit.
    Deposit { number: u64, cents: i64, parts: u64 },
    /// Rejected if there is less.
    Withdraw { number: u64, cents: i64 },
    /// The first leg of a transfer; rejected if there is less.
    Take { transfer: u64, cents: i64 },
    /// The second one; see [`is_refused`].
    Give { transfer: u64, cents: i64 },
    /// The first one, undone.
    GiveBack { transfer: u64, cents: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Deposited { number: u64, cents: i64 },
    Withdrawn { number: u64, cents: i64 },
    Taken { transfer: u64, cents: i64 },
    Given { transfer: u64, cents: i64 },
    GivenBack { transfer: u64, cents: i64 },
}

impl Event for AccountEvent {}

impl AccountEvent {
    /// What it adds to its account.
    pub(crate) fn adds(&self) -> i64 {
        match self {
            Self::Deposited { cents, .. }
            | Self::Given { cents, .. }
            | Self::GivenBack { cents, .. } => *cents,
            Self::Withdrawn { cents, .. } | Self::Taken { cents, .. } => -cents,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    #[error("there are only {cents} cents")]
    TooLittle { cents: i64 },
    #[error("such an amount is not taken")]
    NotTaken,
}

/// Whether the receiver refuses a transfer of so many cents.
pub(crate) fn is_refused(cents: i64) -> bool {
    cents % 10 == REFUSED_REST
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Reply = ();
    type Rejection = Refusal;

    fn decide(&self, command: AccountCommand, _: &Context) -> Decided<Self> {
        let is_there = |cents| match cents <= self.cents {
            true => Ok(()),
            false => Err(Refusal::TooLittle { cents: self.cents }),
        };
        Ok(match command {
            AccountCommand::Deposit {
                number,
                cents,
                parts,
            } => Decision::events((0..parts).map(|_| AccountEvent::Deposited { number, cents })),
            AccountCommand::Withdraw { number, cents } => {
                is_there(cents)?;
                AccountEvent::Withdrawn { number, cents }.into()
            }
            AccountCommand::Take { transfer, cents } => {
                is_there(cents)?;
                AccountEvent::Taken { transfer, cents }.into()
            }
            AccountCommand::Give { cents, .. } if is_refused(cents) => {
                return Err(Refusal::NotTaken);
            }
            AccountCommand::Give { transfer, cents } => {
                AccountEvent::Given { transfer, cents }.into()
            }
            AccountCommand::GiveBack { transfer, cents } => {
                AccountEvent::GivenBack { transfer, cents }.into()
            }
        })
    }

    fn evolve(&mut self, event: &AccountEvent) {
        self.cents += event.adds();
    }
}

/// A wish to move money, once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Transfer {
    is_started: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) number: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TransferEvent {
    Started(Amount),
}

impl Event for TransferEvent {}

impl Aggregate for Transfer {
    const CATEGORY: &'static str = "transfer";
    type Command = Amount;
    type Event = TransferEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, amount: Amount, _: &Context) -> Decided<Self> {
        Ok(match self.is_started {
            true => Decision::nothing(),
            false => TransferEvent::Started(amount).into(),
        })
    }

    fn evolve(&mut self, _: &TransferEvent) {
        self.is_started = true;
    }
}

/// The saga: takes, rests perhaps, and gives; or gives back.
pub(crate) struct MoneyTransfer;

impl Saga for MoneyTransfer {
    const NAME: &'static str = "move-money";
    type State = Option<Amount>;
    type Event = TransferEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Transfer>(|_, info| Route::start(&info.id));
    }

    fn on(&self, state: &Option<Amount>, input: &Input, _: &SagaContext) -> Next<Self> {
        if let Some(started) = input.event::<Transfer>() {
            let TransferEvent::Started(Amount {
                number: transfer,
                from,
                cents,
                ..
            }) = started.clone();
            return Next::stay()
                .record(started.clone())
                .send::<Account>("take", &from, AccountCommand::Take { transfer, cents })
                .undo::<Account>(&from, AccountCommand::GiveBack { transfer, cents });
        }
        let Some(amount) = state else {
            return Next::stay();
        };
        let give = || {
            let (transfer, cents) = (amount.number, amount.cents);
            let command = AccountCommand::Give { transfer, cents };
            Next::stay().send::<Account>("give", &amount.to, command)
        };
        if input.timer().is_some() {
            return give();
        }
        let Some(outcome) = input.answer() else {
            return Next::stay();
        };
        match (outcome.key(), outcome.is_done()) {
            ("take", true) if amount.number % RESTS == 0 => Next::stay().timer("rest", REST),
            ("take", true) => give(),
            ("give", true) => Next::stay().complete(),
            (key, _) => Next::stay().compensate(format!("{key} was refused")),
        }
    }

    fn evolve(state: &mut Option<Amount>, event: &TransferEvent) {
        let TransferEvent::Started(amount) = event;
        *state = Some(amount.clone());
    }
}

/// Account to cents, in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Balances(pub(crate) BTreeMap<String, i64>);

impl Projection for Balances {
    const NAME: &'static str = "balances";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, info| {
            *view.0.entry(info.id().to_owned()).or_default() += event.adds();
        });
    }
}

/// Account to cents and events, in the store.
pub(crate) struct Statements;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) cents: i64,
    pub(crate) events: u64,
}

impl TableProjection for Statements {
    const NAME: &'static str = "statements";
    type Row = Statement;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|table: &mut Table<Statement>, event, info| {
            table.update(info.id(), |row: Option<Statement>| {
                let row = row.unwrap_or_default();
                Some(Statement {
                    cents: row.cents + event.adds(),
                    events: row.events + 1,
                })
            });
        });
    }
}

//! A transfer between two accounts: set aside, bring over, let go; or give back.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountCommand, AccountEvent, Part};

/// A wish to transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum TransferCommand {
    Start {
        from: String,
        to: String,
        #[serde(alias = "amount")]
        cents: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TransferEvent {
    Started {
        from: String,
        to: String,
        cents: i64,
    },
}

impl Event for TransferEvent {}

/// A wish to transfer, once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) started: bool,
}

impl Aggregate for Transfer {
    const CATEGORY: &'static str = "transfer";
    type Command = TransferCommand;
    type Event = TransferEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: TransferCommand, _: &Context) -> Decided<Self> {
        let TransferCommand::Start { from, to, cents } = command;
        if self.started {
            return Ok(Decision::nothing());
        }
        Ok(TransferEvent::Started { from, to, cents }.into())
    }

    fn evolve(&mut self, _: &TransferEvent) {
        self.started = true;
    }
}

/// The saga: begins with a transfer that was started, or with cents set aside for another account.
pub(crate) struct MoneyTransfer;

/// What is moved where, and how far it has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Moving {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
    /// Whether the cents were set aside before the saga began.
    pub(crate) by_hand: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum MoneyTransferEvent {
    Began {
        from: String,
        to: String,
        cents: i64,
        by_hand: bool,
    },
}

impl Event for MoneyTransferEvent {}

impl Saga for MoneyTransfer {
    const NAME: &'static str = "transfer";
    type State = Moving;
    type Event = MoneyTransferEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Transfer>(|_, info| Route::start(&info.id));
        on.event::<Account>(|event, _| match event {
            AccountEvent::Reserved {
                transfer,
                to: Some(_),
                ..
            } => Route::start(transfer),
            _ => Route::ignore(),
        });
    }

    fn on(&self, state: &Moving, input: &Input, ctx: &SagaContext) -> Next<Self> {
        if let Some(TransferEvent::Started { from, to, cents }) = input.event::<Transfer>() {
            let began = MoneyTransferEvent::Began {
                from: from.clone(),
                to: to.clone(),
                cents: *cents,
                by_hand: false,
            };
            let transfer = ctx.id.clone();
            let reserve = AccountCommand::Reserve {
                transfer: transfer.clone(),
                cents: *cents,
                to: Some(to.clone()),
                from: from.clone(),
            };
            // The account's own event finds the saga begun, and is passed over.
            return Next::stay()
                .record(began)
                .send::<Account>("reserve", from, reserve)
                .undo::<Account>(from, AccountCommand::Release { transfer });
        }
        if let Some(AccountEvent::Reserved {
            cents,
            to: Some(to),
            from,
            ..
        }) = input.event::<Account>()
        {
            let began = MoneyTransferEvent::Began {
                from: from.clone(),
                to: to.clone(),
                cents: *cents,
                by_hand: true,
            };
            return Next::stay()
                .record(began)
                .and(deposit(&ctx.id, from, to, *cents));
        }
        let Some(outcome) = input.answer() else {
            return Next::stay();
        };
        let transfer = ctx.id.clone();
        match (outcome.key(), outcome.is_done()) {
            ("reserve", true) => deposit(&ctx.id, &state.from, &state.to, state.cents),
            ("deposit", true) => {
                let settle = AccountCommand::Settle { transfer };
                Next::stay()
                    .pivot()
                    .send::<Account>("settle", &state.from, settle)
            }
            ("settle", true) => Next::stay().complete(),
            ("deposit", false) if state.by_hand => {
                let release = AccountCommand::Release { transfer };
                Next::stay().send::<Account>("give back", &state.from, release)
            }
            ("give back", _) => Next::stay().fail("the deposit was refused; given back"),
            (key, _) => Next::stay().compensate(format!("{key} was refused")),
        }
    }

    fn evolve(state: &mut Moving, event: &MoneyTransferEvent) {
        let MoneyTransferEvent::Began {
            from,
            to,
            cents,
            by_hand,
        } = event;
        (state.from, state.to) = (from.clone(), to.clone());
        (state.cents, state.by_hand) = (*cents, *by_hand);
    }
}

fn deposit(id: &str, from: &str, to: &str, cents: i64) -> Next<MoneyTransfer> {
    let of = Some(Part {
        transfer: id.to_owned(),
        from: from.to_owned(),
    });
    Next::stay().send::<Account>("deposit", to, AccountCommand::Deposit { cents, of })
}

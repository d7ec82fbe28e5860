//! How money moves: taken from one account, and then given to the other or given back.

use chronicler::prelude::*;

use crate::bank::{Account, AccountCommand, Amount, Transfer, TransferCommand, TransferEvent};

/// Moves money from one account to another.
pub(crate) struct MoneyTransfer;

step_keys! {
    Ordered = "ordered" -> ();
    Withdraw = "withdraw" -> i64;
    Deposit = "deposit" -> i64;
    Complete = "complete" -> ();
}

impl StepSaga for MoneyTransfer {
    const NAME: &'static str = "money-transfer";
    type Start = Amount;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Transfer>(|event, info| match event {
            TransferEvent::Requested(_) => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(event: &Input) -> Option<Amount> {
        match event.event::<Transfer>()? {
            TransferEvent::Requested(amount) => Some(amount.clone()),
            _ => None,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .on_undo(Ordered, |seen| {
                to::<Transfer>(seen.id(), TransferCommand::Fail)
            })
            .step(
                Withdraw,
                |seen| {
                    let Amount { from, cents, .. } = seen.start().clone();
                    to::<Account>(from, AccountCommand::Withdraw { cents })
                },
                |seen, _| {
                    let Amount { from, cents, .. } = seen.start().clone();
                    to::<Account>(from, AccountCommand::GiveBack { cents })
                },
            )
            .pivot(Deposit, |seen| {
                let Amount {
                    to: account, cents, ..
                } = seen.start().clone();
                to::<Account>(account, AccountCommand::Deposit { cents })
            })
            .then(Complete, |seen| {
                to::<Transfer>(seen.id(), TransferCommand::Complete)
            })
            .build()
    }
}

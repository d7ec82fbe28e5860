//! How an order is paid: charged over HTTP, then confirmed; or, if nobody can say that it was charged, given back.

use std::time::Duration;

use chronicler::prelude::*;

use crate::client::{Declined, PAYMENTS, PaymentReply, PaymentRequest};
use crate::order::{Order, OrderCommand, OrderEvent};

/// How long a charge may take, the time included that the server is down.
const CHARGED_WITHIN: Duration = Duration::from_secs(600);
/// How long one request may take before nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many charges are under way at a time: when the server comes up again, not everybody is to come at once.
const AT_A_TIME: u32 = 50;

/// Pays orders.
pub(crate) struct Payment;

step_keys! {
    Charged = "charge" -> PaymentReply;
    Confirmed = "confirm" -> ();
    Cancelled = "cancel" -> ();
}

impl StepSaga for Payment {
    const NAME: &'static str = "http-payment";
    /// What is to be paid, in cents.
    type Start = u64;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed { .. } => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(event: &Input) -> Option<u64> {
        match event.event::<Order>()? {
            OrderEvent::Placed { cents } => Some(*cents),
            _ => None,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<_, Declined>(
                Charged,
                |seen| {
                    let (order, cents) = (seen.id().to_owned(), *seen.start());
                    to_service(PAYMENTS, &PaymentRequest::Charge { order, cents })
                },
                // The same for a charge that nobody knows of: the server finds out, and takes none later.
                |seen, _: Attempt<'_, PaymentReply>| {
                    let order = seen.id().to_owned();
                    to_service(PAYMENTS, &PaymentRequest::Refund { order })
                },
            )
            .patience(PATIENCE)
            .at_most(AT_A_TIME, PAYMENTS)
            .within(CHARGED_WITHIN)
            // Before it is given back in doubt it is looked for.
            .probe(|seen| {
                let order = seen.id().to_owned();
                to_service(PAYMENTS, &PaymentRequest::Look { order })
            })
            .pivot(Confirmed, |seen| {
                let charge = seen.output(Charged).charge.clone();
                to::<Order>(seen.id(), OrderCommand::Confirm { charge })
            })
            .if_undone(Cancelled, |seen, why| {
                let why = match why.rejection::<Declined>() {
                    Some(declined) => declined.to_string(),
                    None => why.reason().to_owned(),
                };
                to::<Order>(seen.id(), OrderCommand::Cancel { why })
            })
            .build()
    }
}

//! One payment of an order: authorized, captured, and given back if it must be.

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Amount, SourceTime};

/// What a payment is for; every event carries it, so that a view needs to look nothing up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The order that it pays; none for money paid out on a return that names no order.
    pub order: Option<String>,
    /// `credit_card`, `voucher`, …: as the source calls it.
    pub kind: String,
    /// How much.
    pub amount: Amount,
    /// The state that the customer lives in.
    pub region: Option<String>,
}

/// What a payment can be asked. The times are the source's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentCommand {
    /// Set the money aside.
    Authorize { charge: Charge, at: SourceTime },
    /// Take the money that was set aside.
    Capture { at: SourceTime },
    /// Let go of the money that was set aside. Where none is, there is nothing to let go.
    Void,
    /// Give back the money that was taken.
    Refund,
    /// Give money for returned goods, whatever was paid for them.
    PayOut { charge: Charge, at: SourceTime },
}

/// What can have happened to a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    Authorized { charge: Charge, at: SourceTime },
    Captured { charge: Charge, at: SourceTime },
    Voided { charge: Charge },
    Refunded { charge: Charge },
    PaidOut { charge: Charge, at: SourceTime },
}

impl Event for PaymentEvent {}

/// How a payment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    #[default]
    Unknown,
    Authorized,
    Captured,
    Voided,
    Refunded,
    PaidOut,
}

/// Why a payment says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum PaymentRejection {
    #[error("the payment is {0:?}")]
    Standing(Standing),
    #[error("the payment was made with other terms")]
    OtherTerms,
}

/// What a payment must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    standing: Standing,
    charge: Charge,
}

impl Aggregate for Payment {
    const CATEGORY: &'static str = "payment";

    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Reply = ();
    type Rejection = PaymentRejection;

    fn decide(&self, command: PaymentCommand, _: &Context) -> Decided<Self> {
        use Standing::{Authorized, Captured, PaidOut, Refunded, Unknown, Voided};
        match (command, self.standing) {
            (PaymentCommand::Authorize { charge, at }, Unknown) => {
                Ok(PaymentEvent::Authorized { charge, at }.into())
            }
            (PaymentCommand::PayOut { charge, at }, Unknown) => {
                Ok(PaymentEvent::PaidOut { charge, at }.into())
            }
            (PaymentCommand::Authorize { charge, .. }, Authorized | Captured)
            | (PaymentCommand::PayOut { charge, .. }, PaidOut) => {
                if charge == self.charge {
                    Ok(Decision::nothing())
                } else {
                    Err(PaymentRejection::OtherTerms)
                }
            }
            (PaymentCommand::Capture { at }, Authorized) => {
                Ok(self.event(|charge| PaymentEvent::Captured { charge, at }))
            }
            (PaymentCommand::Void, Authorized) => {
                Ok(self.event(|charge| PaymentEvent::Voided { charge }))
            }
            (PaymentCommand::Refund, Captured) => {
                Ok(self.event(|charge| PaymentEvent::Refunded { charge }))
            }
            (PaymentCommand::Capture { .. }, Captured)
            | (PaymentCommand::Void, Unknown | Voided | Refunded)
            | (PaymentCommand::Refund, Refunded) => Ok(Decision::nothing()),
            (_, standing) => Err(PaymentRejection::Standing(standing)),
        }
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        let (standing, charge) = match event {
            PaymentEvent::Authorized { charge, .. } => (Standing::Authorized, charge),
            PaymentEvent::Captured { charge, .. } => (Standing::Captured, charge),
            PaymentEvent::Voided { charge } => (Standing::Voided, charge),
            PaymentEvent::Refunded { charge } => (Standing::Refunded, charge),
            PaymentEvent::PaidOut { charge, .. } => (Standing::PaidOut, charge),
        };
        self.standing = standing;
        self.charge.clone_from(charge);
    }
}

impl Payment {
    fn event(&self, make: impl FnOnce(Charge) -> PaymentEvent) -> Decision<PaymentEvent> {
        make(self.charge.clone()).into()
    }
}

#[cfg(test)]
mod tests {
    use chronicler_testkit::given;

    use super::*;

    const AT: SourceTime = SourceTime::from_micros(1);

    fn charge(amount: Amount) -> Charge {
        Charge {
            order: Some("o-1".into()),
            kind: "voucher".into(),
            amount,
            region: Some("SP".into()),
        }
    }

    #[test]
    fn money_is_set_aside_taken_and_given_back_once() {
        let charge = charge(500);
        given::<Payment>([])
            .when(PaymentCommand::Authorize {
                charge: charge.clone(),
                at: AT,
            })
            .then_events([PaymentEvent::Authorized {
                charge: charge.clone(),
                at: AT,
            }])
            .and_then()
            .when(PaymentCommand::Capture { at: AT })
            .then_events([PaymentEvent::Captured {
                charge: charge.clone(),
                at: AT,
            }])
            .and_then()
            .when(PaymentCommand::Capture { at: AT })
            .then_events([])
            .and_then()
            .when(PaymentCommand::Refund)
            .then_events([PaymentEvent::Refunded { charge }])
            .and_then()
            .when(PaymentCommand::Refund)
            .then_events([])
            .and_then()
            .when(PaymentCommand::Capture { at: AT })
            .then_rejected(PaymentRejection::Standing(Standing::Refunded));
    }

    #[test]
    fn what_was_taken_cannot_be_let_go() {
        given::<Payment>([PaymentEvent::Captured {
            charge: charge(1),
            at: AT,
        }])
        .when(PaymentCommand::Void)
        .then_rejected(PaymentRejection::Standing(Standing::Captured));
        given::<Payment>([])
            .when(PaymentCommand::Void)
            .then_events([]);
    }

    #[test]
    fn the_terms_do_not_change() {
        given::<Payment>([PaymentEvent::Authorized {
            charge: charge(1),
            at: AT,
        }])
        .when(PaymentCommand::Authorize {
            charge: charge(2),
            at: AT,
        })
        .then_rejected(PaymentRejection::OtherTerms);
    }
}

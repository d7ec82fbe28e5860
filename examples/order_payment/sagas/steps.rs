//! What the processes share.

use crate::domain::{Charge, Line, PaymentCommand, PaymentPlan, Placement, ReservationKey};

/// Sets the money of one payment aside.
pub(super) fn authorization(
    order: &str,
    placement: &Placement,
    plan: &PaymentPlan,
) -> PaymentCommand {
    let charge = Charge {
        order: Some(order.to_owned()),
        kind: plan.kind.clone(),
        amount: plan.amount,
        region: placement.region.clone(),
    };
    let at = placement.at;
    PaymentCommand::Authorize { charge, at }
}

/// The lines of an order that take something from the stock, with their places.
pub(super) fn stocked(placement: &Placement) -> impl Iterator<Item = (u32, &Line)> {
    (0..).zip(&placement.lines).filter(|(_, line)| line.stocked)
}

/// What the units of a line are promised under.
pub(super) fn key_of(order: &str, line: u32) -> ReservationKey {
    let order = order.to_owned();
    ReservationKey { order, line }
}

//! The steps that the processes share: what each one sends, and how it is taken back.

use chronicler::prelude::*;

use crate::domain::{
    Charge, Inventory, InventoryCommand, Line, Payment, PaymentCommand, PaymentPlan, Placement,
    ReservationKey, SourceTime,
};

/// Sets the money of one payment aside.
pub(super) fn authorize<S: Saga>(
    next: Next<S>,
    order: &str,
    placement: &Placement,
    plan: &PaymentPlan,
) -> Next<S> {
    let id = plan.payment_id(order);
    let charge = Charge {
        order: Some(order.to_owned()),
        kind: plan.kind.clone(),
        amount: plan.amount,
        region: placement.region.clone(),
    };
    let at = placement.at;
    let key = format!("authorize-{}", plan.sequential);
    next.send::<Payment>(key, &id, PaymentCommand::Authorize { charge, at })
        .undo::<Payment>(&id, PaymentCommand::Void)
}

/// Takes the money of one payment.
pub(super) fn capture<S: Saga>(
    next: Next<S>,
    order: &str,
    plan: &PaymentPlan,
    at: SourceTime,
) -> Next<S> {
    let id = plan.payment_id(order);
    let key = format!("capture-{}", plan.sequential);
    next.send::<Payment>(key, &id, PaymentCommand::Capture { at })
        .undo::<Payment>(&id, PaymentCommand::Refund)
}

/// The lines of an order that take something from the stock, with their places.
pub(super) fn stocked(placement: &Placement) -> impl Iterator<Item = (u32, &Line)> {
    (0..).zip(&placement.lines).filter(|(_, line)| line.stocked)
}

/// Promises the units of one line.
pub(super) fn reserve<S: Saga>(next: Next<S>, order: &str, place: u32, line: &Line) -> Next<S> {
    let key = key_of(order, place);
    let release = InventoryCommand::Release { key: key.clone() };
    let quantity = line.quantity;
    next.send::<Inventory>(
        format!("reserve-{place}"),
        &line.sku,
        InventoryCommand::Reserve { key, quantity },
    )
    .undo::<Inventory>(&line.sku, release)
}

/// Hands over the units of every line.
pub(super) fn commit_lines<S: Saga>(next: Next<S>, order: &str, placement: &Placement) -> Next<S> {
    stocked(placement).fold(next, |next, (place, line)| {
        let key = key_of(order, place);
        next.send::<Inventory>(
            format!("commit-{place}"),
            &line.sku,
            InventoryCommand::Commit { key },
        )
    })
}

fn key_of(order: &str, line: u32) -> ReservationKey {
    let order = order.to_owned();
    ReservationKey { order, line }
}

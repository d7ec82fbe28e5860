//! The money: authorized, captured and given back, by month, by type and by region.

use std::collections::BTreeMap;

use chronicler::prelude::*;
use order_payment::domain::{Amount, Charge, Payment, PaymentEvent};

/// The money. A key that has none is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Money {
    pub(crate) authorized: Amount,
    pub(crate) captured: Amount,
    pub(crate) voided: Amount,
    pub(crate) refunded: Amount,
    /// Given for returned goods.
    pub(crate) paid_out: Amount,
    /// By month of the capture, as `2017-07`.
    pub(crate) captured_by_month: BTreeMap<String, Amount>,
    pub(crate) captured_by_type: BTreeMap<String, Amount>,
    pub(crate) captured_by_region: BTreeMap<String, Amount>,
    pub(crate) refunded_by_type: BTreeMap<String, Amount>,
    /// What each order holds at present.
    pub(crate) held: BTreeMap<String, Held>,
}

/// What an order holds at present.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Set aside and not yet taken.
    pub(crate) authorized: Amount,
    /// Taken and not given back.
    pub(crate) captured: Amount,
}

impl Money {
    fn hold(&mut self, charge: &Charge, authorized: Amount, captured: Amount) {
        let Some(order) = &charge.order else {
            return;
        };
        let held = self.held.entry(order.clone()).or_default();
        held.authorized += authorized;
        held.captured += captured;
    }
}

impl Projection for Money {
    const NAME: &'static str = "money";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Payment>(|view, event, _| match event {
            PaymentEvent::Authorized { charge, .. } => {
                view.authorized += charge.amount;
                view.hold(charge, charge.amount, 0);
            }
            PaymentEvent::Captured { charge, at } => {
                view.captured += charge.amount;
                *view.captured_by_month.entry(at.month()).or_default() += charge.amount;
                *view
                    .captured_by_type
                    .entry(charge.kind.clone())
                    .or_default() += charge.amount;
                if let Some(region) = &charge.region {
                    *view.captured_by_region.entry(region.clone()).or_default() += charge.amount;
                }
                view.hold(charge, -charge.amount, charge.amount);
            }
            PaymentEvent::Voided { charge } => {
                view.voided += charge.amount;
                view.hold(charge, -charge.amount, 0);
            }
            PaymentEvent::Refunded { charge } => {
                view.refunded += charge.amount;
                *view
                    .refunded_by_type
                    .entry(charge.kind.clone())
                    .or_default() += charge.amount;
                view.hold(charge, 0, -charge.amount);
            }
            PaymentEvent::PaidOut { charge, .. } => view.paid_out += charge.amount,
        });
    }
}

//! The checkout, input by input, without a runtime.

use std::sync::Arc;

use chronicler::prelude::*;
use chronicler_testkit::{GivenSaga, done, given_saga, rejected, unknown};

use crate::domain::inventory::InventoryRejection;
use crate::domain::{
    Inventory, InventoryCommand, Line, MessageId, Order, OrderCommand, OrderEvent, OrderRejection,
    PaymentPlan, Placement, Process, RejectReason, ReservationKey, SourceTime,
};
use crate::gateway::{Declined, GATEWAY, GatewayReply, GatewayRequest};
use crate::sagas::checkout::{Checkout, CheckoutEvent, Stage, WhyNot};

const UNITS: u32 = 2;

fn placement() -> Placement {
    let line = |sku: &str| Line {
        sku: sku.to_owned(),
        quantity: UNITS,
        unit_price: 50,
        freight: 0,
        seller: None,
        stocked: true,
    };
    Placement {
        message: MessageId {
            source: "a test".to_owned(),
            line: 1,
        },
        at: SourceTime::from_micros(1),
        customer: None,
        region: None,
        lines: vec![line("pen"), line("ink")],
        payments: vec![PaymentPlan {
            sequential: 1,
            kind: "card".to_owned(),
            amount: 200,
        }],
        process: Process::StockFirstByGateway,
    }
}

fn placed() -> GivenSaga<Checkout> {
    given_saga(Checkout)
        .with_id("o-1")
        .when(Input::of_event(OrderEvent::Placed(placement())))
        .then(reserve(
            Next::stay()
                .record(CheckoutEvent::Placed {
                    placement: Arc::new(placement()),
                })
                .record(CheckoutEvent::LineTaken { place: 0 }),
            "pen",
            0,
        ))
}

fn reserve(next: Next<Checkout>, sku: &str, line: u32) -> Next<Checkout> {
    let order = "o-1".to_owned();
    let key = ReservationKey { order, line };
    let command = InventoryCommand::Reserve {
        key: key.clone(),
        quantity: UNITS,
    };
    next.send::<Inventory>(format!("reserve-{line}"), sku, command)
        .undo::<Inventory>(sku, InventoryCommand::Release { key })
}

fn charge(next: Next<Checkout>, card: u32) -> Next<Checkout> {
    let charge = format!("o-1-1/{card}");
    let refund = GatewayRequest::Refund {
        charge: charge.clone(),
    };
    let request = GatewayRequest::Charge {
        charge,
        amount: 200,
    };
    next.call(format!("charge-1-{card}"), GATEWAY, &request)
        .undo_call(GATEWAY, &refund, &refund)
}

/// Both lines reserved, the first card under way.
fn paying() -> GivenSaga<Checkout> {
    let entered = CheckoutEvent::Entered {
        stage: Stage::Charging,
        pending: 1,
    };
    placed()
        .when(done("reserve-0", &()).unwrap())
        .then(reserve(
            Next::stay()
                .record(CheckoutEvent::Answered)
                .record(CheckoutEvent::LineTaken { place: 1 }),
            "ink",
            1,
        ))
        .when(done("reserve-1", &()).unwrap())
        .then(charge(
            Next::stay().record(CheckoutEvent::Answered).record(entered),
            1,
        ))
}

fn card_declined(card: u32) -> Input {
    let why = Declined {
        why: "the bank said no".to_owned(),
    };
    let codec = chronicler::store::codec::PayloadCodec::default();
    let payload = chronicler::store::codec::encode(codec, &why)
        .unwrap()
        .to_vec();
    let answer = chronicler::sagas::Answer::Rejected {
        codec: codec.id().number(),
        payload,
    };
    let key = format!("charge-1-{card}");
    Input::Outcome(chronicler::sagas::Outcome::new(key, answer))
}

fn given_up(why: WhyNot, reason: &str) -> Next<Checkout> {
    Next::stay()
        .record(CheckoutEvent::GivenUp { why })
        .compensate(reason)
}

#[test]
fn m02_a_shortage_on_the_second_line_gives_back_and_rejects_by_its_product() {
    let shortage = InventoryRejection::Shortage {
        wanted: UNITS,
        available: 1,
    };
    let reason = RejectReason::Shortage {
        sku: "ink".to_owned(),
    };
    let reject = OrderCommand::Reject {
        reason: reason.clone(),
    };
    placed()
        .when(done("reserve-0", &()).unwrap())
        .whatever()
        .when(rejected::<Inventory>("reserve-1", &shortage).unwrap())
        .then(given_up(
            WhyNot::Rejected(reason.clone()),
            &format!("{reason:?}"),
        ))
        .when(Input::Compensated {
            reason: String::new(),
        })
        .then(Next::stay().send::<Order>("end", "o-1", reject));
}

#[test]
fn m10_declined_twice_the_third_card_works() {
    let another = |card| charge(Next::stay().record(CheckoutEvent::CardDeclined), card);
    paying()
        .when(card_declined(1))
        .then(another(2))
        .when(card_declined(2))
        .then(another(3))
        .when(done("charge-1-3", &GatewayReply::Charged).unwrap())
        .whatever()
        .when(done("authorize-1", &()).unwrap())
        .whatever()
        .when(done("capture-1", &()).unwrap())
        .then(
            Next::stay()
                .record(CheckoutEvent::Answered)
                .record(CheckoutEvent::Entered {
                    stage: Stage::Confirming,
                    pending: 1,
                })
                .send::<Order>("confirm", "o-1", OrderCommand::Confirm),
        );
}

#[test]
fn m03_m04_the_last_card_declined_and_no_answer_at_all_end_it_for_their_reasons() {
    let declined = RejectReason::Declined {
        why: "the bank said no".to_owned(),
    };
    paying()
        .when(card_declined(3))
        .then(given_up(
            WhyNot::Rejected(declined.clone()),
            &format!("{declined:?}"),
        ))
        .when(Input::of_event(OrderEvent::CancelAsked))
        .then(Next::stay());
    paying()
        .when(unknown("charge-1-1", "no answer"))
        .then(given_up(
            WhyNot::Rejected(RejectReason::PaymentTimedOut),
            "PaymentTimedOut",
        ));
}

#[test]
fn m06_m07_a_customer_who_was_quicker_than_the_confirmation_gets_all_back() {
    let quicker = OrderRejection::CancelAsked;
    paying()
        .when(rejected::<Order>("confirm", &quicker).unwrap())
        .then(given_up(WhyNot::Canceled, "the customer wants it no more"))
        .when(Input::Compensated {
            reason: String::new(),
        })
        .then(Next::stay().send::<Order>("end", "o-1", OrderCommand::Cancel));
}

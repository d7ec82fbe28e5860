//! The checkout, input by input, without a runtime.

use chronicler::sagas::SagaStatus;
use chronicler::sagas::steps::Steps;
use chronicler_testkit::{
    Durations, Script, in_any_order, lose, never_answered, ok, reject, script_of,
};

use order_payment::domain::inventory::InventoryRejection;
use order_payment::domain::{
    CloseOrder, Deliver, Dispatch, HandOver, Inventory, InventoryCommand, Line, MessageId, Order,
    OrderCommand, OrderEvent, OrderRejection, Payment, PaymentCommand, PaymentPlan, Placement,
    Process, RejectReason, ReservationKey, Shipment, SourceTime,
};
use order_payment::gateway::{Declined, GATEWAY, GatewayReply, GatewayRequest};
use order_payment::sagas::Checkout;

const UNITS: u32 = 2;
const AT: SourceTime = SourceTime::from_micros(1);

type Played = Script<Steps<Checkout>>;

fn placement() -> Placement {
    let line = |sku: &str, stocked: bool| Line {
        sku: sku.to_owned(),
        quantity: UNITS,
        unit_price: 50,
        freight: 0,
        seller: None,
        stocked,
    };
    Placement {
        message: MessageId {
            source: "a test".to_owned(),
            line: 1,
        },
        at: AT,
        customer: None,
        region: None,
        lines: vec![
            line("pen", true),
            line("gift wrap", false),
            line("ink", true),
        ],
        payments: vec![PaymentPlan {
            sequential: 1,
            kind: "card".to_owned(),
            amount: 200,
        }],
        process: Process::StockFirstByGateway,
    }
}

fn key(line: u32) -> ReservationKey {
    let order = "o-1".to_owned();
    ReservationKey { order, line }
}

fn reserve(line: u32) -> InventoryCommand {
    InventoryCommand::Reserve {
        key: key(line),
        quantity: UNITS,
    }
}

fn placed() -> Played {
    script_of(Steps::<Checkout>::of(), "o-1").given(OrderEvent::Placed(placement()))
}

/// Both stocked lines reserved, one after the other; the first card is under way.
fn paying() -> Played {
    placed()
        .expect::<Inventory>("pen", reserve(0))
        .reply(ok(&()))
        .expect::<Inventory>("ink", reserve(2))
        .reply(ok(&()))
}

fn charge(card: u32) -> GatewayRequest {
    let charge = format!("o-1-1/{card}");
    let amount = 200;
    GatewayRequest::Charge { charge, amount }
}

fn refund(card: u32) -> GatewayRequest {
    let charge = format!("o-1-1/{card}");
    GatewayRequest::Refund { charge }
}

fn declined() -> Declined {
    let why = "the bank said no".to_owned();
    Declined { why }
}

fn captured(script: Played, card: u32) -> Played {
    let authorize = order_payment::domain::Charge {
        order: Some("o-1".to_owned()),
        kind: "card".to_owned(),
        amount: 200,
        region: None,
    };
    script
        .expect_call(GATEWAY, &charge(card))
        .reply(ok(&GatewayReply::Charged))
        .expect::<Payment>(
            "o-1-1",
            PaymentCommand::Authorize {
                charge: authorize,
                at: AT,
            },
        )
        .reply(ok(&()))
        .expect::<Payment>("o-1-1", PaymentCommand::Capture { at: AT })
        .reply(ok(&()))
}

fn rejected(reason: RejectReason) -> OrderCommand {
    OrderCommand::Reject { reason }
}

#[test]
fn m01_an_order_is_worked_off_step_by_step() {
    captured(paying(), 1)
        .expect::<Order>("o-1", OrderCommand::Confirm)
        .reply(lose())
        .expect::<Order>("o-1", OrderCommand::Confirm)
        .reply(ok(&()))
        .expect::<Inventory>("pen", HandOver { key: key(0) }.into())
        .reply(ok(&()))
        .expect::<Shipment>("o-1", Dispatch { at: AT }.into())
        .reply(ok(&()))
        .expect::<Inventory>("ink", HandOver { key: key(2) }.into())
        .reply(ok(&()))
        .expect::<Shipment>("o-1", Deliver { at: AT }.into())
        .reply(ok(&()))
        .expect::<Order>("o-1", CloseOrder.into())
        .reply(ok(&()))
        .expect_completed();
}

#[test]
fn m02_a_shortage_on_the_second_line_gives_back_and_rejects_by_its_product() {
    let shortage = InventoryRejection::Shortage {
        wanted: UNITS,
        available: 1,
    };
    let sku = "ink".to_owned();
    placed()
        .expect::<Inventory>("pen", reserve(0))
        .reply(ok(&()))
        .expect::<Inventory>("ink", reserve(2))
        .reply(reject(&shortage))
        .expect::<Inventory>("pen", InventoryCommand::Release { key: key(0) })
        .reply(ok(&()))
        .expect::<Order>("o-1", rejected(RejectReason::Shortage { sku }))
        .reply(ok(&()))
        .expect_compensated(["reserve[0]"]);
}

#[test]
fn m10_declined_twice_the_third_card_works() {
    let third = paying()
        .expect_call(GATEWAY, &charge(1))
        .reply(reject(&declined()))
        .expect_call(GATEWAY, &charge(2))
        .reply(reject(&declined()));
    captured(third, 3)
        .expect::<Order>("o-1", OrderCommand::Confirm)
        .reply(reject(&OrderRejection::CancelAsked))
        .expect::<Payment>("o-1-1", PaymentCommand::Refund)
        .reply(ok(&()))
        .expect::<Payment>("o-1-1", PaymentCommand::Void)
        .reply(ok(&()))
        .expect_call(GATEWAY, &refund(3))
        .reply(ok(&GatewayReply::Refunded))
        // What is undone after that is no different from elsewhere.
        .leave();
}

#[test]
fn m03_m04_the_last_card_declined_and_no_answer_at_all_end_it_for_their_reasons() {
    let why = "the bank said no".to_owned();
    paying()
        .expect_call(GATEWAY, &charge(1))
        .reply(reject(&declined()))
        .expect_call(GATEWAY, &charge(2))
        .reply(reject(&declined()))
        .expect_call(GATEWAY, &charge(3))
        .reply(reject(&declined()))
        // That the customer is quicker than the shop changes nothing any more.
        .given(OrderEvent::CancelAsked)
        .expect::<Inventory>("ink", InventoryCommand::Release { key: key(2) })
        .reply(ok(&()))
        .expect::<Inventory>("pen", InventoryCommand::Release { key: key(0) })
        .reply(ok(&()))
        .expect::<Order>("o-1", rejected(RejectReason::Declined { why }))
        .reply(ok(&()))
        .expect_compensated(["reserve[1]", "reserve[0]"]);
    paying()
        .expect_call(GATEWAY, &charge(1))
        .reply(never_answered())
        .expect_call(GATEWAY, &refund(1))
        .reply(ok(&GatewayReply::NothingToRefund))
        .expect::<Inventory>("ink", InventoryCommand::Release { key: key(2) })
        .reply(ok(&()))
        .expect::<Inventory>("pen", InventoryCommand::Release { key: key(0) })
        .reply(ok(&()))
        .expect::<Order>("o-1", rejected(RejectReason::PaymentTimedOut))
        .reply(ok(&()))
        .expect_compensated(["charge[0]", "reserve[1]", "reserve[0]"]);
}

#[test]
fn m04_a_gateway_that_takes_ten_minutes_is_not_waited_for() {
    let waiting = paying().advance(10.minutes());
    assert!(matches!(waiting.status(), SagaStatus::Compensating { .. }));
    // The call that is under way is waited for, and undone as it was done.
    waiting
        .expect_call(GATEWAY, &charge(1))
        .reply(ok(&GatewayReply::Charged))
        .expect_compensated(["charge[0]", "reserve[1]", "reserve[0]"]);
}

#[test]
fn m06_m07_a_customer_who_was_quicker_than_the_confirmation_gets_all_back() {
    captured(paying(), 1)
        .given(OrderEvent::CancelAsked)
        .expect::<Order>("o-1", OrderCommand::Confirm)
        .reply(reject(&OrderRejection::CancelAsked))
        .expect_compensated([
            "capture[0]",
            "authorize[0]",
            "charge[0]",
            "reserve[1]",
            "reserve[0]",
        ]);
}

#[test]
fn m54_behind_the_confirmation_the_answers_come_in_any_order() {
    let confirmed = || {
        captured(paying(), 1)
            .expect::<Order>("o-1", OrderCommand::Confirm)
            .reply(ok(&()))
    };
    in_any_order(
        confirmed,
        &[
            &|script| {
                let pen = HandOver { key: key(0) }.into();
                script.expect::<Inventory>("pen", pen).reply(ok(&()))
            },
            &|script| {
                let ink = HandOver { key: key(2) }.into();
                script.expect::<Inventory>("ink", ink).reply(ok(&()))
            },
            &|script| {
                let dispatch = Dispatch { at: AT }.into();
                script.expect::<Shipment>("o-1", dispatch).reply(ok(&()))
            },
            &|script| script.given(OrderEvent::CancelAsked),
        ],
        |script| {
            script
                .expect::<Shipment>("o-1", Deliver { at: AT }.into())
                .reply(ok(&()))
                .expect::<Order>("o-1", CloseOrder.into())
                .reply(ok(&()))
                .expect_completed();
        },
    );
}

#[test]
fn m84_the_steps_of_an_order_do_not_change_by_accident() {
    chronicler_testkit::assert_fingerprint!(Checkout, 0x7cd9_0d8b_64fe_b316);
}

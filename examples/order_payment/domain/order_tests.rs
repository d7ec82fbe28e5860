//! What an order promises.

use chronicler_testkit::given;

use super::*;

fn message(line: u64) -> MessageId {
    MessageId {
        source: "orders.jsonl".into(),
        line,
    }
}

fn placement(line: u64) -> Placement {
    Placement {
        message: message(line),
        at: SourceTime::from_micros(1),
        customer: None,
        region: None,
        lines: vec![Line {
            sku: "cup".into(),
            quantity: 3,
            unit_price: 250,
            freight: 40,
            seller: None,
            stocked: true,
        }],
        payments: vec![],
        process: Process::StockFirst,
    }
}

#[test]
fn the_same_line_again_changes_nothing() {
    given::<Order>([OrderEvent::Placed(placement(1))])
        .when(OrderCommand::Place(placement(1)))
        .then_events([]);
}

#[test]
fn another_line_with_the_same_order_id_is_rejected() {
    given::<Order>([OrderEvent::Placed(placement(1))])
        .when(OrderCommand::Place(placement(2)))
        .then_rejected(OrderRejection::PlacedBefore { first: message(1) });
}

#[test]
fn reports_may_come_before_the_order() {
    let at = SourceTime::from_micros(5);
    let status = ReportedStatus::Canceled;
    given::<Order>([])
        .when(OrderCommand::ReportStatus { status, at })
        .then_events([OrderEvent::StatusReported { status, at }])
        .and_then()
        .when(OrderCommand::ReportApproved { at })
        .then_events([OrderEvent::ApprovalReported { at }])
        .and_then()
        .when(OrderCommand::Place(placement(9)))
        .then_events([OrderEvent::Placed(placement(9))]);
}

#[test]
fn a_report_is_taken_once_and_not_contradicted() {
    let at = SourceTime::from_micros(5);
    let later = SourceTime::from_micros(6);
    let reported = OrderEvent::ApprovalReported { at };
    given::<Order>([reported.clone()])
        .when(OrderCommand::ReportApproved { at })
        .then_events([]);
    given::<Order>([reported])
        .when(OrderCommand::ReportApproved { at: later })
        .then_rejected(OrderRejection::ReportedOtherwise);
}

#[test]
fn a_confirmed_order_says_what_it_came_to() {
    given::<Order>([OrderEvent::Placed(placement(1))])
        .when(OrderCommand::Confirm)
        .then_events([OrderEvent::Confirmed { gross: 750 }])
        .and_then()
        .when(OrderCommand::Confirm)
        .then_events([]);
}

#[test]
fn nothing_is_confirmed_that_was_not_placed() {
    given::<Order>([])
        .when(OrderCommand::Confirm)
        .then_rejected(OrderRejection::NotPlaced);
}

#[test]
fn an_order_ends_once() {
    let placed = OrderEvent::Placed(placement(1));
    given::<Order>([placed, OrderEvent::Canceled])
        .when(OrderCommand::Cancel)
        .then_events([])
        .and_then()
        .when(OrderCommand::Confirm)
        .then_rejected(OrderRejection::Ended(OrderEnd::Canceled));
}

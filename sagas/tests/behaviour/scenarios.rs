//! The scenarios of an order, from placed to over.

use chronicler_sagas::{Ending, SagaStatus};
use chronicler_store::FactKind;

use crate::fixture::{compensated, fixture, settle};
use crate::shop::{OrderCommand, Script, Status};

#[tokio::test]
async fn m01_the_happy_path() {
    let f = fixture().await;
    f.place("o", 3).await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.order_status("o").await, Some(Status::Confirmed));
    assert_eq!(
        (f.charges("o"), f.stock().await.reserved["o"]),
        ((500, 0), 3)
    );
    assert_eq!(f.facts(FactKind::OPEN_SAGA).await, 0);
    assert_eq!(
        f.facts(FactKind::TIMER).await,
        0,
        "m83: finishing clears timers"
    );
}

#[tokio::test]
async fn m02_out_of_stock_is_rejected_and_nothing_is_undone() {
    let f = fixture().await;
    f.place("o", 11).await;
    assert_eq!(f.status("o").await, compensated("out of stock"));
    assert_eq!(f.order_status("o").await, Some(Status::Rejected));
    assert!(f.stock().await.reserved.is_empty());
    assert_eq!(f.gateway.inner.lock().calls, 0);
}

#[tokio::test]
async fn m03_a_declined_payment_releases_and_rejects() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::Declines;
    f.place("o", 3).await;
    assert_eq!(f.status("o").await, compensated("declined"));
    assert!(f.stock().await.reserved.is_empty());
    assert_eq!(f.charges("o"), (0, 0), "a rejected effect is not undone");
}

#[tokio::test]
async fn m04_a_payment_that_never_answers_times_out_and_is_refunded_by_key() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    assert_eq!(f.status("o").await, SagaStatus::Running);
    f.advance(901).await;
    settle().await;
    assert_eq!(f.status("o").await, compensated("time-out"));
    assert_eq!(
        (f.charges("o"), f.order_status("o").await),
        ((0, 1), Some(Status::Rejected))
    );
    assert!(f.stock().await.reserved.is_empty());
}

#[tokio::test]
async fn m05_a_lost_reply_is_one_charge_and_at_most_one_refund() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.place("o", 3).await;
    assert!(matches!(f.status("o").await, SagaStatus::Retrying { .. }));
    for _ in 0..4 {
        f.advance(2).await;
    }
    assert_eq!(f.status("o").await, compensated("the line broke"));
    assert_eq!(
        f.charges("o"),
        (500, 1),
        "charged once under one key, refunded once"
    );
}

#[tokio::test]
async fn m05_a_lost_reply_is_found_when_it_is_asked_for_again() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.place("o", 3).await;
    f.gateway.inner.lock().script = Script::Honest;
    f.advance(2).await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.charges("o"), (500, 0));
}

#[tokio::test]
async fn m08_m38_m45_the_same_order_twice_is_one_saga() {
    let f = fixture().await;
    f.place("o", 3).await;
    let calls = f.gateway.inner.lock().calls;
    f.order("o", OrderCommand::Touch).await;
    assert_eq!(f.gateway.inner.lock().calls, calls);
    assert_eq!(
        f.view("o").await.state.touched,
        0,
        "m55: a finished saga is never resurrected"
    );
}

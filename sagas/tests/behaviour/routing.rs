//! Which events reach which instances, and where a saga begins.

use std::sync::Arc;

use chronicler_domain::{Tenant, Timestamp};
use chronicler_runtime::{ManualClock, RuntimeBuilder, SendOptions};
use chronicler_sagas::{Ending, SagaStatus, SagaView};
use chronicler_store::{FactKind, MemoryStore};

use crate::fixture::{fixture, id, over};
use crate::process::Fulfil;
use crate::shop::{Gateway, Order, OrderCommand};

#[tokio::test]
async fn m23_m55_strict_continue_passes_over_an_instance_that_is_not_there() {
    let f = fixture().await;
    f.order("nobody", OrderCommand::Touch).await;
    assert_eq!(f.status("nobody").await, SagaStatus::Unknown);
}

#[tokio::test]
async fn m55_what_is_passed_over_leaves_no_trace_in_the_state() {
    let f = fixture().await;
    f.place("o", 3).await;
    let before = f.view("o").await;
    f.advance(60).await;
    f.order("o", OrderCommand::Touch).await;
    f.order("nobody", OrderCommand::Touch).await;
    let times = |view: &SagaView<Fulfil>| (view.started_at, view.moved_at);
    assert_eq!(times(&f.view("o").await), times(&before));
    let nobody = times(&f.view("nobody").await);
    assert_eq!(nobody, (Timestamp::EPOCH, Timestamp::EPOCH));
}

#[tokio::test]
async fn m25_a_panic_in_routing_is_contained_and_parked() {
    let f = fixture().await;
    f.place("unroutable", 1).await;
    f.place("o", 1).await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.facts(FactKind::PARKED).await, 1);
}

#[tokio::test]
async fn a_saga_registered_for_the_first_time_starts_at_the_present_head() {
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(ManualClock::default()))
        .aggregate::<Order>()
        .build()
        .await
        .unwrap();
    let place = OrderCommand::Place { units: 1, cents: 1 };
    let options = SendOptions::default();
    runtime
        .send::<Order>(&Tenant::default(), &id("old"), place, options)
        .await
        .unwrap();
    let f = over(store, Gateway::default(), ManualClock::default()).await;
    f.place("new", 1).await;
    assert_eq!(f.status("old").await, SagaStatus::Unknown);
    assert_eq!(
        f.status("new").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
}

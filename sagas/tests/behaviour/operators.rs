//! What waits for a person: stuck undos, cancellation, quarantine.

use std::time::Duration;

use chronicler_domain::{StreamId, Tenant};
use chronicler_sagas::{Saga, SagaStatus, SagaVerb};
use chronicler_store::FactKind;
use chronicler_store::memory::AppendFault;

use crate::fixture::{compensated, fixture, id, settle};
use crate::process::Fulfil;
use crate::shop::{OrderCommand, Script};

#[tokio::test]
async fn m21_m49_m50_a_failing_undo_is_stuck_and_its_siblings_go_on() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    f.warehouse(true).await;
    f.advance(901).await;
    let SagaStatus::CompensationStuck { stuck } = f.status("o").await else {
        panic!("it should be stuck: {:?}", f.status("o").await)
    };
    assert_eq!(stuck[0].0, "reserve");
    assert_eq!(f.charges("o"), (0, 1), "the other undo was run");
    assert_eq!(f.facts(FactKind::OPEN_SAGA).await, 1, "it stays visible");
    // An operator mends the cause and has it tried again.
    f.warehouse(false).await;
    let handle = f.sagas.saga::<Fulfil>().unwrap();
    handle
        .retry_now(&Tenant::default(), &id("o"), "ann")
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        f.status("o").await,
        compensated("time-out"),
        "m51: it succeeds in the end"
    );
    assert!(f.stock().await.reserved.is_empty());
}

#[tokio::test]
async fn m76_cancel_runs_the_undos_and_is_refused_when_it_is_over() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    let handle = f.sagas.saga::<Fulfil>().unwrap().clone();
    handle
        .cancel(&Tenant::default(), &id("o"), "changed my mind", "ann")
        .await
        .unwrap();
    settle().await;
    // A refund that overtakes its charge would find nothing to give back.
    let waits = SagaStatus::Compensating {
        reason: "changed my mind".to_owned(),
    };
    assert_eq!(f.status("o").await, waits);
    assert_eq!(f.charges("o"), (0, 0));
    // Wanted again, it is on its way there.
    handle
        .cancel(&Tenant::default(), &id("o"), "again", "ann")
        .await
        .unwrap();
    assert_eq!(f.status("o").await, waits);
    f.advance(31).await;
    assert_eq!(f.status("o").await, compensated("changed my mind"));
    assert_eq!(
        f.gateway.inner.lock().calls,
        2,
        "the charge once, the refund once"
    );
    assert!(f.stock().await.reserved.is_empty());
    let refused = handle
        .cancel(&Tenant::default(), &id("o"), "again", "ann")
        .await
        .unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    let history = handle.history(&Tenant::default(), &id("o")).await.unwrap();
    let names: Vec<_> = history
        .iter()
        .map(|line| line.event_type.as_str())
        .collect();
    assert!(names.starts_with(&["$Started", "$Consumed", "Began", "$Armed", "$Decided"]));
    assert_eq!(names.last(), Some(&"$Ended"));
}

#[tokio::test]
async fn m86_a_poison_input_quarantines_its_instance_alone_and_is_taken_up_on_release() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("poison", 1).await;
    f.order("poison", OrderCommand::Touch).await;
    f.order("poison", OrderCommand::Touch).await;
    let SagaStatus::Quarantined { reason } = f.status("poison").await else {
        panic!("it should be quarantined")
    };
    assert!(reason.contains("touched once too often"), "{reason}");
    f.order("poison", OrderCommand::Touch).await;
    assert_eq!(f.view("poison").await.state.touched, 1, "later inputs wait");
    f.place("sibling", 1).await;
    assert_eq!(
        f.status("sibling").await,
        SagaStatus::Running,
        "siblings flow"
    );
    // An operator who knows no types sees it by its stream, and may try.
    let poison: StreamId = format!("saga:{}/poison", Fulfil::NAME).parse().unwrap();
    let seen = f.sagas.quarantined().await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].stream, &seen[0].reason), (&poison, &reason));
    assert_eq!(f.sagas.release(&poison, "ann").await.unwrap(), Some(true));
    let sibling: StreamId = format!("saga:{}/sibling", Fulfil::NAME).parse().unwrap();
    assert_eq!(f.sagas.release(&sibling, "ann").await.unwrap(), Some(false));
    let unknown: StreamId = "saga:unknown/poison".parse().unwrap();
    assert_eq!(f.sagas.release(&unknown, "ann").await.unwrap(), None);
    let f = f.restart().await;
    assert!(matches!(
        f.status("poison").await,
        SagaStatus::Quarantined { .. }
    ));
    let handle = f.sagas.saga::<Fulfil>().unwrap();
    let again = handle
        .release(&Tenant::default(), &id("poison"), "ann")
        .await
        .unwrap();
    assert!(
        matches!(again, SagaStatus::Quarantined { .. }),
        "its code is still wrong"
    );
}

#[tokio::test]
async fn m26_what_is_tried_again_while_it_is_under_way_is_not_sent_twice_at_a_time() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    assert_eq!(f.gateway.inner.lock().calls, 1);
    let handle = f.sagas.saga::<Fulfil>().unwrap();
    for _ in 0..3 {
        let (tenant, name) = (Tenant::default(), id("o"));
        handle.retry_now(&tenant, &name, "ann").await.unwrap();
        settle().await;
    }
    assert_eq!(
        f.gateway.inner.lock().calls,
        1,
        "the others wait for their turn"
    );
    // The first attempt ends: the copies see that its answer was taken, and only the next attempt is made.
    f.gateway.inner.lock().script = Script::Honest;
    f.advance(31).await;
    f.advance(31).await;
    assert_eq!(f.gateway.inner.lock().calls, 2);
    assert_eq!(f.charges("o"), (500, 0));
}

#[tokio::test]
async fn m26_a_retry_at_once_ends_the_wait_and_the_old_wait_sends_nothing() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.place("o", 3).await;
    assert!(matches!(f.status("o").await, SagaStatus::Retrying { .. }));
    let calls = f.gateway.inner.lock().calls;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    let handle = f.sagas.saga::<Fulfil>().unwrap();
    let (tenant, name) = (Tenant::default(), id("o"));
    handle.retry_now(&tenant, &name, "ann").await.unwrap();
    settle().await;
    assert_eq!(f.gateway.inner.lock().calls, calls + 1);
    // The wait that it replaced is over; what it waited for is under way already.
    f.advance(2).await;
    assert_eq!(f.gateway.inner.lock().calls, calls + 1);
}

#[tokio::test]
async fn a_person_hears_that_the_log_takes_nothing_instead_of_waiting_for_ever() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    for _ in 0..1_000 {
        f.store.faults().fail_append(AppendFault::Overloaded);
    }
    let handle = f.sagas.saga::<Fulfil>().unwrap().clone();
    let (tenant, id) = (Tenant::default(), id("o"));
    let pausing = handle.operate(&tenant, &id, SagaVerb::Pause.by("ann", "we look at it"));
    tokio::pin!(pausing);
    let mut turns = 0;
    let error = loop {
        tokio::select! {
            biased;
            ended = &mut pausing => break ended.unwrap_err(),
            () = settle() => f.clock.advance(Duration::from_millis(200)),
        }
        turns += 1;
        assert!(turns < 100, "it waits for ever");
    };
    assert!(!error.is_refusal(), "{error}");
    assert!(error.to_string().contains("log"), "{error}");
    assert!(!matches!(f.status("o").await, SagaStatus::Paused { .. }));
}

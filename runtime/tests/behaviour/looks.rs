//! Looks at a state have the limits that commands have.

use std::time::Duration;

use chronicler_domain::Tenant;
use chronicler_runtime::{DispatchError, RuntimeOptions, StateOf};
use chronicler_store::MemoryStore;
use chronicler_store::memory::ReadFault;
use futures::FutureExt;

use crate::fixture::{Command, Counter, Fixture, id, settle, stream, with};

async fn look(f: &Fixture, name: &str) -> Result<StateOf<Counter>, DispatchError> {
    f.runtime
        .state::<Counter>(&Tenant::default(), &id(name))
        .await
}

/// Looks that nobody waits for any more: what a time-out around each leaves.
async fn look_in_vain(f: &Fixture, name: &str, times: usize) {
    for _ in 0..times {
        let looked = look(f, name).now_or_never();
        assert!(looked.is_none(), "{looked:?}");
        settle().await;
    }
}

#[tokio::test]
async fn y1_looks_at_an_instance_that_is_stuck_are_bounded_and_leave_others_their_places() {
    let mut options = RuntimeOptions::default();
    (options.inbox_max, options.in_flight_max) = (4, 8);
    let f = with(MemoryStore::new(), options).await;
    let hangs = |fault| f.store.faults().fail_reads_of(&stream("stuck"), fault);
    hangs(Some(ReadFault::Hangs));
    // The actor is at the first one, and four wait.
    look_in_vain(&f, "stuck", 5).await;
    for _ in 0..20 {
        let refused = look(&f, "stuck").await.unwrap_err();
        let is_full =
            matches!(&refused, DispatchError::Overloaded { what, .. } if what == "counter/stuck");
        assert!(is_full && refused.is_retryable(), "{refused}");
        let refused = f.send("stuck", Command::Add(1)).await.unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
    }
    f.send("other", Command::Add(1)).await.unwrap();
    assert_eq!(f.total("other").await, 1);
}

#[tokio::test]
async fn y1_a_look_that_nobody_waits_for_is_under_way_until_its_instance_lets_it_go() {
    let mut options = RuntimeOptions::default();
    options.in_flight_max = 3;
    let f = with(MemoryStore::new(), options).await;
    let hangs = |fault| f.store.faults().fail_reads_of(&stream("stuck"), fault);
    hangs(Some(ReadFault::Hangs));
    look_in_vain(&f, "stuck", 3).await;
    let refused = look(&f, "other").await.unwrap_err();
    assert!(
        matches!(&refused, DispatchError::Overloaded { what, .. } if what == "in all"),
        "{refused}"
    );
}

#[tokio::test]
async fn y1_a_look_that_waits_for_what_it_saw_is_under_way_until_that_is_durable() {
    let mut options = RuntimeOptions::default();
    options.in_flight_max = 3;
    let f = with(MemoryStore::new(), options).await;
    f.store.faults().hold();
    let sent = f.spawn("slow", Command::Add(1));
    settle().await;
    let mut looks = [Box::pin(look(&f, "slow")), Box::pin(look(&f, "slow"))];
    for looked in &mut looks {
        assert!(looked.now_or_never().is_none());
    }
    settle().await;
    drop(looks);
    assert!(look(&f, "other").await.is_err(), "three are under way");
    f.store.faults().release();
    sent.await.unwrap().unwrap();
    settle().await;
    assert_eq!(look(&f, "other").await.unwrap().state.total, 0);
}

#[tokio::test]
async fn y1_a_look_waits_no_longer_than_the_options_say() {
    let mut options = RuntimeOptions::default();
    options.deadline = Some(Duration::from_secs(5));
    let f = with(MemoryStore::new(), options).await;
    f.store
        .faults()
        .fail_reads_of(&stream("stuck"), Some(ReadFault::Hangs));
    let mut looked = Box::pin(look(&f, "stuck"));
    assert!((&mut looked).now_or_never().is_none());
    f.clock.advance(Duration::from_secs(4));
    settle().await;
    assert!((&mut looked).now_or_never().is_none());
    f.clock.advance(Duration::from_secs(1));
    let error = looked.await.unwrap_err();
    assert!(
        matches!(error, DispatchError::DeadlineExceeded { .. }) && error.is_retryable(),
        "{error}"
    );
}

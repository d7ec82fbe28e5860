//! The lives of an instance: recovered, passivated, crashed, quarantined.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chronicler_domain::{Aggregate, Context, Decided, Decision, Never, Tenant, Timestamp};
use chronicler_runtime::{
    DispatchError, ManualClock, RestartPolicy, RuntimeBuilder, RuntimeOptions, SendError,
    SendOptions,
};
use chronicler_store::{Append, EventLog, Expected, MemoryStore};

use serde::{Deserialize, Serialize};

use crate::fixture::{Command, Counter, Happened, fixture, id, settle, stream, with};

#[tokio::test]
async fn a4_recovery_reads_in_batches() {
    let f = fixture().await;
    for _ in 0..600 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    let again = with(f.store.clone(), RuntimeOptions::default()).await;
    assert_eq!(again.total("a").await, 600);
}

#[tokio::test]
async fn a7_idle_instances_are_passivated_and_reopened_by_the_next_command() {
    let f = fixture().await;
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(f.total("a").await, 1);
    assert_eq!(f.live(), 1);
    for _ in 0..3 {
        settle().await;
        f.clock.advance(Duration::from_secs(301));
    }
    settle().await;
    assert_eq!(f.live(), 0);
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
    assert_eq!(f.live(), 1);
}

#[tokio::test]
async fn a7_beyond_the_cap_the_longest_unused_goes_first() {
    let mut options = RuntimeOptions::default();
    options.live_max = 3;
    let f = with(MemoryStore::new(), options).await;
    for name in ["a", "b", "c", "d", "e"] {
        f.clock.advance(Duration::from_millis(1));
        f.send(name, Command::Add(1)).await.unwrap();
        settle().await;
    }
    assert_eq!(f.live(), 3);
    assert_eq!(f.total("a").await, 1);
}

static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Counts how often one is made.
#[derive(Clone, Serialize, Deserialize)]
struct Other;

impl Default for Other {
    fn default() -> Self {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Aggregate for Other {
    const CATEGORY: &'static str = "other";
    type Command = ();
    type Event = Happened;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, (): (), _: &Context) -> Decided<Self> {
        Ok(Decision::nothing())
    }

    fn evolve(&mut self, _: &Happened) {}
}

#[tokio::test]
async fn t6_the_cap_holds_for_all_types_together_and_spares_who_is_used() {
    let mut options = RuntimeOptions::default();
    options.live_max = 100;
    let runtime = RuntimeBuilder::new(Arc::new(MemoryStore::new()))
        .clock(Arc::new(ManualClock::default()))
        .options(options)
        .aggregate::<Counter>()
        .aggregate::<Other>()
        .build()
        .await
        .unwrap();
    let (tenant, options) = (Tenant::default(), SendOptions::default());
    let (counters, others) = (
        runtime.aggregate::<Counter>().unwrap().clone(),
        runtime.aggregate::<Other>().unwrap().clone(),
    );
    for n in 0..400 {
        let name = id(&format!("n{n}"));
        let (one, other) = (options.clone(), options.clone());
        let sent = counters.send(&tenant, &name, Command::Add(1), one);
        sent.await.unwrap();
        let sent = others.send(&tenant, &name, (), other);
        sent.await.unwrap();
        // Used all the time.
        let hot = id("n0");
        let sent = others.send(&tenant, &hot, (), options.clone());
        sent.await.unwrap();
        settle().await;
        assert!(counters.live() + others.live() <= 100);
    }
    assert_eq!(counters.live() + others.live(), 100);
    assert!(
        counters.live() >= 25 && others.live() >= 25,
        "both have their share"
    );
    assert_eq!(
        BEGUN.load(Ordering::SeqCst),
        400,
        "each was made once: the one in use never went"
    );
}

#[tokio::test]
async fn a7_on_demand_and_no_message_that_arrives_meanwhile_is_lost() {
    let f = fixture().await;
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    for round in 1..=50 {
        let before = f.spawn("a", Command::Add(1));
        let (tenant, name) = (Tenant::default(), id("a"));
        let passivate = handle.passivate(&tenant, &name);
        let after = f.spawn("a", Command::Add(1));
        let (_, before, after) = futures::join!(passivate, before, after);
        before.unwrap().unwrap();
        assert_eq!(after.unwrap().unwrap().reply, 2 * round);
    }
    settle().await;
    assert!(handle.passivate(&Tenant::default(), &id("a")).await);
    assert_eq!(f.live(), 0);
}

#[tokio::test]
async fn a11_a_recovery_that_fails_for_good_is_quarantined_at_once_and_released() {
    let f = fixture().await;
    let event = chronicler_store::NewEvent {
        id: None,
        event_type: "Unheard".into(),
        schema_version: chronicler_domain::SchemaVersion::FIRST,
        codec: chronicler_store::codec::CodecId::BINCODE,
        payload: bytes::Bytes::new(),
        metadata: bytes::Bytes::new(),
    };
    let foreign = Append::new(uuid::Uuid::from_u128(1), Timestamp::EPOCH).stream(
        stream("a"),
        Expected::Any,
        vec![event],
    );
    f.store.append(foreign).await.unwrap();
    // The clock stands still: nothing is waited for.
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert!(
        matches!(error, SendError::Failed(DispatchError::Quarantined { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("Unheard"), "{error}");
    assert_eq!(
        f.send("b", Command::Add(1)).await.unwrap().reply,
        1,
        "others flow"
    );
    // It is journaled: another runtime over the same store knows it, and can let it go.
    let again = with(f.store.clone(), RuntimeOptions::default()).await;
    assert_eq!(again.runtime.quarantined()[0].stream, stream("a"));
    assert!(again.send("a", Command::Nothing).await.is_err());
    assert!(again.runtime.release(&stream("a")).await.unwrap());
    assert!(!again.runtime.release(&stream("a")).await.unwrap());
    assert!(again.runtime.quarantined().is_empty());
}

#[tokio::test]
async fn a14_many_actors_recover_within_few_permits() {
    let f = fixture().await;
    for n in 0..200 {
        f.send(&format!("c{n}"), Command::Add(n)).await.unwrap();
    }
    let mut options = RuntimeOptions::default();
    options.recoveries_max = 2;
    let again = with(f.store.clone(), options).await;
    let sent: Vec<_> = (0..200)
        .map(|n| again.spawn(&format!("c{n}"), Command::Add(1)))
        .collect();
    for (n, sent) in sent.into_iter().enumerate() {
        assert_eq!(sent.await.unwrap().unwrap().reply, n as i64 + 1);
    }
}

#[tokio::test]
async fn an_actor_that_dies_too_often_is_quarantined() {
    let mut options = RuntimeOptions::default();
    options.restart = RestartPolicy {
        budget: 2,
        ..RestartPolicy::default()
    };
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    for _ in 0..3 {
        handle.crash(&Tenant::default(), &id("a"));
        settle().await;
        f.clock.advance(Duration::from_secs(6));
        settle().await;
    }
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert!(
        matches!(error, SendError::Failed(DispatchError::Quarantined { .. })),
        "{error}"
    );
    assert!(f.runtime.release(&stream("a")).await.unwrap());
    assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, 2);
}

//! Targets in quarantine, and children that cannot be recovered: whoever sends to them waits visibly, and goes on by itself.

use chronicler_domain::{Event, StreamId, Tenant, Timestamp};
use chronicler_sagas::{Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaStatus};
use chronicler_store::memory::ReadFault;
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, compensated, fixture, fixture_with, id, settle};
use crate::process::Fulfil;
use crate::registered::spend;
use crate::shop::{Order, OrderCommand, OrderEvent};

const ENDED: SagaStatus = SagaStatus::Ended {
    how: Ending::Completed,
};

fn stock() -> StreamId {
    StreamId::of("stock", "all").unwrap()
}

/// Whether the saga of an order waits for a release.
async fn waits_for_release(f: &Fixture, name: &str) -> bool {
    let status = f.status(name).await;
    matches!(status, SagaStatus::Retrying { next, .. } if next == Timestamp::MAX)
}

#[tokio::test]
async fn z7_a_command_to_a_target_in_quarantine_waits_for_its_release_however_long() {
    let f = fixture().await;
    f.place("first", 1).await;
    assert_eq!(f.status("first").await, ENDED);
    let f = f.restart().await;
    f.store
        .faults()
        .fail_reads_of(&stock(), Some(ReadFault::Damaged));
    f.place("o", 1).await;
    f.place("cancelled", 1).await;
    assert!(f.runtime.is_quarantined(&stock()));
    assert!(
        waits_for_release(&f, "o").await,
        "{:?}",
        f.status("o").await
    );
    let open = f.sagas.saga::<Fulfil>().unwrap().open().await.unwrap();
    let words: Vec<_> = open.iter().map(|saga| saga.status.word()).collect();
    assert_eq!(words, ["retrying", "retrying"], "seen by an operator");
    let handle = f.sagas.saga::<Fulfil>().unwrap().clone();
    let (tenant, name) = (Tenant::default(), id("o"));
    let history = handle.history(&tenant, &name).await.unwrap();
    let said = history
        .iter()
        .any(|line| line.says.contains("is quarantined"));
    assert!(said, "{history:?}");
    // Its budget is not spent, and nothing more is journaled, in this life and the next one.
    let journaled = f.runtime.head().position;
    spend(&f).await;
    assert_eq!(f.runtime.head().position, journaled);
    let f = f.restart().await;
    f.advance(60).await;
    assert_eq!(f.runtime.head().position, journaled);
    assert!(waits_for_release(&f, "o").await);
    // One that is cancelled waits as well: whether it was done is known only after that.
    let handle = f.sagas.saga::<Fulfil>().unwrap().clone();
    let cancelled = handle.cancel(&tenant, &id("cancelled"), "no", "ann").await;
    cancelled.unwrap();
    settle().await;
    let compensating = SagaStatus::Compensating {
        reason: "no".to_owned(),
    };
    assert_eq!(f.status("cancelled").await, compensating);

    f.store.faults().fail_reads_of(&stock(), None);
    assert!(f.runtime.release(&stock()).await.unwrap());
    settle().await;
    // At once, and not when some wait is over.
    assert_eq!(f.status("o").await, ENDED);
    assert_eq!(f.status("cancelled").await, compensated("no"));
    let expected = [("first".to_owned(), 1), ("o".to_owned(), 1)];
    assert_eq!(f.stock().await.reserved, expected.into());
}

/// Begins another of its kind when its order is touched, and is done when that is.
struct Kin;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

impl Saga for Kin {
    const NAME: &'static str = "kin";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.child::<Self>();
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => Next::stay().start::<Self>("child", "young", &()),
            _ => Next::stay().complete(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

async fn kin(f: &Fixture) -> SagaStatus {
    let handle = f.sagas.saga::<Kin>().unwrap();
    let view = handle.get(&Tenant::default(), &id("old")).await;
    view.unwrap().status
}

#[tokio::test]
async fn z8_a_child_that_cannot_be_recovered_or_is_in_quarantine_parks_no_parent() {
    let young = StreamId::of("saga:kin", "young").unwrap();
    let f = fixture_with(Kin).await;
    f.store.faults().fail_reads_of(&young, Some(ReadFault::Io));
    f.order("old", OrderCommand::Touch).await;
    // An attempt takes some turns of the clock.
    for _ in 0..4 {
        spend(&f).await;
    }
    let status = kin(&f).await;
    assert!(
        matches!(status, SagaStatus::Retrying { attempt, .. } if attempt > 10),
        "{status:?}"
    );
    f.store.faults().fail_reads_of(&young, None);
    f.advance(60).await;
    assert_eq!(kin(&f).await, ENDED);

    let f = fixture_with(Kin).await;
    f.store
        .faults()
        .fail_reads_of(&young, Some(ReadFault::Damaged));
    f.order("old", OrderCommand::Touch).await;
    assert!(f.runtime.is_quarantined(&young));
    spend(&f).await;
    let status = kin(&f).await;
    assert!(
        matches!(
            status,
            SagaStatus::Retrying {
                next: Timestamp::MAX,
                ..
            }
        ),
        "{status:?}"
    );
    f.store.faults().fail_reads_of(&young, None);
    assert!(f.runtime.release(&young).await.unwrap());
    settle().await;
    assert_eq!(kin(&f).await, ENDED);
}

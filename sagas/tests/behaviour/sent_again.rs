//! What was sent before its answer was lost: whatever goes on with it later, its target does it once.

use std::sync::Arc;

use chronicler_domain::{
    Aggregate, CommandId, Context, Decided, Decision, Event, Never, StreamId, StreamVersion, Tenant,
};
use chronicler_runtime::{
    ManualClock, RuntimeBuilder, RuntimeOptions, SendOptions, SnapshotPolicy, StopOptions,
};
use chronicler_sagas::{
    Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaStatus, SagaVerb, SagasBuilder,
    StartFrom,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{MemoryStore, SnapshotStore};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, compensated, id, impatient, settle};
use crate::process::Fulfil;
use crate::shop::{Gateway, Order, OrderCommand, OrderEvent, Stock, StockCommand};
use crate::watch::events;

/// More than an aggregate remembers whole.
const OTHERS: usize = 20;

/// A vault that answers at length.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Vault;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum VaultCommand {
    Open,
    Shut,
    Look,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum VaultEvent {
    Opened,
    Shut,
    Seen,
}

impl Event for VaultEvent {}

impl Aggregate for Vault {
    const CATEGORY: &'static str = "vault";
    type Command = VaultCommand;
    type Event = VaultEvent;
    type Reply = String;
    type Rejection = Never;

    fn decide(&self, command: VaultCommand, _: &Context) -> Decided<Self> {
        let event = match command {
            VaultCommand::Open => VaultEvent::Opened,
            VaultCommand::Shut => VaultEvent::Shut,
            VaultCommand::Look => return Ok(Decision::event(VaultEvent::Seen).reply(String::new())),
        };
        // A commit has room for it, and has not for it and for what keeps it, or waits with it.
        Ok(Decision::event(event).reply("x".repeat(9 << 20)))
    }

    fn evolve(&mut self, _: &VaultEvent) {}
}

/// Opens a vault, and shuts it when it is undone.
struct Guard;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept(String);

impl Event for Kept {}

impl Saga for Guard {
    const NAME: &'static str = "guard";
    type State = ();
    type Event = Kept;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => Next::stay()
                .send::<Vault>("open", "v", VaultCommand::Open)
                .undo::<Vault>("v", VaultCommand::Shut),
            Input::Answer(answer) => match answer.of::<Vault>().unwrap() {
                Ok(reply) => Next::stay().record(Kept(reply)),
                Err(never) => match never {},
            },
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Kept) {}
}

/// An application that takes a snapshot with each commit.
async fn life(store: MemoryStore, gateway: Gateway, clock: ManualClock) -> Fixture {
    let sagas = SagasBuilder::default()
        .options(impatient())
        .saga(Fulfil, StartFrom::Now)
        .saga(Guard, StartFrom::Now)
        .service("gateway", Arc::new(gateway.clone()));
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let builder = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .options(options)
        .aggregate::<Order>()
        .aggregate::<Stock>()
        .aggregate::<Vault>();
    let runtime = sagas.register(builder).build().await.unwrap();
    let sagas = sagas.start(&runtime).await.unwrap();
    settle().await;
    Fixture {
        store,
        clock,
        gateway,
        runtime,
        sagas,
    }
}

async fn next_life(f: Fixture) -> Fixture {
    f.sagas.stop().await;
    f.runtime.stop(StopOptions::default()).await;
    life(f.store, f.gateway, f.clock).await
}

/// An order whose units were reserved, which nobody lived to hear. It was paused by then, and a snapshot was taken after its
/// decision.
async fn paused_and_unheard() -> Fixture {
    let f = life(
        MemoryStore::new(),
        Gateway::default(),
        ManualClock::default(),
    )
    .await;
    let faults = f.store.faults();
    let (tenant, o, options) = (Tenant::default(), id("o"), SendOptions::default());
    faults.hold();
    let place = OrderCommand::Place {
        units: 3,
        cents: 500,
    };
    let placed = f.runtime.send::<Order>(&tenant, &o, place, options);
    assert!(placed.now_or_never().is_none());
    settle().await;
    faults.release();
    faults.hold();
    settle().await;
    // It has decided, and that is not durable yet.
    let saga = f.sagas.saga::<Fulfil>().unwrap();
    let pausing = saga.operate(&tenant, &o, SagaVerb::Pause.by("ann", "looks at it"));
    assert!(pausing.now_or_never().is_none());
    settle().await;
    faults.release();
    faults.hold();
    settle().await;
    let stream = StreamId::of("saga:fulfil", "o").unwrap();
    let snapshot = f.store.load_snapshot(&stream, StreamVersion::MAX).await;
    assert!(snapshot.unwrap().is_some());
    // The process dies with the commit of the stock.
    let (write, durable) = (1, true);
    faults.crash_at(CrashPoint { write, durable });
    faults.release();
    settle().await;
    let survivor = MemoryStore::clone(&faults.survivor());
    assert_eq!(count(&survivor, "stock", "Reserved").await, 1);
    let f = life(survivor, f.gateway.clone(), f.clock.clone()).await;
    let status = f.status("o").await;
    assert!(matches!(status, SagaStatus::Paused { .. }), "{status:?}");
    f
}

async fn count(store: &MemoryStore, category: &str, event_type: &str) -> usize {
    let all = events(store, category).await;
    let those = all.iter().filter(|event| event.event_type == event_type);
    those.count()
}

/// So many others have something done by an aggregate, and are remembered.
async fn others<A>(f: &Fixture, name: &str, command: A::Command)
where
    A: Aggregate<Command: Clone>,
{
    for _ in 0..OTHERS {
        let options = SendOptions {
            command_id: Some(CommandId::from_uuid(f.runtime.new_id()).unwrap()),
            ..SendOptions::default()
        };
        let (tenant, name) = (Tenant::default(), id(name));
        let sent = f
            .runtime
            .send::<A>(&tenant, &name, command.clone(), options);
        sent.await.unwrap();
    }
}

#[tokio::test]
async fn g1_what_was_sent_before_a_pause_and_a_restart_is_done_once_whatever_goes_on_with_it() {
    let completed = SagaStatus::Ended {
        how: Ending::Completed,
    };
    for (verb, ends, undone) in [
        (SagaVerb::Cancel, compensated("a reason"), 1),
        (SagaVerb::Resume, completed, 0),
    ] {
        let f = paused_and_unheard().await;
        others::<Stock>(&f, "all", StockCommand::Break { broken: false }).await;
        let saga = f.sagas.saga::<Fulfil>().unwrap();
        let (tenant, o) = (Tenant::default(), id("o"));
        let order = verb.clone().by("ann", "a reason");
        saga.operate(&tenant, &o, order).await.unwrap();
        settle().await;
        assert_eq!(f.status("o").await, ends, "{verb:?}");
        let counted = (
            count(&f.store, "stock", "Reserved").await,
            count(&f.store, "stock", "Released").await,
        );
        assert_eq!(counted, (1, undone), "{verb:?}");
    }
}

#[tokio::test]
async fn g1_what_was_given_up_is_done_once_when_its_saga_is_compensated_in_a_later_life() {
    let f = life(
        MemoryStore::new(),
        Gateway::default(),
        ManualClock::default(),
    )
    .await;
    f.order("g", OrderCommand::Touch).await;
    let (tenant, g) = (Tenant::default(), id("g"));
    let view = f.sagas.saga::<Guard>().unwrap().get(&tenant, &g).await;
    let status = view.unwrap().status;
    assert!(matches!(status, SagaStatus::Parked { .. }), "{status:?}");
    let f = next_life(f).await;
    others::<Vault>(&f, "v", VaultCommand::Look).await;
    let saga = f.sagas.saga::<Guard>().unwrap();
    saga.cancel(&tenant, &g, "not wanted", "ann").await.unwrap();
    settle().await;
    assert_eq!(count(&f.store, "vault", "Opened").await, 1);
}

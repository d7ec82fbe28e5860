//! Events that a later release reads as two: each part goes its own way, waits by itself, and comes once.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{
    Aggregate, Context, Decided, Event, GlobalPosition, Never, StreamId, Tenant, Timestamp,
    Upcasted, Upcasters,
};
use chronicler_runtime::{
    ManualClock, ParkedEvent, Runtime, RuntimeBuilder, Selection, SendOptions, SetAside,
    StopOptions, record_parked,
};
use chronicler_sagas::{
    Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus, SagaVerb, SagaView,
    Sagas, SagasBuilder, StartFrom,
};
use chronicler_store::MemoryStore;
use chronicler_store::memory::ReadFault;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{compensated, id, settle};
use crate::shop::{Stock, StockCommand};

thread_local! {
    /// What is broken in this release; each test has a thread of its own.
    static BROKEN: Cell<Broken> = const { Cell::new(Broken::Nothing) };
}

#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Nothing,
    /// The saga fails on payments.
    Payments,
    /// What was sold cannot be read.
    Reading,
    /// The routes of payments name what is no id.
    Ids,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Till;

#[derive(Clone, Serialize, Deserialize)]
enum OldSale {
    SoldAndPaid { paid_first: bool },
}

impl Event for OldSale {}

impl Aggregate for Till {
    const CATEGORY: &'static str = "till";
    type Command = bool;
    type Event = OldSale;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, paid_first: bool, _: &Context) -> Decided<Self> {
        Ok(OldSale::SoldAndPaid { paid_first }.into())
    }

    fn evolve(&mut self, _: &OldSale) {}
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct NewTill;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Sale {
    Sold(bool),
    Paid(bool),
}

impl Event for Sale {
    fn upcasters() -> Upcasters {
        Upcasters::new().replace::<(bool,)>("SoldAndPaid", 1, |(paid_first,)| {
            assert!(BROKEN.get() != Broken::Reading, "reading broke");
            let sold = Upcasted::new("Sold", 1, (paid_first,));
            let paid = Upcasted::new("Paid", 1, (paid_first,));
            match paid_first {
                true => vec![paid, sold],
                false => vec![sold, paid],
            }
        })
    }
}

impl Aggregate for NewTill {
    const CATEGORY: &'static str = "till";
    type Command = ();
    type Event = Sale;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, (): (), _: &Context) -> Decided<Self> {
        Ok(Sale::Sold(false).into())
    }

    fn evolve(&mut self, _: &Sale) {}
}

/// Starts at a sale, and goes on at a payment. One called `cancels` goes on at further sales, too: they cancel it.
struct Booking;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Booked {
    Saw(String),
}

impl Event for Booked {}

impl Saga for Booking {
    const NAME: &'static str = "booking";
    type State = Vec<String>;
    type Event = Booked;

    fn routes(on: &mut Routes<Self>) {
        on.event::<NewTill>(|event, info| match event {
            Sale::Sold(_) if info.id == "cancels" => Route::start_or_resume(&info.id),
            Sale::Sold(_) => Route::start(&info.id),
            Sale::Paid(_) if BROKEN.get() == Broken::Ids => Route::resume(""),
            Sale::Paid(_) => Route::resume(&info.id),
        });
    }

    fn on(&self, seen: &Vec<String>, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let Some(event) = input.event::<NewTill>() else {
            return Next::stay();
        };
        let is_paid = matches!(event, Sale::Paid(_));
        assert!(
            !is_paid || BROKEN.get() != Broken::Payments,
            "it cannot book payments yet"
        );
        let saw = |what: &str| Next::stay().record(Booked::Saw(what.to_owned()));
        let order = || ctx.id.clone();
        match (ctx.id.as_str(), is_paid, seen.len()) {
            ("cancels", false, 0) => saw("sold")
                .send::<Stock>(
                    "reserve",
                    "all",
                    StockCommand::Reserve {
                        order: order(),
                        units: 1,
                    },
                )
                .undo::<Stock>("all", StockCommand::Release { order: order() }),
            ("cancels", false, _) => saw("cancelled").compensate("cancelled"),
            ("cancels", true, 3) => saw("paid").complete(),
            (_, false, _) => saw("sold"),
            (_, true, _) => saw("paid"),
        }
    }

    fn evolve(seen: &mut Vec<String>, Booked::Saw(what): &Booked) {
        seen.push(what.clone());
    }
}

/// The first release, in which these are sold and paid at once.
async fn sell(store: &MemoryStore, sales: &[(&str, bool)]) {
    let before = RuntimeBuilder::new(Arc::new(store.clone())).aggregate::<Till>();
    let before = before.build().await.unwrap();
    for (name, paid_first) in sales {
        let (tenant, options) = (Tenant::default(), SendOptions::default());
        let name = id(name);
        let sold = before.send::<Till>(&tenant, &name, *paid_first, options);
        sold.await.unwrap();
    }
    before.stop(StopOptions::default()).await;
}

/// The release that reads a sale as two events.
struct Release {
    clock: ManualClock,
    runtime: Runtime,
    sagas: Sagas,
}

impl Release {
    async fn over(store: &MemoryStore) -> Self {
        let clock = ManualClock::default();
        let sagas = SagasBuilder::default().saga(Booking, StartFrom::Origin);
        let builder = RuntimeBuilder::new(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .aggregate::<NewTill>()
            .aggregate::<Stock>();
        let runtime = sagas.register(builder).build().await.unwrap();
        let sagas = sagas.start(&runtime).await.unwrap();
        settle().await;
        Self {
            clock,
            runtime,
            sagas,
        }
    }

    async fn stop(self) {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
    }

    fn booking(&self) -> &SagaHandle<Booking> {
        self.sagas.saga::<Booking>().unwrap()
    }

    async fn seen(&self, name: &str) -> SagaView<Booking> {
        let (tenant, name) = (Tenant::default(), id(name));
        self.booking().get(&tenant, &name).await.unwrap()
    }

    async fn release(&self, name: &str) -> SagaStatus {
        let (tenant, name) = (Tenant::default(), id(name));
        let released = self.booking().release(&tenant, &name, "ann");
        released.await.unwrap()
    }
}

fn is_quarantined(status: &SagaStatus, words: &str) -> bool {
    matches!(status, SagaStatus::Quarantined { reason } if reason.contains(words))
}

#[tokio::test]
async fn m22_the_parts_of_an_event_that_was_split_go_each_its_own_way_and_each_once() {
    let store = MemoryStore::new();
    sell(
        &store,
        &[
            ("sold", false),
            ("paid", true),
            ("twice", false),
            ("twice", false),
        ],
    )
    .await;
    let release = Release::over(&store).await;
    assert_eq!(release.seen("sold").await.state, ["sold", "paid"]);
    assert_eq!(
        release.seen("paid").await.state,
        ["sold"],
        "the payment came before there was anything to pay"
    );
    assert_eq!(release.seen("twice").await.state, ["sold", "paid", "paid"]);
    release.stop().await;

    sell(&store, &[("fails", false)]).await;
    BROKEN.set(Broken::Payments);
    let release = Release::over(&store).await;
    let stands = release.seen("fails").await;
    assert!(
        is_quarantined(&stands.status, "payments"),
        "{:?}",
        stands.status
    );
    assert_eq!(
        (stands.state.as_slice(), stands.stalled),
        (["sold".to_owned()].as_slice(), 1)
    );
    BROKEN.set(Broken::Nothing);
    release.release("fails").await;
    assert_eq!(
        release.seen("fails").await.state,
        ["sold", "paid"],
        "each part once"
    );
}

#[tokio::test]
async fn m22_a_part_after_the_one_that_had_it_compensated_changes_nothing_any_more() {
    let store = MemoryStore::new();
    sell(&store, &[("cancels", false)]).await;
    let release = Release::over(&store).await;
    assert_eq!(release.seen("cancels").await.state, ["sold", "paid"]);
    release.stop().await;
    sell(&store, &[("cancels", false)]).await;
    let release = Release::over(&store).await;
    let over = release.seen("cancels").await;
    assert_eq!(over.status, compensated("cancelled"));
    assert_eq!(over.state, ["sold", "paid", "cancelled"]);
    let stock = release
        .runtime
        .state::<Stock>(&Tenant::default(), &id("all"))
        .await;
    assert!(
        stock.unwrap().state.reserved.is_empty(),
        "what it reserved is given back"
    );
}

#[tokio::test]
async fn n3_a_part_for_what_is_no_id_is_taken_when_its_route_is_mended_and_no_other_again() {
    let store = MemoryStore::new();
    sell(&store, &[("sold", false), ("paid", true)]).await;
    BROKEN.set(Broken::Ids);
    let release = Release::over(&store).await;
    for name in ["sold", "paid"] {
        assert_eq!(release.seen(name).await.state, ["sold"], "{name}");
    }
    BROKEN.set(Broken::Nothing);
    let follower = release.booking().follower();
    assert_eq!(follower.parked().await.unwrap().len(), 2);
    follower.retry(Selection::All).await.unwrap();
    settle().await;
    assert!(follower.parked().await.unwrap().is_empty());
    let all = async |release: &Release| {
        assert_eq!(release.seen("sold").await.state, ["sold", "paid"]);
        assert_eq!(
            release.seen("paid").await.state,
            ["sold"],
            "the payment came before there was anything to pay"
        );
    };
    all(&release).await;
    let clock = release.clock.clone();
    release.stop().await;
    // As after a crash between the taking of events that were parked under their streams, and the record of that.
    let parked = [("sold", 1), ("paid", 2)].map(|(name, position)| {
        let key: Arc<str> = StreamId::of("till", name).unwrap().key().into();
        let position = GlobalPosition::new(position);
        let at = Timestamp::EPOCH;
        ParkedEvent::new(position, Arc::clone(&key), key, SetAside::Parked, at)
    });
    record_parked(&store, &clock, "saga:booking", &parked)
        .await
        .unwrap();
    let release = Release::over(&store).await;
    let left = release.booking().follower().parked().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    all(&release).await;
}

#[tokio::test]
async fn n3_a_late_part_that_still_waits_at_its_instance_is_not_taken_twice_by_another_follower() {
    let store = MemoryStore::new();
    sell(&store, &[("sold", false)]).await;
    BROKEN.set(Broken::Ids);
    let release = Release::over(&store).await;
    BROKEN.set(Broken::Nothing);
    // The cursor is recorded, and the retry is decided, but not durable.
    release.clock.advance(Duration::from_secs(2));
    settle().await;
    store.faults().hold();
    let follower = release.booking().follower();
    follower.retry(Selection::All).await.unwrap();
    settle().await;
    release.sagas.stop().await;
    let sagas = SagasBuilder::default().saga(Booking, StartFrom::Origin);
    let sagas = sagas.start(&release.runtime).await.unwrap();
    let release = Release { sagas, ..release };
    settle().await;
    release.clock.advance(Duration::from_secs(60));
    settle().await;
    store.faults().release();
    for _ in 0..10 {
        release.clock.advance(Duration::from_secs(10));
        settle().await;
    }
    assert_eq!(release.seen("sold").await.state, ["sold", "paid"]);
    let left = release.booking().follower().parked().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn m86_a_waiting_event_that_cannot_be_read_holds_up_its_instance_alone_and_says_why() {
    let store = MemoryStore::new();
    sell(&store, &[("fails", false)]).await;
    BROKEN.set(Broken::Payments);
    let release = Release::over(&store).await;
    BROKEN.set(Broken::Reading);
    // Nobody waits for it: the executor takes up what waited by itself.
    let order = SagaVerb::Release.by("ann", "mended");
    let (tenant, fails) = (Tenant::default(), id("fails"));
    let released = release.booking().operate(&tenant, &fails, order);
    assert!(released.now_or_never().is_none());
    settle().await;
    let stands = release.seen("fails").await;
    assert!(
        is_quarantined(&stands.status, "reading broke"),
        "{:?}",
        stands.status
    );
    assert_eq!(stands.stalled, 1);
    // A person who asks is told the same, and others go on.
    let again = release.release("fails").await;
    assert!(is_quarantined(&again, "reading broke"), "{again:?}");
    let (name, options) = (id("other"), SendOptions::default());
    let sold = release.runtime.send::<NewTill>(&tenant, &name, (), options);
    sold.await.unwrap();
    settle().await;
    assert_eq!(release.seen("other").await.state, ["sold"]);
    BROKEN.set(Broken::Nothing);
    release.release("fails").await;
    assert_eq!(release.seen("fails").await.state, ["sold", "paid"]);
}

#[tokio::test]
async fn n6_what_waits_is_taken_up_by_itself_when_the_log_can_be_read_again() {
    let store = MemoryStore::new();
    sell(&store, &[("fails", false)]).await;
    BROKEN.set(Broken::Payments);
    let release = Release::over(&store).await;
    BROKEN.set(Broken::Nothing);
    store.faults().fail_reads(Some(ReadFault::Io));
    let order = SagaVerb::Release.by("ann", "mended");
    let (tenant, fails) = (Tenant::default(), id("fails"));
    let released = release.booking().operate(&tenant, &fails, order);
    assert!(released.now_or_never().is_none());
    settle().await;
    assert_eq!(release.seen("fails").await.stalled, 1);
    store.faults().fail_reads(None);
    release.clock.advance(Duration::from_secs(1));
    settle().await;
    let seen = release.seen("fails").await;
    assert_eq!((seen.state.len(), seen.stalled), (2, 0));
}

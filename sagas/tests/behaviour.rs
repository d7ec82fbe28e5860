//! What the executor promises, seen through a small order process over the store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{
    Aggregate, AggregateId, Context, Decided, Decision, Event, Tenant, Timestamp,
};
use chronicler_runtime::{ManualClock, Runtime, RuntimeBuilder, SendOptions, StopOptions};
use chronicler_sagas::{
    CallOutcome, CallResult, Ending, ExternalService, Input, Next, Route, Routes, Saga,
    SagaContext, SagaStatus, SagaView, Sagas, SagasBuilder, StartFrom,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{EventLog, FactKind, FactQuery, MemoryStore};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

// An order: placed, then confirmed or rejected; it may be cancelled.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Status {
    Placed,
    Confirmed,
    Rejected,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum OrderCommand {
    Place { units: u32, cents: u32 },
    Touch,
    Confirm,
    Reject,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Placed { units: u32, cents: u32 },
    Touched,
    Confirmed,
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("not in this status")]
struct WrongStatus;

impl Event for OrderEvent {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Reply = ();
    type Rejection = WrongStatus;

    fn decide(&self, command: OrderCommand, _: &Context) -> Decided<Self> {
        match (command, self.status) {
            (OrderCommand::Place { units, cents }, None) => {
                Ok(OrderEvent::Placed { units, cents }.into())
            }
            (OrderCommand::Touch, _) => Ok(OrderEvent::Touched.into()),
            (OrderCommand::Confirm, Some(Status::Placed)) => Ok(OrderEvent::Confirmed.into()),
            (OrderCommand::Reject, Some(Status::Placed)) => Ok(OrderEvent::Rejected.into()),
            _ => Err(WrongStatus),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.status = match event {
            OrderEvent::Placed { .. } => Some(Status::Placed),
            OrderEvent::Touched => self.status,
            OrderEvent::Confirmed => Some(Status::Confirmed),
            OrderEvent::Rejected => Some(Status::Rejected),
        };
    }
}

// The stock of everything: 10 units.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stock {
    reserved: BTreeMap<String, u32>,
    broken: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum StockCommand {
    Reserve { order: String, units: u32 },
    Release { order: String },
    Break { broken: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum StockEvent {
    Reserved { order: String, units: u32 },
    Released { order: String },
    Broke { broken: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
enum StockRejection {
    #[error("out of stock")]
    OutOfStock,
    #[error("the warehouse is closed")]
    Closed,
}

impl Event for StockEvent {}

impl Aggregate for Stock {
    const CATEGORY: &'static str = "stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Reply = u32;
    type Rejection = StockRejection;

    fn decide(&self, command: StockCommand, _: &Context) -> Decided<Self> {
        let left = 10 - self.reserved.values().sum::<u32>();
        match command {
            StockCommand::Reserve { units, .. } if units > left => Err(StockRejection::OutOfStock),
            StockCommand::Reserve { order, units } => {
                Ok(Decision::event(StockEvent::Reserved { order, units }).reply(left - units))
            }
            StockCommand::Release { .. } if self.broken => Err(StockRejection::Closed),
            StockCommand::Release { order } => {
                Ok(Decision::event(StockEvent::Released { order }).reply(left))
            }
            StockCommand::Break { broken } => {
                Ok(Decision::event(StockEvent::Broke { broken }).reply(0))
            }
        }
    }

    fn evolve(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Reserved { order, units } => {
                *self.reserved.entry(order.clone()).or_default() += units;
            }
            StockEvent::Released { order } => {
                self.reserved.remove(order);
            }
            StockEvent::Broke { broken } => self.broken = *broken,
        }
    }
}

// A gateway with idempotency keys.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Charge {
    Take { order: String, cents: u32 },
    GiveBack { order: String },
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Script {
    #[default]
    Honest,
    Declines,
    LosesReplies,
    NeverAnswers,
}

#[derive(Clone, Default)]
struct Gateway {
    inner: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    script: Script,
    answered: BTreeMap<Uuid, CallResult>,
    charges: BTreeMap<String, (u32, u32)>,
    calls: u32,
}

impl ExternalService for Gateway {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let mut books = self.inner.lock();
        books.calls += 1;
        let request: Charge =
            chronicler_store::codec::decode(chronicler_store::codec::CodecId::BINCODE, &request)
                .unwrap();
        let script = books.script;
        let take = matches!(request, Charge::Take { .. });
        if script == Script::NeverAnswers && take {
            return futures::future::pending().boxed();
        }
        if !books.answered.contains_key(&key) {
            let result = match &request {
                Charge::Take { .. } if script == Script::Declines => {
                    CallResult::rejected(&"declined")
                }
                Charge::Take { order, cents } => {
                    books.charges.entry(order.clone()).or_default().0 += cents;
                    CallResult::done(&())
                }
                Charge::GiveBack { order } => {
                    books.charges.entry(order.clone()).or_default().1 += 1;
                    CallResult::done(&())
                }
            };
            books.answered.insert(key, result);
        }
        if script == Script::LosesReplies && take {
            return futures::future::ready(CallResult::Unknown("the line broke".into())).boxed();
        }
        futures::future::ready(books.answered[&key].clone()).boxed()
    }
}

// The process: reserve, charge, confirm.

#[derive(Default)]
struct Fulfil;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    cents: u32,
    reserved: bool,
    touched: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Did {
    Began { cents: u32 },
    Reserved,
    Touched,
}

impl Event for Did {}

impl Saga for Fulfil {
    const NAME: &'static str = "fulfil";
    type State = Progress;
    type Event = Did;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed { .. } if info.id == "unroutable" => panic!("cannot be routed"),
            OrderEvent::Placed { .. } => Route::start(&info.id),
            OrderEvent::Touched => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, state: &Progress, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = &ctx.id;
        if let Some(event) = input.event::<Order>() {
            return match event {
                OrderEvent::Placed { units, cents } => Next::stay()
                    .record(Did::Began { cents: *cents })
                    .timer("patience", Duration::from_secs(900))
                    .send::<Stock>(
                        "reserve",
                        "all",
                        StockCommand::Reserve {
                            order: order.clone(),
                            units: *units,
                        },
                    )
                    .undo::<Stock>(
                        "all",
                        StockCommand::Release {
                            order: order.clone(),
                        },
                    ),
                OrderEvent::Touched if order == "poison" && state.touched == 1 => {
                    panic!("touched once too often")
                }
                OrderEvent::Touched => Next::stay().record(Did::Touched),
                _ => Next::stay(),
            };
        }
        if let Some(outcome) = input.outcome() {
            return match outcome.key() {
                "reserve" if outcome.is_done() => {
                    let take = Charge::Take {
                        order: order.clone(),
                        cents: state.cents,
                    };
                    let back = Charge::GiveBack {
                        order: order.clone(),
                    };
                    Next::stay()
                        .record(Did::Reserved)
                        .call("charge", "gateway", &take)
                        .undo_call("gateway", &back, &back)
                }
                "reserve" => Next::stay().compensate("out of stock"),
                "charge" => {
                    match outcome.call::<(), String>().unwrap() {
                        CallOutcome::Done(()) => Next::stay()
                            .cancel_timer("patience")
                            .send::<Order>("confirm", order, OrderCommand::Confirm),
                        CallOutcome::Rejected(reason) => Next::stay().compensate(reason),
                        CallOutcome::Unknown(reason) => Next::stay().compensate(reason),
                    }
                }
                "confirm" if outcome.is_done() => Next::stay().pivot().complete(),
                "confirm" => Next::stay().compensate("not confirmed"),
                _ => Next::stay(),
            };
        }
        match input {
            Input::Timer(_) => Next::stay().compensate("time-out"),
            Input::Compensated { .. } => {
                Next::stay().send::<Order>("reject", order, OrderCommand::Reject)
            }
            _ => Next::stay(),
        }
    }

    fn evolve(state: &mut Progress, event: &Did) {
        match event {
            Did::Began { cents } => state.cents = *cents,
            Did::Reserved => state.reserved = true,
            Did::Touched => state.touched += 1,
        }
    }
}

struct Fixture {
    store: MemoryStore,
    clock: ManualClock,
    gateway: Gateway,
    runtime: Runtime,
    sagas: Sagas,
}

async fn fixture() -> Fixture {
    over(
        MemoryStore::new(),
        Gateway::default(),
        ManualClock::default(),
    )
    .await
}

async fn over(store: MemoryStore, gateway: Gateway, clock: ManualClock) -> Fixture {
    let sagas = SagasBuilder::default()
        .saga(Fulfil, StartFrom::Now)
        .service("gateway", Arc::new(gateway.clone()));
    assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
    let builder = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .aggregate::<Order>()
        .aggregate::<Stock>();
    let runtime = sagas.register(builder).build().await.unwrap();
    let sagas = sagas.start(&runtime).await.unwrap();
    Fixture {
        store,
        clock,
        gateway,
        runtime,
        sagas,
    }
}

/// Lets every task run until nothing moves any more: the current-thread executor is fair.
async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

impl Fixture {
    async fn order(&self, name: &str, command: OrderCommand) {
        let (tenant, id, options) = (Tenant::default(), id(name), SendOptions::default());
        self.runtime
            .send::<Order>(&tenant, &id, command, options)
            .await
            .unwrap();
        settle().await;
    }

    async fn place(&self, name: &str, units: u32) {
        self.order(name, OrderCommand::Place { units, cents: 500 })
            .await;
    }

    async fn view(&self, name: &str) -> SagaView<Fulfil> {
        self.sagas
            .saga::<Fulfil>()
            .unwrap()
            .get(&Tenant::default(), &id(name))
            .await
            .unwrap()
    }

    async fn status(&self, name: &str) -> SagaStatus {
        self.view(name).await.status
    }

    async fn order_status(&self, name: &str) -> Option<Status> {
        self.runtime
            .state::<Order>(&Tenant::default(), &id(name))
            .await
            .unwrap()
            .state
            .status
    }

    async fn stock(&self) -> Stock {
        self.runtime
            .state::<Stock>(&Tenant::default(), &id("all"))
            .await
            .unwrap()
            .state
    }

    async fn warehouse(&self, broken: bool) {
        let command = StockCommand::Break { broken };
        let options = SendOptions::default();
        self.runtime
            .send::<Stock>(&Tenant::default(), &id("all"), command, options)
            .await
            .unwrap();
    }

    fn charges(&self, name: &str) -> (u32, u32) {
        self.gateway
            .inner
            .lock()
            .charges
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    async fn facts(&self, kind: FactKind) -> usize {
        self.store.facts(FactQuery::all(kind)).await.unwrap().len()
    }

    async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        settle().await;
    }

    async fn restart(self) -> Self {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
        let again = over(self.store, self.gateway, self.clock).await;
        settle().await;
        again
    }
}

fn compensated(reason: &str) -> SagaStatus {
    SagaStatus::Ended(Ending::Compensated {
        reason: reason.into(),
    })
}

#[tokio::test]
async fn m01_the_happy_path() {
    let f = fixture().await;
    f.place("o", 3).await;
    assert_eq!(f.status("o").await, SagaStatus::Ended(Ending::Completed));
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
    assert_eq!(f.status("o").await, SagaStatus::Ended(Ending::Completed));
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
    assert_eq!(f.status("o").await, SagaStatus::Ended(Ending::Completed));
    assert_eq!(f.facts(FactKind::PARKED).await, 1);
}

#[tokio::test]
async fn m28_m44_a_saga_in_flight_is_taken_up_after_a_restart_with_the_same_state() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    let before = f.view("o").await;
    let f = f.restart().await;
    let after = f.view("o").await;
    assert_eq!(
        (after.state, after.status),
        (before.state, SagaStatus::Running)
    );
    assert_eq!(after.timers, before.timers);
    assert_eq!(
        f.gateway.inner.lock().calls,
        2,
        "the open effect was tried again"
    );
    f.gateway.inner.lock().script = Script::Honest;
    let f = f.restart().await;
    assert_eq!(f.status("o").await, SagaStatus::Ended(Ending::Completed));
    assert_eq!(f.charges("o"), (500, 0));
}

#[tokio::test]
async fn m36_a_timer_that_was_due_while_nobody_ran_fires_after_the_start_once() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::NeverAnswers;
    f.place("o", 3).await;
    f.sagas.stop().await;
    f.runtime.stop(StopOptions::default()).await;
    f.clock.advance(Duration::from_secs(5_000));
    let f = over(f.store, f.gateway, f.clock).await;
    settle().await;
    assert_eq!(f.status("o").await, compensated("time-out"));
    assert_eq!(f.charges("o"), (0, 1));
}

#[tokio::test]
async fn m65_backoff_outlives_a_restart() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.place("o", 3).await;
    let SagaStatus::Retrying { attempt, next, .. } = f.status("o").await else {
        panic!("it should be retrying")
    };
    let f = f.restart().await;
    let again = f.status("o").await;
    let expected = SagaStatus::Retrying {
        key: "charge".into(),
        attempt,
        next,
    };
    assert_eq!(again, expected, "no attempt before its time");
}

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
    assert_eq!(f.status("o").await, compensated("changed my mind"));
    assert!(f.stock().await.reserved.is_empty());
    let refused = handle
        .cancel(&Tenant::default(), &id("o"), "again", "ann")
        .await
        .unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    let history = handle.history(&Tenant::default(), &id("o")).await.unwrap();
    let names: Vec<_> = history.iter().map(|(_, name, _)| name.as_str()).collect();
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
    assert_eq!(f.status("new").await, SagaStatus::Ended(Ending::Completed));
}

/// Runs an order until it is over, or the store dies; then again over what survived, until it is over.
async fn crash_at(script: Script, point: CrashPoint) -> bool {
    let store = MemoryStore::new();
    let (gateway, clock) = (Gateway::default(), ManualClock::default());
    gateway.inner.lock().script = script;
    let f = over(store.clone(), gateway.clone(), clock.clone()).await;
    store.faults().crash_at(point);
    let place = OrderCommand::Place {
        units: 3,
        cents: 500,
    };
    let (tenant, name) = (Tenant::default(), id("o"));
    let placed = f
        .runtime
        .send::<Order>(&tenant, &name, place.clone(), SendOptions::default());
    // Handed over; whoever sent it does not live to see the answer.
    drop(placed.now_or_never());
    for _ in 0..6 {
        settle().await;
        clock.advance(Duration::from_secs(300));
    }
    settle().await;
    let died = store.faults().is_dead();
    let survivor = MemoryStore::clone(&store.faults().survivor());
    let f = over(survivor, gateway, clock.clone()).await;
    settle().await;
    // A command whose answer was lost is sent again; the order itself says no to a second one.
    let again = f
        .runtime
        .send::<Order>(&tenant, &name, place, SendOptions::default())
        .await;
    drop(again);
    for _ in 0..8 {
        settle().await;
        clock.advance(Duration::from_secs(300));
    }
    settle().await;
    let status = f.status("o").await;
    let (charged, refunded) = f.charges("o");
    match &status {
        SagaStatus::Ended(Ending::Completed) => {
            assert_eq!((charged, refunded), (500, 0), "{point:?}");
            assert_eq!(f.stock().await.reserved["o"], 3, "{point:?}");
            assert_eq!(
                f.order_status("o").await,
                Some(Status::Confirmed),
                "{point:?}"
            );
        }
        SagaStatus::Ended(Ending::Compensated { .. }) => {
            assert!(
                charged == 0 || (charged, refunded) == (500, 1),
                "{point:?}: {charged}"
            );
            assert!(refunded <= 1, "{point:?}");
            assert!(f.stock().await.reserved.is_empty(), "{point:?}");
            assert_eq!(
                f.order_status("o").await,
                Some(Status::Rejected),
                "{point:?}"
            );
        }
        other => panic!("{point:?}: it should be over, and is {other:?}"),
    }
    died
}

#[tokio::test]
async fn m09_killed_at_every_write_each_effect_happens_once() {
    for script in [Script::Honest, Script::Declines, Script::LosesReplies] {
        for durable in [false, true] {
            let mut write = 1;
            while crash_at(script, CrashPoint { write, durable }).await {
                write += 1;
            }
            assert!(write > 6, "{script:?}: only {write} writes were met");
        }
    }
}

//! Whoever only waits keeps no place: instances in trouble, however many, hold up no other.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{Event, StreamId, Tenant};
use chronicler_runtime::{Clock, ManualClock, SendOptions};
use chronicler_sagas::{
    CallResult, Ending, ExternalService, Input, Next, Route, Routes, Saga, SagaContext, SagaHandle,
    SagaStatus, SagasBuilder, StartFrom,
};
use chronicler_store::MemoryStore;
use chronicler_store::codec::{CodecId, decode};
use chronicler_store::memory::ReadFault;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fixture::{Fixture, fixture_with, id, impatient, next_life_with, settle, start};
use crate::shop::{Charge, Gateway, Order, OrderCommand, OrderEvent, Script};

/// Waits for a time-out, or for a call if its name says so: to the gateway, to the desk, or to the desk one at a time.
struct Waiter;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

impl Saga for Waiter {
    const NAME: &'static str = "waiter";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = ctx.id.clone();
        match input {
            Input::Event(_) if order.starts_with("call") => {
                Next::stay().call("charge", "gateway", &Charge::Take { order, cents: 1 })
            }
            Input::Event(_) if order.starts_with("desk") => {
                Next::stay().call("ask", "desk", &order)
            }
            Input::Event(_) if order.starts_with("line") => {
                Next::stay().call("ask", "desk", &order).at_most(1, "line")
            }
            Input::Event(_) => Next::stay().timer("patience", Duration::from_secs(100)),
            _ => Next::stay().complete(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// A service whose calls take a second, and that does not know what became of the first of some.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Books>>, ManualClock);

#[derive(Default)]
struct Books {
    /// Who called.
    calls: Vec<String>,
    at_work: usize,
    at_work_most: usize,
}

impl Desk {
    fn calls(&self, name: &str) -> usize {
        let books = self.0.lock();
        books.calls.iter().filter(|call| *call == name).count()
    }

    fn at_work_most(&self) -> usize {
        self.0.lock().at_work_most
    }

    /// An application with a desk, and so many decisions at work at a time.
    async fn open(under_way_max: usize, backoff: Duration) -> (Self, Fixture) {
        let desk = Self::default();
        let mut options = impatient();
        options.under_way_max = under_way_max;
        (
            options.unknown_calls.backoff_min,
            options.unknown_calls.backoff_max,
        ) = (backoff, backoff);
        let sagas = SagasBuilder::default()
            .saga(Waiter, StartFrom::Now)
            .service("desk", Arc::new(desk.clone()));
        let (store, clock) = (MemoryStore::new(), desk.1.clone());
        let f = start(options, sagas, store, Gateway::default(), clock).await;
        (desk, f)
    }
}

impl ExternalService for Desk {
    fn call(&self, _: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let name: String = decode(CodecId::BINCODE, &request).unwrap();
        let own = self.clone();
        let is_lost = name.contains("lost") && own.calls(&name) == 0;
        own.0.lock().calls.push(name);
        async move {
            if is_lost {
                return CallResult::Unknown("the line broke".to_owned());
            }
            {
                let mut books = own.0.lock();
                books.at_work += 1;
                books.at_work_most = books.at_work_most.max(books.at_work);
            }
            own.1.sleep(Duration::from_secs(1)).await;
            own.0.lock().at_work -= 1;
            CallResult::done(&())
        }
        .boxed()
    }
}

const ENDED: SagaStatus = SagaStatus::Ended {
    how: Ending::Completed,
};

async fn begin(f: &Fixture, names: &[String]) {
    let tenant = Tenant::default();
    for name in names {
        let (id, options) = (id(name), SendOptions::default());
        let sent = f
            .runtime
            .send::<Order>(&tenant, &id, OrderCommand::Touch, options);
        sent.await.unwrap();
    }
    for _ in 0..10 {
        settle().await;
    }
}

fn handle(f: &Fixture) -> &SagaHandle<Waiter> {
    f.sagas.saga::<Waiter>().unwrap()
}

/// How many of them are open.
async fn open(f: &Fixture) -> usize {
    handle(f).open().await.unwrap().len()
}

async fn status(f: &Fixture, name: &str) -> SagaStatus {
    let view = handle(f).get(&Tenant::default(), &id(name)).await;
    view.unwrap().status
}

/// From now on reads of these instances fail so.
fn break_reads(f: &Fixture, names: &[String], fault: Option<ReadFault>) {
    for name in names {
        let stream = StreamId::of("saga:waiter", name).unwrap();
        f.store.faults().fail_reads_of(&stream, fault);
    }
}

/// Time passes, for the sagas and for the permits to recover, which are measured on tokio's clock.
async fn pass(f: &Fixture, seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    f.advance(seconds).await;
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n:04}")).collect()
}

#[tokio::test(start_paused = true)]
async fn z1_instances_that_cannot_be_recovered_hold_up_no_timers_of_others() {
    // More than handlers of timers that are at work at a time.
    let stuck = names("stuck", 300);
    for fault in [ReadFault::Io, ReadFault::Hangs] {
        let f = fixture_with(Waiter).await;
        begin(&f, &stuck).await;
        // It comes due after all of them.
        f.advance(1).await;
        begin(&f, &["well".to_owned()]).await;
        break_reads(&f, &stuck, Some(fault));
        let f = next_life_with(f, Waiter).await;
        for _ in 0..40 {
            pass(&f, 3).await;
        }
        assert_eq!(status(&f, "well").await, ENDED, "{fault:?}");
        assert_eq!(open(&f).await, stuck.len());
        if fault == ReadFault::Io {
            // None of them is forgotten.
            break_reads(&f, &stuck, None);
            for _ in 0..8 {
                pass(&f, 10).await;
            }
            assert_eq!(open(&f).await, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn z2_open_sagas_that_cannot_be_recovered_hold_up_no_other_after_a_restart() {
    // More than are woken at a time, and woken before the other.
    let stuck = names("call", 100);
    for fault in [ReadFault::Io, ReadFault::Hangs] {
        let f = fixture_with(Waiter).await;
        f.gateway.inner.lock().script = Script::NeverAnswers;
        begin(&f, &stuck).await;
        begin(&f, &["call-well".to_owned()]).await;
        assert_eq!(f.gateway.inner.lock().calls, 101);
        f.gateway.inner.lock().script = Script::Honest;
        break_reads(&f, &stuck, Some(fault));
        let f = next_life_with(f, Waiter).await;
        for _ in 0..5 {
            pass(&f, 5).await;
        }
        assert_eq!(status(&f, "call-well").await, ENDED, "{fault:?}");
        assert_eq!(f.charges("call-well"), (1, 0));
        assert_eq!(open(&f).await, stuck.len());
        if fault == ReadFault::Io {
            break_reads(&f, &stuck, None);
            for _ in 0..8 {
                pass(&f, 10).await;
            }
            assert_eq!(open(&f).await, 0);
            assert_eq!(f.charges("call-0000"), (1, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn z3_a_verb_on_an_instance_that_cannot_be_recovered_ends_within_some_seconds() {
    for fault in [ReadFault::Io, ReadFault::Hangs] {
        let f = fixture_with(Waiter).await;
        begin(&f, &["stuck".to_owned()]).await;
        break_reads(&f, &["stuck".to_owned()], Some(fault));
        let f = next_life_with(f, Waiter).await;
        let (tenant, name) = (Tenant::default(), id("stuck"));
        let mut asked = Box::pin(handle(&f).cancel(&tenant, &name, "no", "ann"));
        let mut answer = None;
        for _ in 0..12 {
            answer = answer.or_else(|| asked.as_mut().now_or_never());
            f.clock.advance(Duration::from_millis(500));
            settle().await;
        }
        let error = answer.unwrap().unwrap_err();
        assert!(!error.is_refusal(), "{error}");
        let said = error.to_string();
        let expected = match fault {
            ReadFault::Io => "cannot be recovered at present",
            _ => "no answer",
        };
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn z5_attempts_that_wait_for_their_time_have_no_place_and_get_one_when_they_come_back() {
    let (desk, f) = Desk::open(4, Duration::from_secs(10)).await;
    begin(&f, &names("desk-lost", 40)).await;
    assert_eq!(desk.0.lock().calls.len(), 40);
    // The clock stands still: all of them wait for their next attempt.
    begin(&f, &["desk-well".to_owned()]).await;
    assert_eq!(desk.calls("desk-well"), 1);
    for _ in 0..30 {
        f.advance(1).await;
    }
    assert_eq!(open(&f).await, 0);
    assert_eq!(desk.at_work_most(), 4, "as many as there are places");
}

#[tokio::test]
async fn z5_attempts_that_wait_for_room_at_a_resource_have_no_place() {
    let (desk, f) = Desk::open(2, Duration::from_secs(10)).await;
    begin(&f, &names("line", 5)).await;
    assert_eq!(desk.0.lock().calls.len(), 1);
    begin(&f, &["desk-well".to_owned()]).await;
    assert_eq!(desk.calls("desk-well"), 1);
    begin(&f, &names("desk", 5)).await;
    for _ in 0..10 {
        f.advance(1).await;
    }
    assert_eq!(open(&f).await, 0);
    assert_eq!(desk.at_work_most(), 2);
}

#[tokio::test(start_paused = true)]
async fn z6_an_instance_that_cannot_be_recovered_keeps_neither_a_place_nor_room_at_a_resource() {
    for fault in [ReadFault::Io, ReadFault::Hangs] {
        let (desk, f) = Desk::open(1, Duration::from_secs(2_000)).await;
        let lost = ["line-lost".to_owned()];
        begin(&f, &lost).await;
        assert_eq!(desk.calls("line-lost"), 1);
        // It sleeps when its next attempt comes, and is asked whether that is still wanted.
        for _ in 0..99 {
            pass(&f, 10).await;
        }
        assert_eq!(handle(&f).awake(), 0);
        break_reads(&f, &lost, Some(fault));
        for _ in 0..102 {
            pass(&f, 10).await;
        }
        begin(&f, &["line-well".to_owned()]).await;
        for _ in 0..5 {
            pass(&f, 1).await;
        }
        assert_eq!(status(&f, "line-well").await, ENDED, "{fault:?}");
        assert_eq!(desk.calls("line-lost"), 1);
        if fault == ReadFault::Io {
            break_reads(&f, &lost, None);
            for _ in 0..5 {
                pass(&f, 1).await;
            }
            assert_eq!(status(&f, "line-lost").await, ENDED);
            assert_eq!(desk.calls("line-lost"), 2);
        }
    }
}

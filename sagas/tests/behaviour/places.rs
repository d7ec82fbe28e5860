//! Whoever only waits keeps no place: instances in trouble, however many, hold up no other.

use std::time::Duration;

use chronicler_domain::{Event, StreamId, Tenant};
use chronicler_runtime::SendOptions;
use chronicler_sagas::{
    Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus,
};
use chronicler_store::memory::ReadFault;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, next_life_with, settle};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script};

/// Waits for a time-out, or for a call if its name says so.
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
            Input::Event(_) => Next::stay().timer("patience", Duration::from_secs(100)),
            _ => Next::stay().complete(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
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

//! Services that are dead, slow or narrow.

use chronicler_sagas::step_keys;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, to_service};
use chronicler_sagas::{
    CallResult, Ending, ExternalService, SagaOptions, SagaStatus, SagaVerb, SagasBuilder, Tries,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::journey::act;
use crate::world::{World, settle};

step_keys! {
    Print = "print" -> usize;
    Done = "done" -> u64;
}

/// One page of a printer that takes three at a time.
struct Page;

impl StepSaga for Page {
    const NAME: &'static str = "page";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<Print, String>(
                Print,
                |page| match page.id().starts_with("by-hand") {
                    true => to_service("service", &"write"),
                    false => to_service("printer", &"print"),
                },
                |_, _| to_service("printer", &"shred"),
            )
            .at_most(3, "printer")
            .tries(Tries::times(4).between(Duration::from_secs(1), Duration::from_secs(1)))
            .within(Duration::from_secs(100_000))
            .pivot(Done, |_| act("desk", "done"))
            .build()
    }
}

/// A printer that prints when it is let to, and is dead when it is told so.
#[derive(Clone)]
struct Printer {
    lets: Arc<Semaphore>,
    at_work: Arc<Mutex<(usize, usize)>>,
    is_dead: Arc<Mutex<bool>>,
    calls: Arc<Mutex<usize>>,
}

impl ExternalService for Printer {
    fn call(&self, _: Uuid, _: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let printer = self.clone();
        *printer.calls.lock() += 1;
        async move {
            if *printer.is_dead.lock() {
                return CallResult::Unavailable("connection refused".to_owned());
            }
            {
                let mut at_work = printer.at_work.lock();
                at_work.0 += 1;
                at_work.1 = at_work.1.max(at_work.0);
            }
            printer.lets.acquire().await.unwrap().forget();
            printer.at_work.lock().0 -= 1;
            CallResult::done(&1_usize)
        }
        .boxed()
    }
}

/// A service that answers as it is told, and then that it is done.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<VecDeque<CallResult>>>);

impl ExternalService for Told {
    fn call(&self, _: Uuid, _: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let told = self.0.lock().pop_front();
        let answer = told.unwrap_or_else(|| CallResult::done(&1_usize));
        async { answer }.boxed()
    }
}

fn printer() -> Printer {
    Printer {
        lets: Arc::new(Semaphore::new(0)),
        at_work: Arc::default(),
        is_dead: Arc::default(),
        calls: Arc::default(),
    }
}

async fn world() -> (World<Page>, Printer) {
    let printer = printer();
    let sagas = SagasBuilder::default().service("printer", Arc::new(printer.clone()));
    (World::beside(sagas).await, printer)
}

#[tokio::test]
async fn m80_no_more_than_so_many_use_a_resource_at_a_time_and_all_get_their_turn() {
    let (world, printer) = world().await;
    for page in 0..10 {
        world.begin(&format!("p{page}")).await;
    }
    assert_eq!(*printer.at_work.lock(), (3, 3));
    printer.lets.add_permits(10);
    settle().await;
    assert_eq!(*printer.at_work.lock(), (0, 3));
    for page in 0..10 {
        assert_eq!(world.ended(&format!("p{page}")).await, Ending::Completed);
    }
}

#[tokio::test]
async fn m26_a_dead_provider_costs_no_budget_and_is_asked_by_one_at_a_time() {
    let (world, printer) = world().await;
    *printer.is_dead.lock() = true;
    for page in 0..20 {
        world.begin(&format!("p{page}")).await;
    }
    // Ten attempts open the circuit; the others wait.
    assert_eq!(*printer.calls.lock(), 10);
    for page in 0..20 {
        let status = world.status(&format!("p{page}")).await;
        assert!(
            matches!(status, SagaStatus::Retrying { .. }),
            "{page}: {status:?}"
        );
    }
    // An hour of death: single probes, ever further apart, and nobody gives up.
    for _ in 0..60 {
        world.advance(60).await;
    }
    let probes = *printer.calls.lock() - 10;
    assert!((10..=70).contains(&probes), "{probes} probes");
    *printer.is_dead.lock() = false;
    printer.lets.add_permits(100);
    for _ in 0..4 {
        world.advance(60).await;
    }
    for page in 0..20 {
        let name = format!("p{page}");
        assert_eq!(world.ended(&name).await, Ending::Completed, "{name}");
    }
}

#[tokio::test]
async fn m65_what_waits_for_a_dead_provider_is_taken_up_after_a_restart_and_can_be_cancelled() {
    let (world, printer) = world().await;
    *printer.is_dead.lock() = true;
    for page in 0..12 {
        world.begin(&format!("p{page}")).await;
    }
    world.sagas.stop().await;
    let stopped = world
        .runtime
        .stop(chronicler_runtime::StopOptions::default());
    stopped.await;
    *printer.is_dead.lock() = false;
    printer.lets.add_permits(100);
    let sagas = SagasBuilder::default().service("printer", Arc::new(printer.clone()));
    let world = World::<Page>::with(sagas, world.store, world.service, world.clock).await;
    settle().await;
    world.advance(2).await;
    assert_eq!(world.ended("p11").await, Ending::Completed);

    *printer.is_dead.lock() = true;
    for page in 20..32 {
        world.begin(&format!("p{page}")).await;
    }
    world.cancel("p31").await.unwrap();
    *printer.is_dead.lock() = false;
    for _ in 0..4 {
        world.advance(60).await;
    }
    assert!(matches!(
        world.ended("p31").await,
        Ending::Compensated { .. }
    ));
}

#[tokio::test]
async fn m26_a_single_saga_does_not_give_up_on_a_provider_that_is_away() {
    let (world, printer) = world().await;
    *printer.is_dead.lock() = true;
    world.begin("alone").await;
    for _ in 0..30 {
        world.advance(60).await;
    }
    let status = world.status("alone").await;
    assert!(matches!(status, SagaStatus::Retrying { .. }), "{status:?}");
    *printer.is_dead.lock() = false;
    printer.lets.add_permits(1);
    world.advance(60).await;
    assert_eq!(world.ended("alone").await, Ending::Completed);
}

#[tokio::test]
async fn sa11_connections_that_are_refused_spend_none_of_the_tries_for_unknown_outcomes() {
    let refused = || CallResult::Unavailable("connection refused".to_owned());
    let lost = || CallResult::Unknown("no answer".to_owned());
    // Four tries: the fourth attempt that may have been taken is the last.
    for (lost_ones, is_done) in [(1, true), (3, true), (4, false)] {
        let told = Told::default();
        told.0.lock().extend((0..3).map(|_| refused()));
        told.0.lock().extend((0..lost_ones).map(|_| lost()));
        let sagas = SagasBuilder::default().service("printer", Arc::new(told));
        let world = World::<Page>::beside(sagas).await;
        world.begin("p").await;
        for _ in 0..10 {
            world.advance(2).await;
        }
        let how = world.ended("p").await;
        assert_eq!(how == Ending::Completed, is_done, "{lost_ones}: {how:?}");
    }
}

#[tokio::test]
async fn sa13_what_a_dead_provider_never_took_is_called_off_without_it() {
    let (world, printer) = world().await;
    *printer.is_dead.lock() = true;
    for page in 0..20 {
        world.begin(&format!("p{page}")).await;
    }
    let calls = *printer.calls.lock();
    for page in 0..20 {
        world.cancel(&format!("p{page}")).await.unwrap();
    }
    settle().await;
    for page in 0..20 {
        let how = world.ended(&format!("p{page}")).await;
        assert!(matches!(how, Ending::Compensated { .. }), "{how:?}");
    }
    assert_eq!(
        *printer.calls.lock(),
        calls,
        "the provider is asked nothing"
    );
}

#[tokio::test]
async fn m27_what_waits_for_room_is_not_made_any_more_once_it_is_terminated() {
    let (world, printer) = world().await;
    for page in 0..10 {
        world.begin(&format!("p{page}")).await;
    }
    for page in 3..10 {
        let name = format!("p{page}");
        world.operate(&name, SagaVerb::Terminate).await.unwrap();
    }
    printer.lets.add_permits(10);
    settle().await;
    assert_eq!(*printer.calls.lock(), 3);
}

#[tokio::test]
async fn m80_what_waits_for_a_dead_provider_keeps_nobody_from_anything_else() {
    let printer = printer();
    *printer.is_dead.lock() = true;
    let mut options = SagaOptions::default();
    options.under_way_max = 3;
    let sagas = SagasBuilder::default().options(options);
    let sagas = sagas.service("printer", Arc::new(printer.clone()));
    let world = World::<Page>::beside(sagas).await;
    for page in 0..20 {
        world.begin(&format!("p{page}")).await;
    }
    for _ in 0..20 {
        world.advance(2).await;
    }
    // Twenty wait, and three may be under way: another is carried out all the same.
    world.begin("by-hand").await;
    assert_eq!(world.ended("by-hand").await, Ending::Completed);
    *printer.is_dead.lock() = false;
    for page in 0..20 {
        world.cancel(&format!("p{page}")).await.unwrap();
    }
    printer.lets.add_permits(100);
    for _ in 0..10 {
        world.advance(60).await;
    }
    for page in 0..20 {
        let how = world.ended(&format!("p{page}")).await;
        assert!(matches!(how, Ending::Compensated { .. }), "{how:?}");
    }
}

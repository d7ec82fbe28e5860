//! What is decided is whole or nothing: half a decision, an end before its undos, timers that were called off too late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chronicler_domain::{Event, Tenant};
use chronicler_runtime::Clock;
use chronicler_sagas::{
    Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaHandle, SagaStatus, SagaVerb,
    SagasBuilder, StartFrom, Tries,
};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, next_life_with, settle};
use crate::shop::{Charge, Order, OrderCommand, OrderEvent, Script, Stock, StockCommand};

/// Whether `evolve` of the clerk takes what it is given; one test alone turns it.
static MENDED: AtomicBool = AtomicBool::new(false);

/// What it does is told by the first word of the id.
struct Clerk;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Noted {
    Touched,
    Charged,
}

impl Event for Noted {}

impl Saga for Clerk {
    const NAME: &'static str = "clerk";
    type State = u32;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, touched: &u32, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let word = ctx.id.split('-').next().unwrap_or_default();
        let charge = |next: Next<Self>| {
            let (order, cents) = (ctx.id.clone(), 1);
            next.call("charge", "gateway", &Charge::Take { order, cents })
        };
        let reserve = |units| StockCommand::Reserve {
            order: ctx.id.clone(),
            units,
        };
        let release = StockCommand::Release {
            order: ctx.id.clone(),
        };
        match (word, input) {
            ("poison", Input::Event(_)) => charge(Next::stay()).record(Noted::Charged),
            ("compensates" | "fails", Input::Event(_)) => Next::stay()
                .send::<Stock>("reserve", "all", reserve(1))
                .undo::<Stock>("all", release),
            ("compensates", Input::Answer(_)) => Next::stay().compensate("no stock").complete(),
            ("fails", Input::Answer(_)) => Next::stay().compensate("no stock").fail("no stock"),
            ("ends", Input::Event(_)) => Next::stay()
                .send::<Stock>("reserve", "all", reserve(1_000))
                .complete(),
            ("waits", Input::Event(_)) if *touched == 0 => Next::stay()
                .record(Noted::Touched)
                .send::<Stock>("reserve", "all", reserve(1))
                .undo::<Stock>("all", release)
                .timer("pay-by", Duration::from_secs(60)),
            ("waits", Input::Event(_)) => Next::stay().cancel_timer("pay-by"),
            ("waits", Input::Timer(_)) => Next::stay().compensate("not paid in time"),
            ("never", Input::Event(_)) => {
                charge(Next::stay()).tries(Tries::times(5).between(Duration::MAX, Duration::MAX))
            }
            ("long", Input::Event(_)) => {
                charge(Next::stay()).timer("k".repeat(1_000), Duration::from_secs(1))
            }
            ("plain", Input::Event(_)) => charge(Next::stay()),
            ("plain", Input::Answer(_)) => Next::stay().complete(),
            _ => Next::stay(),
        }
    }

    fn evolve(count: &mut u32, event: &Noted) {
        *count += 1;
        assert!(
            matches!(event, Noted::Touched) || MENDED.load(Ordering::SeqCst),
            "a fault of the first version"
        );
    }
}

async fn touched(name: &str) -> Fixture {
    let f = fixture_with(Clerk).await;
    f.order(name, OrderCommand::Touch).await;
    f
}

fn handle(f: &Fixture) -> &SagaHandle<Clerk> {
    f.sagas.saga::<Clerk>().unwrap()
}

async fn status(f: &Fixture, name: &str) -> SagaStatus {
    let view = handle(f).get(&Tenant::default(), &id(name)).await;
    view.unwrap().status
}

async fn operate(f: &Fixture, name: &str, verb: SagaVerb) -> Result<SagaStatus, String> {
    let (tenant, name) = (Tenant::default(), id(name));
    let done = handle(f).operate(&tenant, &name, verb.by("ann", "looked"));
    let done = done.await.map_err(|error| error.to_string());
    settle().await;
    done
}

#[tokio::test]
async fn m86_a_decision_that_evolve_cannot_take_leaves_nothing_and_is_made_once_after_the_release()
{
    let f = touched("poison").await;
    let view = handle(&f)
        .get(&Tenant::default(), &id("poison"))
        .await
        .unwrap();
    assert!(
        matches!(view.status, SagaStatus::Quarantined { .. }),
        "{:?}",
        view.status
    );
    assert_eq!(
        (view.state, view.effects.len()),
        (0, 0),
        "nothing of it is there"
    );
    assert_eq!(f.gateway.inner.lock().calls, 0);
    MENDED.store(true, Ordering::SeqCst);
    operate(&f, "poison", SagaVerb::Release).await.unwrap();
    assert_eq!(f.charges("poison"), (1, 0), "one charge");
    let view = handle(&f)
        .get(&Tenant::default(), &id("poison"))
        .await
        .unwrap();
    assert_eq!((view.state, view.effects.len()), (1, 1));
}

#[tokio::test]
async fn a_decision_to_compensate_and_be_over_at_once_quarantines_and_loses_no_undo() {
    for name in ["compensates", "fails"] {
        let f = touched(name).await;
        let status = status(&f, name).await;
        let SagaStatus::Quarantined { reason } = &status else {
            panic!("{status:?}")
        };
        assert!(reason.contains("compensate"), "{reason}");
        operate(&f, name, SagaVerb::Cancel).await.unwrap();
        assert!(
            f.stock().await.reserved.is_empty(),
            "it can still be undone"
        );
    }
}

#[tokio::test]
async fn what_is_sent_with_the_end_and_refused_does_not_read_completed() {
    let f = touched("ends").await;
    let status = status(&f, "ends").await;
    assert!(
        matches!(&status, SagaStatus::Ended { how: Ending::Failed { reason } } if reason.contains("reserve")),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_timer_that_is_called_off_before_it_is_taken_in_does_nothing() {
    let f = touched("waits").await;
    operate(&f, "waits", SagaVerb::Pause).await.unwrap();
    f.advance(30).await;
    f.order("waits", OrderCommand::Touch).await;
    f.advance(60).await;
    operate(&f, "waits", SagaVerb::Resume).await.unwrap();
    let status = status(&f, "waits").await;
    assert!(matches!(status, SagaStatus::Waiting { .. }), "{status:?}");
    assert_eq!(f.stock().await.reserved.len(), 1, "nothing was undone");
}

#[tokio::test]
async fn a_paused_instance_past_its_deadline_can_be_given_more_time_or_none() {
    let day = Duration::from_secs(86_400);
    let key = || "pay-by".to_owned();
    let f = touched("waits").await;
    operate(&f, "waits", SagaVerb::Pause).await.unwrap();
    f.advance(3_600).await;
    let due = f.clock.now().plus(day);
    let moved = SagaVerb::MoveTimer { key: key(), due };
    operate(&f, "waits", moved).await.unwrap();
    operate(&f, "waits", SagaVerb::Resume).await.unwrap();
    let view = handle(&f)
        .get(&Tenant::default(), &id("waits"))
        .await
        .unwrap();
    assert_eq!(view.timers, [(key(), due)]);
    assert!(
        matches!(view.status, SagaStatus::Waiting { .. }),
        "{:?}",
        view.status
    );

    operate(&f, "waits", SagaVerb::Pause).await.unwrap();
    f.advance(2 * 86_400).await;
    let off = SagaVerb::CancelTimer { key: key() };
    operate(&f, "waits", off.clone()).await.unwrap();
    operate(&f, "waits", off).await.unwrap_err();
    operate(&f, "waits", SagaVerb::Resume).await.unwrap();
    let status = status(&f, "waits").await;
    assert!(!matches!(status, SagaStatus::Ended { .. }), "{status:?}");
}

#[tokio::test]
async fn a_wait_that_is_longer_than_time_is_a_wait() {
    let f = fixture_with(Clerk).await;
    f.gateway.inner.lock().script = Script::LosesReplies;
    f.order("never", OrderCommand::Touch).await;
    for _ in 0..3 {
        f.advance(3_600).await;
    }
    assert_eq!(f.gateway.inner.lock().calls, 1);
    f.gateway.inner.lock().script = Script::Honest;
    operate(&f, "never", SagaVerb::RetryNow).await.unwrap();
    assert_eq!(f.gateway.inner.lock().calls, 2);
}

#[tokio::test]
async fn m86_a_decision_that_the_log_refuses_for_good_quarantines_its_instance_alone() {
    let f = touched("long").await;
    for n in 0..20 {
        f.order(&format!("plain-{n}"), OrderCommand::Touch).await;
    }
    let status_of_long = status(&f, "long").await;
    let SagaStatus::Quarantined { reason } = &status_of_long else {
        panic!("{status_of_long:?}")
    };
    assert!(reason.contains("log"), "{reason}");
    for n in 0..20 {
        let status = status(&f, &format!("plain-{n}")).await;
        assert!(
            matches!(status, SagaStatus::Ended { .. }),
            "{n}: {status:?}"
        );
    }
    assert_eq!(f.charges("long"), (0, 0), "nothing of it was done");
}

#[tokio::test]
async fn the_end_of_a_saga_can_be_waited_for_before_it_begins_and_long_after() {
    let f = fixture_with(Clerk).await;
    let (tenant, plain) = (Tenant::default(), id("plain"));
    let mut ended = Box::pin(handle(&f).ended(&tenant, &plain));
    assert!(ended.as_mut().now_or_never().is_none());
    f.order("plain", OrderCommand::Touch).await;
    assert_eq!(ended.await.unwrap(), Ending::Completed);
    f.advance(3_600).await;
    assert_eq!(
        handle(&f).ended(&tenant, &plain).await.unwrap(),
        Ending::Completed
    );
}

#[tokio::test]
async fn a_verb_that_nobody_waits_for_any_more_is_carried_out_all_the_same() {
    let f = touched("waits").await;
    assert_eq!(f.stock().await.reserved.len(), 1);
    let (tenant, waits) = (Tenant::default(), id("waits"));
    let cancelled = handle(&f).cancel(&tenant, &waits, "not wanted", "ann");
    assert!(
        cancelled.now_or_never().is_none(),
        "it was asked, and is dropped"
    );
    settle().await;
    assert!(f.stock().await.reserved.is_empty(), "its undo was sent");

    let f = touched("waits").await;
    operate(&f, "waits", SagaVerb::Pause).await.unwrap();
    f.advance(3_600).await;
    let resumed = handle(&f).operate(&tenant, &waits, SagaVerb::Resume.by("ann", "looked"));
    assert!(resumed.now_or_never().is_none());
    settle().await;
    assert!(
        f.stock().await.reserved.is_empty(),
        "the deadline that waited was taken in"
    );
}

#[tokio::test]
async fn inputs_of_a_resumed_instance_are_taken_up_by_the_next_life_if_this_one_ends_first() {
    let f = touched("waits").await;
    operate(&f, "waits", SagaVerb::Pause).await.unwrap();
    f.advance(3_600).await;
    // Nobody carries anything out any more, and who asks goes away.
    f.sagas.stop().await;
    let (tenant, waits) = (Tenant::default(), id("waits"));
    let resumed = handle(&f).operate(&tenant, &waits, SagaVerb::Resume.by("ann", "looked"));
    assert!(resumed.now_or_never().is_none());
    settle().await;
    assert_eq!(f.stock().await.reserved.len(), 1);
    let f = next_life_with(f, Clerk).await;
    settle().await;
    assert!(
        f.stock().await.reserved.is_empty(),
        "the deadline that waited was taken in"
    );
}

#[test]
fn routes_that_name_an_aggregate_twice_do_not_start() {
    struct Twice;
    impl Saga for Twice {
        const NAME: &'static str = "twice";
        type State = ();
        type Event = Noted;
        fn routes(on: &mut Routes<Self>) {
            on.event::<Order>(|_, info| Route::start(&info.id));
            on.event::<Order>(|_, _| Route::ignore());
        }
        fn on(&self, (): &(), _: &Input, _: &SagaContext) -> Next<Self> {
            Next::stay()
        }
        fn evolve((): &mut (), _: &Noted) {}
    }
    let sagas = SagasBuilder::default().saga(Twice, StartFrom::Now);
    let problems = sagas.problems().join("\n");
    assert!(
        problems.contains("twice") && problems.contains("order"),
        "{problems}"
    );
}

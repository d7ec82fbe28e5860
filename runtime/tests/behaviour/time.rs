//! Waits while somebody sets the wall clock: each takes as long as it takes, and only dates move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{Tenant, Timestamp};
use chronicler_runtime::{
    Clock, Deadline, DispatchError, FiredTimer, RestartPolicy, RuntimeOptions, SendError,
    SendOptions, StopOptions, TimerHandler, TimerWait, WorkerError, WorkerSpec, timer_key,
};
use chronicler_store::{Append, EventLog, FactKind, MemoryStore, SideRecord};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::fixture::{Command, Counter, Fixture, fixture, id, settle, with};

const HOUR: Duration = Duration::from_secs(3_600);

fn set_back(f: &Fixture) {
    f.clock.set(f.clock.now().minus(HOUR));
}

fn set_forward(f: &Fixture) {
    f.clock.set(f.clock.now().plus(HOUR));
}

const STEPS: [fn(&Fixture); 2] = [set_back, set_forward];

pub(crate) async fn go_on(f: &Fixture, seconds: u64) {
    settle().await;
    f.clock.advance(Duration::from_secs(seconds));
    settle().await;
}

#[tokio::test]
async fn t1_a_sender_waits_as_long_as_it_said() {
    for set in STEPS {
        let f = fixture().await;
        let options = SendOptions {
            deadline: Deadline::Within(Duration::from_secs(5)),
            ..SendOptions::default()
        };
        f.store.faults().hold();
        let sent = f.spawn_with("a", Command::Add(1), options.clone());
        settle().await;
        set(&f);
        go_on(&f, 4).await;
        assert!(!sent.is_finished());
        go_on(&f, 2).await;
        assert!(sent.is_finished());
        let error = sent.await.unwrap().unwrap_err();
        assert!(matches!(
            error,
            SendError::Failed(DispatchError::DeadlineExceeded { .. })
        ));
        f.store.faults().release();
        // One that waits at its instance, and is taken when its time is not over by any means.
        f.clock.set(Timestamp::from_millis(1_704_067_200_000));
        let sent = f.spawn_with("b", Command::Add(1), options);
        set(&f);
        assert_eq!(sent.await.unwrap().unwrap().reply, 1);
    }
}

#[tokio::test]
async fn t1_a_stop_waits_as_long_as_it_said() {
    for set in STEPS {
        let f = fixture().await;
        f.store.faults().hold();
        let _sent = f.spawn("a", Command::Add(1));
        settle().await;
        let runtime = f.runtime.clone();
        #[expect(clippy::disallowed_methods, reason = "a test joins what it spawns")]
        let stopped = tokio::spawn(async move {
            let deadline = Duration::from_secs(30);
            runtime.stop(StopOptions { deadline }).await
        });
        settle().await;
        set(&f);
        go_on(&f, 29).await;
        assert!(!stopped.is_finished());
        go_on(&f, 2).await;
        f.store.faults().release();
        assert_eq!(stopped.await.unwrap().abandoned, 1);
    }
}

#[tokio::test]
async fn t2_a_dead_actor_and_a_failed_worker_come_back_after_their_backoff() {
    for set in STEPS {
        let f = fixture().await;
        f.send("a", Command::Add(1)).await.unwrap();
        let (tenant, lives) = (Tenant::default(), Arc::new(AtomicU32::new(0)));
        f.runtime
            .aggregate::<Counter>()
            .unwrap()
            .crash(&tenant, &id("a"));
        let counted = Arc::clone(&lives);
        let spec = WorkerSpec {
            name: "fails".to_owned(),
            restart: RestartPolicy {
                backoff_min: Duration::from_secs(3),
                ..RestartPolicy::default()
            },
        };
        let worker = f.runtime.workers().spawn(spec, move |context| {
            counted.store(context.life(), Ordering::SeqCst);
            async { Err(WorkerError("on purpose".to_owned())) }.boxed()
        });
        settle().await;
        set(&f);
        let sent = f.spawn("a", Command::Add(1));
        settle().await;
        assert!(!sent.is_finished());
        // Chance makes a wait shorter by up to half.
        go_on(&f, 1).await;
        assert_eq!(sent.await.unwrap().unwrap().reply, 2);
        assert_eq!(lives.load(Ordering::SeqCst), 1);
        go_on(&f, 3).await;
        assert_eq!(lives.load(Ordering::SeqCst), 2);
        worker.stop().await;
    }
}

#[tokio::test]
async fn t2_a_budget_of_restarts_counts_what_happened_in_its_time() {
    let mut options = RuntimeOptions::default();
    options.restart.budget = 2;
    let f = with(MemoryStore::new(), options).await;
    let (tenant, name) = (Tenant::default(), id("a"));
    let counters = f.runtime.aggregate::<Counter>().unwrap().clone();
    f.send("a", Command::Add(1)).await.unwrap();
    // Spread over minutes, each is the first, though the clock is set back by more in between.
    for _ in 0..6 {
        counters.crash(&tenant, &name);
        settle().await;
        set_back(&f);
        go_on(&f, 61).await;
        f.send("a", Command::Add(1)).await.unwrap();
    }
    // Within seconds they are too many, though the clock says that an hour lies between them.
    for _ in 0..3 {
        counters.crash(&tenant, &name);
        settle().await;
        set_forward(&f);
        go_on(&f, 6).await;
    }
    let error = f.send("a", Command::Add(1)).await.unwrap_err();
    assert!(
        matches!(error, SendError::Failed(DispatchError::Quarantined { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn t2_an_instance_is_idle_when_nobody_used_it_for_so_long() {
    for set in STEPS {
        let f = fixture().await;
        f.send("a", Command::Add(1)).await.unwrap();
        set(&f);
        go_on(&f, 80).await;
        set(&f);
        go_on(&f, 80).await;
        assert_eq!(f.live(), 1, "nobody used it for 160 s");
        for _ in 0..6 {
            go_on(&f, 80).await;
        }
        assert_eq!(f.live(), 0);
    }
}

/// Counts what it fires, and removes it.
pub(crate) struct Alarm {
    store: MemoryStore,
    pub(crate) fired: AtomicU32,
}

impl TimerHandler for Alarm {
    fn fire(&self, timer: FiredTimer) -> BoxFuture<'static, Result<(), String>> {
        self.fired.fetch_add(1, Ordering::SeqCst);
        let (store, append) = (self.store.clone(), armed(timer.key, None));
        async move {
            let removed = store.append(append).await;
            removed.map(|_| ()).map_err(|error| error.to_string())
        }
        .boxed()
    }
}

pub(crate) fn armed(key: Bytes, value: Option<Bytes>) -> Append {
    let kind = FactKind::TIMER;
    let record = SideRecord::Fact { kind, key, value };
    Append::new(uuid::Uuid::from_u128(one_more()), Timestamp::EPOCH).record(record)
}

/// A number that was not there before.
fn one_more() -> u128 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn alarm(f: &Fixture) -> Arc<Alarm> {
    alarm_of(f, "test")
}

pub(crate) fn alarm_of(f: &Fixture, owner: &str) -> Arc<Alarm> {
    let alarm = Arc::new(Alarm {
        store: f.store.clone(),
        fired: AtomicU32::new(0),
    });
    f.runtime
        .timers()
        .handle(owner, Arc::clone(&alarm) as Arc<dyn TimerHandler>);
    alarm
}

async fn arm(f: &Fixture, name: &str, seconds: u64, wait: TimerWait) {
    f.runtime.timers().compare_clocks();
    let due = f.clock.now().plus(Duration::from_secs(seconds));
    let key = timer_key(due, "test", name.as_bytes());
    f.store
        .append(armed(key, Some(wait.value())))
        .await
        .unwrap();
    f.runtime.timers().notice(due);
    settle().await;
}

#[tokio::test]
async fn t3_a_timer_for_a_while_takes_that_long_as_long_as_the_process_lives() {
    let f = fixture().await;
    let alarm = alarm(&f);
    let fired = || alarm.fired.load(Ordering::SeqCst);
    // Each armed by another clock: as it was, an hour behind, right again, an hour ahead.
    arm(&f, "a", 60, TimerWait::Duration).await;
    set_back(&f);
    arm(&f, "b", 50, TimerWait::Duration).await;
    set_forward(&f);
    arm(&f, "c", 40, TimerWait::Duration).await;
    set_forward(&f);
    arm(&f, "d", 30, TimerWait::Duration).await;
    go_on(&f, 29).await;
    assert_eq!(fired(), 0);
    for n in 1..=4 {
        go_on(&f, 1).await;
        assert_eq!(fired(), n);
        go_on(&f, 9).await;
        assert_eq!(fired(), n);
        set_back(&f);
        settle().await;
    }
}

#[tokio::test]
async fn t3_a_timer_for_a_date_fires_when_the_wall_clock_shows_it() {
    let f = fixture().await;
    let alarm = alarm(&f);
    let fired = || alarm.fired.load(Ordering::SeqCst);
    arm(&f, "a", 60, TimerWait::Date).await;
    set_back(&f);
    go_on(&f, 61).await;
    assert_eq!(fired(), 0);
    set_forward(&f);
    settle().await;
    assert_eq!(fired(), 1);
}

#[tokio::test]
async fn t3_over_a_restart_a_timer_goes_by_its_date() {
    for (set, fires) in [(set_back as fn(&Fixture), 0), (set_forward, 1)] {
        let f = fixture().await;
        arm(&f, "a", 60, TimerWait::Duration).await;
        set(&f);
        let again = with(f.store.clone(), RuntimeOptions::default()).await;
        again.clock.set(f.clock.now());
        let alarm = alarm(&again);
        settle().await;
        assert_eq!(alarm.fired.load(Ordering::SeqCst), fires);
        go_on(&again, 3_661).await;
        assert_eq!(alarm.fired.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn e4_timers_that_are_due_at_once_are_read_a_few_times_each() {
    let f = fixture().await;
    let due = f.clock.now().plus(Duration::from_secs(60));
    for n in 0..3_000_u32 {
        let key = timer_key(due, "test", &n.to_be_bytes());
        let value = Some(TimerWait::Duration.value());
        f.store.append(armed(key, value)).await.unwrap();
    }
    let alarm = alarm(&f);
    settle().await;
    let before = f.store.faults().facts_read();
    go_on(&f, 61).await;
    while alarm.fired.load(Ordering::SeqCst) < 3_000 {
        settle().await;
    }
    settle().await;
    assert_eq!(alarm.fired.load(Ordering::SeqCst), 3_000);
    let read = f.store.faults().facts_read() - before;
    assert!(read < 4 * 3_000, "{read} facts were read for 3,000 timers");
}

#[tokio::test]
async fn e4_a_timer_that_is_armed_for_later_than_the_next_one_costs_no_look() {
    let f = fixture().await;
    let _alarm = alarm(&f);
    arm(&f, "first", 60, TimerWait::Duration).await;
    let before = f.store.faults().facts_read();
    for n in 0..200 {
        arm(&f, &format!("t{n}"), 61 + n, TimerWait::Duration).await;
    }
    assert_eq!(f.store.faults().facts_read() - before, 0);
    // One that is armed for earlier does, and what lies behind it is not read for that.
    arm(&f, "sooner", 30, TimerWait::Duration).await;
    let read = f.store.faults().facts_read() - before;
    assert!(
        (1..=16).contains(&read),
        "{read} facts were read for one timer"
    );
}

#[tokio::test]
async fn e4_a_timer_that_was_disarmed_while_it_waited_for_a_place_does_not_fire() {
    /// Holds every place, and counts.
    struct Slow(Arc<AtomicU32>, Arc<tokio::sync::Semaphore>, MemoryStore);
    impl TimerHandler for Slow {
        fn fire(&self, timer: FiredTimer) -> BoxFuture<'static, Result<(), String>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let (places, store) = (Arc::clone(&self.1), self.2.clone());
            async move {
                drop(places.acquire().await);
                let removed = store.append(armed(timer.key, None)).await;
                removed.map(|_| ()).map_err(|error| error.to_string())
            }
            .boxed()
        }
    }
    let f = fixture().await;
    let due = f.clock.now().plus(Duration::from_secs(60));
    let key = |n: u32| timer_key(due, "test", &n.to_be_bytes());
    for n in 0..300 {
        let value = Some(TimerWait::Duration.value());
        f.store.append(armed(key(n), value)).await.unwrap();
    }
    let fired = Arc::new(AtomicU32::new(0));
    let places = Arc::new(tokio::sync::Semaphore::new(0));
    let slow = Slow(Arc::clone(&fired), Arc::clone(&places), f.store.clone());
    f.runtime.timers().handle("test", Arc::new(slow));
    go_on(&f, 61).await;
    assert_eq!(fired.load(Ordering::SeqCst), 256);
    for n in 256..300 {
        f.store.append(armed(key(n), None)).await.unwrap();
    }
    places.add_permits(1_000);
    go_on(&f, 1).await;
    assert_eq!(fired.load(Ordering::SeqCst), 256);
}

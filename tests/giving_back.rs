//! An application gives back what it has, however it ends: dropped with or without commands under way, or stopped behind
//! what does not end by itself.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and non-exhaustive options are set one by one"
)]

use std::fs;
use std::future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use chronicler::prelude::*;
use chronicler::runtime::{Clock, FiredTimer, RestartPolicy, TimerHandler, WorkerSpec, timer_key};
use chronicler::sagas::{OpenStatus, SagaOptions};
use chronicler::store::{Append, FactKind, SideRecord, SledOptions, SledStore};
use chronicler_testkit::ManualClock;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How often what hangs on a moment is tried.
const ROUNDS: u64 = 8;
/// Senders at work while the application is dropped.
const SENDERS: u64 = 16;
/// What a condition may take that always comes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Default, Serialize, Deserialize)]
struct Counter(u64);

#[derive(Serialize, Deserialize)]
struct Count;

#[derive(Clone, Serialize, Deserialize)]
struct Counted;

impl Event for Counted {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Count;
    type Event = Counted;
    type Reply = u64;
    type Rejection = Never;

    fn decide(&self, _: Count, _: &Context) -> Decided<Self> {
        Ok(Decision::event(Counted).reply(self.0 + 1))
    }

    fn evolve(&mut self, _: &Counted) {
        self.0 += 1;
    }
}

#[derive(Clone, Default)]
struct Total(u64);

impl Projection for Total {
    const NAME: &'static str = "total";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Counter>(|total, _, _| total.0 += 1);
    }
}

/// Waits for a timer, then for a service.
struct Waiting;

#[derive(Serialize, Deserialize)]
struct Noted;

impl Event for Noted {}

impl Saga for Waiting {
    const NAME: &'static str = "waiting";
    type State = ();
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Counter>(|_, info| Route::start(info.id.clone()));
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => Next::stay().timer_at("due", DUE),
            Input::Timer(_) => Next::stay().call("call", "nobody", &1_u8),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Noted) {}
}

const DUE: Timestamp = Timestamp::from_millis(1_000_000);

/// A service that never answers.
struct Nobody;

impl ExternalService for Nobody {
    fn call(&self, _: Uuid, _: Vec<u8>) -> BoxFuture<'static, CallResult> {
        future::pending().boxed()
    }
}

fn with_everything(builder: chronicler::AppBuilder) -> chronicler::AppBuilder {
    builder
        .aggregate::<Counter>()
        .projection(Total::default())
        .saga(Waiting)
        .service("nobody", Nobody)
}

#[test]
fn l6_a_dropped_application_gives_its_directory_its_threads_and_its_socket_back() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let tokio = runtime();
        tokio.block_on(async {
            let app = with_everything(App::open(folder.path()))
                .start()
                .await
                .unwrap();
            assert_eq!(app.open_report().unwrap().index_set_aside, None);
            let reply = app.send::<Counter>("one", Count).await.unwrap().reply;
            assert_eq!(reply, round + 1);
            assert!(folder.path().join("operator.sock").exists());
            drop(app);
            if round % 2 == 0 {
                // At once, beside what is left of the one before.
                let app = with_everything(App::open(folder.path()))
                    .start()
                    .await
                    .unwrap();
                let state = app.state::<Counter>("one").await.unwrap().state;
                assert_eq!(state.0, round + 1);
                drop(app);
            }
        });
        drop(tokio);
    }
    nothing_is_left(folder.path());
}

#[test]
fn l6_a_start_that_is_dropped_or_panics_gives_back_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let tokio = runtime();
    tokio.block_on(async {
        let app = with_everything(App::open(folder.path())).start().await;
        app.unwrap().send::<Counter>("one", Count).await.unwrap();
        // Given up where it waits for the first time, for the second time, and so on, until it waits no more.
        for polls in 1.. {
            let mut start = pin!(with_everything(App::open(folder.path())).start());
            let mut left = polls;
            let started = future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                start.as_mut().poll(context).map(Some)
            });
            match started.await {
                // Opened a moment ago, and being closed still: that is no place of its own.
                Some(Err(chronicler::StartError::Open(chronicler::store::OpenError::Locked {
                    ..
                }))) => {}
                Some(app) => {
                    drop(app.unwrap());
                    break;
                }
                None => {}
            }
        }
        let panics = with_everything(App::open(folder.path()))
            .on_progress(|_| panic!("the listener panics"))
            .start();
        let panicked = std::panic::AssertUnwindSafe(panics).catch_unwind().await;
        assert!(panicked.is_err());
        let app = with_everything(App::open(folder.path())).start().await;
        let reply = app.unwrap().send::<Counter>("one", Count).await.unwrap();
        assert_eq!(reply.reply, 2);
    });
    drop(tokio);
    nothing_is_left(folder.path());
}

#[test]
fn l6_an_application_dropped_with_commands_under_way_loses_nothing_that_it_answered() {
    for in_sled in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let open = || match in_sled {
            false => App::open(folder.path()),
            true => {
                let store = SledStore::open(folder.path(), SledOptions::default()).unwrap();
                App::over(Arc::new(store))
            }
        };
        let tokio = runtime();
        for round in 1..=ROUNDS {
            tokio.block_on(async {
                let app = with_everything(open()).start().await.unwrap();
                let counter = app.runtime().aggregate::<Counter>().unwrap().clone();
                let mut senders = JoinSet::new();
                for _ in 0..SENDERS {
                    let (counter, answered) = (counter.clone(), answered.clone());
                    senders.spawn(async move {
                        let (tenant, id) = (Tenant::default(), "one".try_into().unwrap());
                        let send = || counter.send(&tenant, &id, Count, Default::default());
                        while send().await.is_ok() {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                let so_far = answered.load(Ordering::Relaxed);
                until(|| answered.load(Ordering::Relaxed) > so_far + 10 * round).await;
                drop(app);
                // Each of them is told.
                while let Some(ended) = senders.join_next().await {
                    ended.unwrap();
                }
            });
        }
        tokio.block_on(async {
            let app = with_everything(open()).start().await.unwrap();
            let counted = app.state::<Counter>("one").await.unwrap().state.0;
            assert!(counted >= answered.load(Ordering::Relaxed));
            app.stop().await;
        });
        drop(tokio);
        nothing_is_left(folder.path());
    }
}

#[test]
fn l6_an_application_that_goes_with_its_tokio_runtime_gives_its_directory_back() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..ROUNDS {
        let tokio = runtime();
        let app = tokio.block_on(async {
            let app = with_everything(App::open(folder.path()))
                .start()
                .await
                .unwrap();
            app.send::<Counter>("one", Count).await.unwrap();
            app
        });
        drop(tokio);
        drop(app);
        drop(chronicler::store::JournalStore::open(folder.path(), Default::default()).unwrap());
    }
    nothing_is_left(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_stop_ends_behind_a_full_queue_and_what_is_committed_is_taken_up_again() {
    const INSTANCES: usize = 200;
    let clock = ManualClock::new(Timestamp::from_millis(1_000));
    let store = Arc::new(chronicler::store::MemoryStore::new());
    let mut options = SagaOptions::default();
    (options.under_way_max, options.deliveries_max) = (2, 2);
    options.call_timeout = Duration::from_secs(1_000_000);
    let start = || {
        with_everything(App::over(store.clone()))
            .clock(Arc::new(clock.clone()))
            .saga_options(options)
            .start()
    };
    let app = start().await.unwrap();
    let sends = (0..INSTANCES).map(|number| app.send::<Counter>(format!("c{number}"), Count));
    futures::future::try_join_all(sends).await.unwrap();
    let saga = app.saga::<Waiting>().unwrap();
    let mut open = 0;
    while open < INSTANCES {
        open = saga.open().await.unwrap().len();
        tokio::task::yield_now().await;
    }
    clock.advance(DUE.since(clock.now()));
    // Two calls, two in the queue, and the handlers of the others wait for it.
    until(|| app.sagas().under_way() > 4).await;
    let report = tokio::time::timeout(PATIENCE, app.stop()).await.unwrap();
    assert!(report.effects_left > 4, "{report:?}");
    assert_eq!((report.workers_abandoned, report.closed), (0, true));
    let again = start().await.unwrap();
    until(|| again.sagas().under_way() > 4).await;
    let saga = again.saga::<Waiting>().unwrap();
    let begun = Instant::now();
    // Nothing that was committed was lost: in the end none waits for its timer any more.
    loop {
        let open = saga.open().await.unwrap();
        assert_eq!(open.len(), INSTANCES);
        if open.iter().all(|one| one.status == OpenStatus::Running) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{open:?}");
        tokio::task::yield_now().await;
    }
    let report = tokio::time::timeout(PATIENCE, again.stop()).await.unwrap();
    assert_eq!(report.workers_abandoned, 0);
}

/// A timer's handler that never ends.
struct Stuck(Arc<Mutex<bool>>);

impl TimerHandler for Stuck {
    fn fire(&self, _: FiredTimer) -> BoxFuture<'static, Result<(), String>> {
        *self.0.lock() = true;
        future::pending().boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_stop_ends_in_its_time_whatever_does_not_and_says_what_that_was() {
    let clock = ManualClock::new(Timestamp::from_millis(1_000));
    let app = App::in_memory()
        .clock(Arc::new(clock.clone()))
        .aggregate::<Counter>();
    let app = app.start().await.unwrap();
    let begun = Arc::new(Mutex::new(false));
    app.runtime()
        .timers()
        .handle("stuck", Arc::new(Stuck(begun.clone())));
    let due = clock.now();
    let append = Append::new(Uuid::from_u128(1), due).record(SideRecord::Fact {
        kind: FactKind::TIMER,
        key: timer_key(due, "stuck", b"one"),
        value: Some(bytes::Bytes::new()),
    });
    app.store().append(append).await.unwrap();
    app.runtime().timers().notice(due);
    until(|| *begun.lock()).await;
    let spec = WorkerSpec {
        name: "stuck".to_owned(),
        restart: RestartPolicy::default(),
    };
    app.runtime()
        .workers()
        .spawn(spec, |_| future::pending().boxed());
    let mut stopping = pin!(app.stop());
    let begun = clock.now();
    let report = loop {
        if let Poll::Ready(report) = futures::poll!(stopping.as_mut()) {
            break report;
        }
        let waited = clock.now().since(begun);
        assert!(
            waited < Duration::from_secs(120),
            "its documented time is over"
        );
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    };
    assert_eq!((report.workers_abandoned, report.closed), (2, true));
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        tokio::task::yield_now().await;
    }
}

/// Nobody has a file of the directory open any more, and no socket is left in it.
fn nothing_is_left(data: &Path) {
    let is_in = |path: &Path| path.starts_with(data);
    let begun = Instant::now();
    loop {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let open: Vec<_> = open
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|path| is_in(path))
            .collect();
        let socket = data.join("operator.sock").exists();
        if open.is_empty() && !socket {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "still open: {open:?}, socket {socket}"
        );
        std::thread::yield_now();
    }
}

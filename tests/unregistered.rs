//! What a log holds that nothing registered answers for: told at the start, in the status and in lists, and ended without
//! its code.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Once};

use chronicler::UnregisteredKind;
use chronicler::operator::{OperatorRequest, OperatorVerb, SagaDetail, SagaLine, Status};
use chronicler::prelude::*;
use chronicler::projections::{AfterRetries, FailurePolicy, ProjectionOptions};
use chronicler::sagas::SagaVerb;
use chronicler::store::MemoryStore;
use serde::{Deserialize, Serialize};

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

/// Waits for a timer that is due in a thousand years.
struct Waiting;

#[derive(Serialize, Deserialize)]
struct Noted;

impl Event for Noted {}

impl Saga for Waiting {
    const NAME: &'static str = "waiting";
    type State = u32;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Counter>(|_, info| Route::start(info.id.clone()));
    }

    fn on(&self, _: &u32, _: &Input, _: &SagaContext) -> Next<Self> {
        let due = Timestamp::from_millis(32_000_000_000_000);
        Next::stay().record(Noted).timer_at("due", due)
    }

    fn evolve(noted: &mut u32, _: &Noted) {
        *noted += 1;
    }
}

/// A store with two open sagas, and what was said when it was opened without their type.
async fn left_behind(store: &Arc<MemoryStore>) -> App {
    let app = App::over(store.clone())
        .aggregate::<Counter>()
        .saga(Waiting);
    let app = app.start().await.unwrap();
    for id in ["one", "two"] {
        app.send::<Counter>(id, Count).await.unwrap();
    }
    app.settled().await;
    assert_eq!(app.unregistered().await.unwrap(), []);
    app.stop().await;
    App::over(store.clone()).start().await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn l8_what_nothing_registered_answers_for_is_told_with_names_and_counts() {
    listen();
    let store = Arc::new(MemoryStore::new());
    let app = left_behind(&store).await;
    let said = SAID.with_borrow(|said| String::from_utf8(said.clone()).unwrap());
    let warned: Vec<_> = said
        .lines()
        .filter(|line| line.contains("saga:waiting"))
        .collect();
    assert_eq!(warned.len(), 1, "{said}");
    assert!(
        warned[0].contains("saga:waiting: open sagas in number 2"),
        "{said}"
    );

    let found = app.unregistered().await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.what, one.name.as_str(), one.count))
        .collect();
    let sagas = (UnregisteredKind::OpenSagas, "saga:waiting", 2);
    let timers = (UnregisteredKind::Timers, "saga:waiting", 2);
    assert_eq!(found, [sagas, timers]);
    let status = app.operate(&asked(OperatorVerb::Status)).await.unwrap();
    let status: Status = serde_json::from_value(status).unwrap();
    assert_eq!(status.unregistered, app.unregistered().await.unwrap());
    let lines = app.operate(&asked(OperatorVerb::Sagas)).await.unwrap();
    let lines: Vec<SagaLine> = serde_json::from_value(lines).unwrap();
    assert!(lines.len() == 2 && lines.iter().all(|line| !line.registered));
    app.stop().await;
}

/// Can take nothing.
#[derive(Clone, Default)]
struct Refuses;

impl Projection for Refuses {
    const NAME: &'static str = "refuses";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Counter>(|_, _, _| Err("it takes nothing".into()));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn l8_what_a_registered_projection_parked_is_its_own() {
    let failure = FailurePolicy::new(AfterRetries::Park).retries(0);
    let options = ProjectionOptions::new().failure(failure);
    let store = Arc::new(MemoryStore::new());
    let app = App::over(store.clone()).aggregate::<Counter>();
    let app = app.projection_with(Refuses, options).start().await.unwrap();
    let receipt = app.send::<Counter>("one", Count).await.unwrap();
    app.view::<Refuses>()
        .at_least(receipt.position)
        .await
        .unwrap();
    assert_eq!(app.projections().parked("refuses").await.unwrap().len(), 1);
    assert_eq!(app.unregistered().await.unwrap(), []);
    app.stop().await;
    // Without it they are, by its name.
    let app = App::over(store)
        .aggregate::<Counter>()
        .start()
        .await
        .unwrap();
    let found = app.unregistered().await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.what, one.name.as_str()))
        .collect();
    assert_eq!(found, [(UnregisteredKind::Parked, "refuses")]);
    app.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn l9_a_saga_of_a_type_that_nothing_defines_is_shown_and_ended_and_known_to_be_when_it_is() {
    listen();
    let store = Arc::new(MemoryStore::new());
    let app = left_behind(&store).await;
    let stream = "saga:waiting/one".to_owned();
    let show = asked(OperatorVerb::Saga {
        stream: stream.clone(),
    });
    let shown: SagaDetail = serde_json::from_value(app.operate(&show).await.unwrap()).unwrap();
    assert_eq!((shown.status.as_str(), shown.timers.len()), ("waiting", 1));
    let change = |change| {
        let stream = stream.clone();
        asked(OperatorVerb::ChangeSaga { stream, change })
    };
    // What its code would have to answer is not done.
    let refused = app.operate(&change(SagaVerb::Cancel)).await.unwrap_err();
    assert!(refused.to_string().contains("terminated"), "{refused}");
    for _ in 0..2 {
        let done = app.operate(&change(SagaVerb::Terminate)).await.unwrap();
        assert_eq!(done["status"], "terminated");
    }
    let left: Vec<_> = app.unregistered().await.unwrap();
    let left: Vec<_> = left.iter().map(|one| (one.what, one.count)).collect();
    // With its timers.
    assert_eq!(
        left,
        [
            (UnregisteredKind::OpenSagas, 1),
            (UnregisteredKind::Timers, 1)
        ]
    );
    app.stop().await;
    let app = App::over(store).aggregate::<Counter>().saga(Waiting);
    let app = app.start().await.unwrap();
    let waiting = app.saga::<Waiting>().unwrap();
    let ended = waiting
        .get(&Tenant::default(), &"one".try_into().unwrap())
        .await
        .unwrap();
    assert_eq!((ended.status.word(), ended.state), ("ended", 1));
    assert_eq!(waiting.open().await.unwrap().len(), 1);
    app.stop().await;
}

fn asked(verb: OperatorVerb) -> OperatorRequest {
    OperatorRequest {
        verb,
        by: "ann".to_owned(),
        why: "its type was taken out".to_owned(),
    }
}

thread_local! {
    /// What was logged on this thread: each test has one of its own.
    static SAID: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Has warnings kept. For the whole process, and before anything is logged: a place that logs for the first time while
/// another thread sets its own subscriber may be taken for one that nobody listens to.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(|| Said)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

struct Said;

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SAID.with_borrow_mut(|said| said.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

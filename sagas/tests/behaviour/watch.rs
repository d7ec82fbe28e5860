//! A saga that remembers what it is told, and a bell that tells it.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{Aggregate, Context, Decided, Event, GlobalPosition, Tenant};
use chronicler_runtime::{Clock, ManualClock, Runtime, RuntimeBuilder, SendOptions, StopOptions};
use chronicler_sagas::{
    CallResult, ExternalService, Input, Next, Route, Routes, Saga, SagaContext, SagaStatus,
    SagaView, Sagas, SagasBuilder, StartFrom,
};
use chronicler_store::codec::{CodecId, decode};
use chronicler_store::{
    Append, Direction, EventLog, FactEntry, FactKind, FactQuery, Filter, MemoryStore,
    RecordedEvent, SideRecord, read_all_events,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fixture::{id, settle};

/// A bell rings for instances: `+a` starts the instance `a`, `a` goes on with it, and `*a` does either.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bell;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ring {
    Rang { to: Vec<String>, what: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("a bell refuses nothing")]
pub(crate) struct Mute;

impl Event for Ring {}

impl Aggregate for Bell {
    const CATEGORY: &'static str = "bell";
    type Command = Ring;
    type Event = Ring;
    type Reply = ();
    type Rejection = Mute;

    fn decide(&self, ring: Ring, _: &Context) -> Decided<Self> {
        Ok(ring.into())
    }

    fn evolve(&mut self, _: &Ring) {}
}

/// What all have to be heard, in any order, before it tells the bell `ready`.
pub(crate) const PARTS: [&str; 4] = ["packed", "paid", "picked", "weighed"];

/// Remembers what it hears, and does what it is told.
#[derive(Default)]
pub(crate) struct Watch {
    /// A later release, which knows none of the timers.
    pub(crate) forgetful: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Did {
    Heard(String),
}

impl Event for Did {}

impl Saga for Watch {
    const NAME: &'static str = "watch";
    type State = Vec<String>;
    type Event = Did;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Bell>(|Ring::Rang { to, .. }, _| {
            Route::each(to.iter().map(|name| {
                match (name.strip_prefix('+'), name.strip_prefix('*')) {
                    (Some(id), _) => Route::start(id),
                    (_, Some(id)) => Route::start_or_resume(id),
                    _ => Route::resume(name),
                }
            }))
        });
    }

    fn on(&self, heard: &Vec<String>, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let hear = |what: &str| Next::stay().record(Did::Heard(what.to_owned()));
        if let Some(Ring::Rang { what, .. }) = input.event::<Bell>() {
            let next = hear(what);
            let is_last = |part: &str| {
                let mut others = PARTS.iter().filter(|other| **other != part);
                PARTS.contains(&part) && others.all(|other| heard.iter().any(|what| what == other))
            };
            let tell = |next: Next<Self>| {
                let (to, what) = (Vec::new(), format!("all of {}", ctx.id));
                next.send::<Bell>("ready", "ready", Ring::Rang { to, what })
            };
            return match what.as_str() {
                "wait" => next.timer("minute", MINUTE).timer("hour", HOUR),
                "came" => next.cancel_timer("minute"),
                "pay" => next
                    .timer("patience", PATIENCE)
                    .call("pay", "till", &"pay")
                    .undo_call("till", &"give back", &"look up and give back"),
                "complete" => next.complete(),
                "tell and complete" => tell(next).complete(),
                "compensate" => next.compensate("told to"),
                "fail" => next.fail("told to"),
                part if is_last(part) => tell(next),
                _ => next,
            };
        }
        match input {
            Input::Timer(_) if self.forgetful => Next::stay(),
            Input::Timer(key) if key == "patience" => hear("time-out").compensate("time-out"),
            Input::Timer(key) => hear(&format!("time-out {key}")),
            Input::Answer(_) => Next::stay().complete(),
            _ => Next::stay(),
        }
    }

    fn evolve(heard: &mut Vec<String>, Did::Heard(what): &Did) {
        heard.push(what.clone());
    }
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// How long a payment may take. Shorter than a call may take at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Does what it is asked after a while, and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Till {
    clock: ManualClock,
    takes: Duration,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl ExternalService for Till {
    fn call(&self, _: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let asked = decode(CodecId::BINCODE, &request).unwrap();
        self.asked.lock().push(asked);
        let done = self.clock.sleep_until(self.clock.now().plus(self.takes));
        done.map(|()| CallResult::done(&())).boxed()
    }
}

pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) clock: ManualClock,
    pub(crate) till: Till,
    pub(crate) runtime: Runtime,
    pub(crate) sagas: Sagas,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(MemoryStore::new(), ManualClock::default(), Watch::default()).await
    }

    pub(crate) async fn of(store: MemoryStore, clock: ManualClock, watch: Watch) -> Self {
        Self::with(store, clock, watch, Duration::ZERO).await
    }

    pub(crate) async fn with(
        store: MemoryStore,
        clock: ManualClock,
        watch: Watch,
        takes: Duration,
    ) -> Self {
        let till = Till {
            clock: clock.clone(),
            takes,
            asked: Arc::default(),
        };
        let sagas = SagasBuilder::default()
            .saga(watch, StartFrom::Origin)
            .service("till", Arc::new(till.clone()));
        assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
        let builder = RuntimeBuilder::new(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .aggregate::<Bell>();
        let runtime = sagas.register(builder).build().await.unwrap();
        let sagas = sagas.start(&runtime).await.unwrap();
        settle().await;
        Self {
            store,
            clock,
            till,
            runtime,
            sagas,
        }
    }

    pub(crate) async fn stop(self) -> (MemoryStore, ManualClock) {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
        (self.store, self.clock)
    }

    /// Rings without waiting for what comes of it.
    pub(crate) async fn touch(&self, bell: &str, to: &[&str], what: &str) {
        let to = to.iter().map(|name| (*name).to_owned()).collect();
        let ring = Ring::Rang {
            to,
            what: what.to_owned(),
        };
        let (tenant, options) = (Tenant::default(), SendOptions::default());
        let rung = self
            .runtime
            .send::<Bell>(&tenant, &id(bell), ring, options)
            .await;
        // A dead store says so.
        drop(rung);
    }

    pub(crate) async fn ring(&self, to: &[&str], what: &str) {
        self.touch("bell", to, what).await;
        settle().await;
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        settle().await;
    }

    pub(crate) async fn view(&self, name: &str) -> SagaView<Watch> {
        let handle = self.sagas.saga::<Watch>().unwrap();
        handle.get(&Tenant::default(), &id(name)).await.unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> SagaStatus {
        self.view(name).await.status
    }

    pub(crate) async fn heard(&self, name: &str) -> Vec<String> {
        self.view(name).await.state
    }

    /// The names of what was journaled about an instance.
    pub(crate) async fn journal(&self, name: &str) -> Vec<String> {
        let handle = self.sagas.saga::<Watch>().unwrap();
        let history = handle.history(&Tenant::default(), &id(name)).await.unwrap();
        history.into_iter().map(|line| line.event_type).collect()
    }

    pub(crate) async fn facts(&self, kind: FactKind) -> Vec<FactEntry> {
        self.store.facts(FactQuery::all(kind)).await.unwrap()
    }

    /// These time-outs come due, whether anybody still waits for them or not: as when they were on their way while
    /// the instance took something else in.
    pub(crate) async fn time_out(&self, armed: Vec<FactEntry>) {
        for fact in armed {
            let record = SideRecord::Fact {
                kind: FactKind::TIMER,
                key: fact.key,
                value: Some(fact.value),
            };
            let append = Append::new(self.runtime.new_id(), self.clock.now()).record(record);
            self.store.append(append).await.unwrap();
        }
        self.runtime.timers().notice(self.clock.now());
        settle().await;
    }
}

/// The events of a category in a store, in order.
pub(crate) async fn events(store: &MemoryStore, category: &str) -> Vec<RecordedEvent> {
    let filter = Filter {
        categories: vec![category.to_owned()],
        ..Filter::default()
    };
    let (first, last) = (GlobalPosition::new(1), GlobalPosition::MAX);
    let found = read_all_events(store, first, last, filter, usize::MAX, Direction::Forward);
    found.await.unwrap()
}

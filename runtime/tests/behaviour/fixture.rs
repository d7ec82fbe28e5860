//! A counter, hosted over a store in memory and a clock that is turned by hand.

use std::sync::Arc;

use chronicler_domain::{
    Aggregate, AggregateId, CommandId, Context, Decided, Decision, Event, StreamId, Tenant,
};
use chronicler_runtime::{
    ManualClock, Runtime, RuntimeBuilder, RuntimeOptions, SendError, SendOptions,
};
use chronicler_store::{EventLog, MemoryStore, StreamQuery};
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) total: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    Add(i64),
    AddTwice(i64),
    Nothing,
    PanicInDecide,
    PanicInEvolve,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Happened {
    Added(i64),
    Exploded,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("the total would be {0}")]
pub(crate) struct Negative(pub(crate) i64);

impl Event for Happened {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Command;
    type Event = Happened;
    type Reply = i64;
    type Rejection = Negative;

    fn decide(&self, command: Command, _: &Context) -> Decided<Self> {
        let add = |amount: i64| {
            let total = self.total + amount;
            if total < 0 {
                Err(Negative(total))
            } else {
                Ok(total)
            }
        };
        match command {
            Command::Add(amount) => {
                Ok(Decision::event(Happened::Added(amount)).reply(add(amount)?))
            }
            Command::AddTwice(amount) => {
                let events = [Happened::Added(amount), Happened::Added(amount)];
                Ok(Decision::events(events).reply(add(2 * amount)?))
            }
            Command::Nothing => Ok(Decision::nothing().reply(self.total)),
            Command::PanicInDecide => panic!("decide broke"),
            Command::PanicInEvolve => Ok(Decision::event(Happened::Exploded).reply(0)),
        }
    }

    fn evolve(&mut self, event: &Happened) {
        match event {
            Happened::Added(amount) => self.total += amount,
            Happened::Exploded => panic!("evolve broke"),
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) store: MemoryStore,
    pub(crate) clock: ManualClock,
    pub(crate) runtime: Runtime,
}

pub(crate) async fn fixture() -> Fixture {
    with(MemoryStore::new(), RuntimeOptions::default()).await
}

pub(crate) async fn with(store: MemoryStore, options: RuntimeOptions) -> Fixture {
    let clock = ManualClock::default();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .options(options)
        .aggregate::<Counter>()
        .build()
        .await
        .expect("it builds");
    Fixture {
        store,
        clock,
        runtime,
    }
}

pub(crate) fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::of("counter", name).unwrap()
}

pub(crate) type Sent = Result<chronicler_runtime::Receipt<i64>, SendError<Negative>>;

impl Fixture {
    pub(crate) async fn send(&self, name: &str, command: Command) -> Sent {
        self.send_with(name, command, SendOptions::default()).await
    }

    pub(crate) async fn send_with(
        &self,
        name: &str,
        command: Command,
        options: SendOptions,
    ) -> Sent {
        self.runtime
            .send::<Counter>(&Tenant::default(), &id(name), command, options)
            .await
    }

    /// Sends without waiting for the answer; the command has reached its instance's queue.
    pub(crate) fn spawn(&self, name: &str, command: Command) -> tokio::task::JoinHandle<Sent> {
        self.spawn_with(name, command, SendOptions::default())
    }

    pub(crate) fn spawn_with(
        &self,
        name: &str,
        command: Command,
        options: SendOptions,
    ) -> tokio::task::JoinHandle<Sent> {
        let (runtime, id) = (self.runtime.clone(), id(name));
        #[expect(clippy::disallowed_methods, reason = "a test joins what it spawns")]
        tokio::spawn(async move {
            runtime
                .send::<Counter>(&Tenant::default(), &id, command, options)
                .await
        })
    }

    pub(crate) async fn total(&self, name: &str) -> i64 {
        let state = self
            .runtime
            .state::<Counter>(&Tenant::default(), &id(name))
            .await;
        state.unwrap().state.total
    }

    pub(crate) fn live(&self) -> usize {
        self.runtime.aggregate::<Counter>().unwrap().live()
    }

    pub(crate) fn versions(&self, name: &str) -> Vec<u64> {
        let query = StreamQuery {
            eventless: true,
            ..StreamQuery::new(stream(name))
        };
        let batches: Vec<_> = self
            .store
            .read_stream(query)
            .collect()
            .now_or_never()
            .expect("memory is ready");
        let commits = batches.into_iter().flat_map(Result::unwrap);
        commits
            .flat_map(|c| c.events().map(|e| e.version().get()).collect::<Vec<_>>())
            .collect()
    }
}

/// Lets every other task run until nothing moves any more: the current-thread executor is fair.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn command_id(fixture: &Fixture, name: &str) -> SendOptions {
    use chronicler_runtime::Clock;
    let command_id = Some(CommandId::derived(fixture.clock.now(), name));
    SendOptions {
        command_id,
        ..SendOptions::default()
    }
}

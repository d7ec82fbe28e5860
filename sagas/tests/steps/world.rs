//! One application with one step saga.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{AggregateId, Tenant};
use chronicler_runtime::{ManualClock, Runtime, RuntimeBuilder, SendOptions, StopOptions};
use chronicler_sagas::steps::{StepSaga, StepState, Steps};
use chronicler_sagas::{SagaHandle, SagaStatus, SagaView, Sagas, SagasBuilder, StartFrom};
use chronicler_store::{
    AllQuery, EventLog, MemoryStore, Start,
    codec::{CodecId, decode},
};
use futures::StreamExt;

use crate::parts::{Part, PartCommand, PartEvent, Service, Willing};

pub(crate) struct World<S: StepSaga> {
    pub(crate) store: MemoryStore,
    pub(crate) clock: ManualClock,
    pub(crate) service: Service,
    pub(crate) runtime: Runtime,
    pub(crate) sagas: Sagas,
    saga: std::marker::PhantomData<S>,
}

pub(crate) async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

impl<S: StepSaga> World<S> {
    pub(crate) async fn new() -> Self {
        Self::over(
            MemoryStore::new(),
            Service::default(),
            ManualClock::default(),
        )
        .await
    }

    pub(crate) async fn over(store: MemoryStore, service: Service, clock: ManualClock) -> Self {
        let sagas = SagasBuilder::default()
            .saga(Steps::<S>::of(), StartFrom::Origin)
            .service("service", Arc::new(service.clone()));
        assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
        let builder = RuntimeBuilder::new(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .aggregate::<Part>()
            .aggregate::<Willing>();
        let runtime = sagas.register(builder).build().await.unwrap();
        let sagas = sagas.start(&runtime).await.unwrap();
        Self {
            store,
            clock,
            service,
            runtime,
            sagas,
            saga: std::marker::PhantomData,
        }
    }

    /// The same data under another life, and perhaps another definition.
    pub(crate) async fn restart<T: StepSaga>(self) -> World<T> {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
        let again = World::over(self.store, self.service, self.clock).await;
        settle().await;
        again
    }

    pub(crate) async fn tell(&self, part: &str, command: PartCommand) {
        let (tenant, id, options) = (Tenant::default(), id(part), SendOptions::default());
        let sent = self.runtime.send::<Part>(&tenant, &id, command, options);
        sent.await.unwrap();
        settle().await;
    }

    /// Begins the saga of this id, and does not wait for what follows.
    pub(crate) async fn tell_at_once(&self, name: &str) {
        let (tenant, id, options) = (Tenant::default(), id(name), SendOptions::default());
        let command = PartCommand::Do("begin".to_owned());
        let sent = self.runtime.send::<Part>(&tenant, &id, command, options);
        sent.await.unwrap();
    }

    pub(crate) async fn refuse(&self, part: &str, what: &[&str]) {
        let what = what.iter().map(|what| (*what).to_owned()).collect();
        self.tell(part, PartCommand::Refuse(what)).await;
    }

    /// Begins the saga of this id.
    pub(crate) async fn begin(&self, name: &str) {
        self.tell(name, PartCommand::Do("begin".to_owned())).await;
    }

    pub(crate) fn handle(&self) -> &SagaHandle<Steps<S>> {
        self.sagas.saga::<Steps<S>>().unwrap()
    }

    pub(crate) async fn view(&self, name: &str) -> SagaView<Steps<S>> {
        self.handle()
            .get(&Tenant::default(), &id(name))
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> SagaStatus {
        self.view(name).await.status
    }

    pub(crate) async fn state(&self, name: &str) -> StepState<S> {
        self.view(name).await.state
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<(), String> {
        let (tenant, id) = (Tenant::default(), id(name));
        let cancelled = self.handle().cancel(&tenant, &id, "changed my mind", "ann");
        let cancelled = cancelled.await.map_err(|error| error.to_string());
        settle().await;
        cancelled
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        settle().await;
    }

    /// What the aggregates did, in the order of the log: who, and what. Without what began it.
    pub(crate) async fn did(&self) -> Vec<(String, String)> {
        let mut commits = self
            .store
            .read_all(AllQuery::from(Start::Position(Default::default())));
        let mut did = Vec::new();
        while let Some(batch) = commits.next().await {
            for commit in batch.unwrap() {
                for event in commit.events() {
                    let category = event.part().category();
                    if category != "part" && category != "willing" {
                        continue;
                    }
                    let codec = CodecId::new(event.codec().number());
                    if event.event_type() != "Did" {
                        continue;
                    }
                    let what: String = decode(codec, event.payload()).unwrap();
                    if what != "begin" {
                        did.push((event.part().id().to_owned(), what));
                    }
                }
            }
        }
        did
    }

    pub(crate) async fn words(&self) -> Vec<String> {
        self.did().await.into_iter().map(|(_, what)| what).collect()
    }
}

/// What the events of a part begin: a saga of the part's id.
pub(crate) fn begins(event: &PartEvent) -> bool {
    *event == PartEvent::Did("begin".to_owned())
}

//! One application with one step saga.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{Aggregate, AggregateId, GlobalPosition, Tenant};
use chronicler_runtime::{
    ManualClock, Runtime, RuntimeBuilder, RuntimeOptions, SendOptions, StopOptions,
};
use chronicler_sagas::steps::{StepSaga, StepState, Steps};
use chronicler_sagas::{
    Ending, Route, Routes, SagaHandle, SagaOptions, SagaStatus, SagaVerb, SagaView, Sagas,
    SagasBuilder, StartFrom,
};
use chronicler_store::codec::decode;
use chronicler_store::{AllQuery, EventLog, EventRef, MemoryStore, Start};
use futures::StreamExt;

use crate::parts::{Part, PartCommand, PartEvent, Service, Willing};
use crate::vectors::booking::Reservation;
use crate::vectors::credit::Customer;

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
        // A call of which nobody knows is asked three times, and not for minutes.
        let mut options = SagaOptions::default();
        options.unknown_calls.budget = 3;
        options.unknown_calls.backoff_max = Duration::from_secs(1);
        let sagas = SagasBuilder::default().options(options);
        Self::with(sagas, store, service, clock).await
    }

    /// The same with other sagas beside it.
    pub(crate) async fn beside(sagas: SagasBuilder) -> Self {
        let (store, service) = (MemoryStore::new(), Service::default());
        Self::with(sagas, store, service, ManualClock::default()).await
    }

    pub(crate) async fn with(
        sagas: SagasBuilder,
        store: MemoryStore,
        service: Service,
        clock: ManualClock,
    ) -> Self {
        Self::with_options(sagas, RuntimeOptions::default(), store, service, clock).await
    }

    pub(crate) async fn with_options(
        sagas: SagasBuilder,
        options: RuntimeOptions,
        store: MemoryStore,
        service: Service,
        clock: ManualClock,
    ) -> Self {
        let sagas = sagas
            .saga(Steps::<S>::of(), StartFrom::Origin)
            .service("service", Arc::new(service.clone()));
        assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
        let builder = RuntimeBuilder::new(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .options(options)
            .aggregate::<Part>()
            .aggregate::<Willing>()
            .aggregate::<Customer>()
            .aggregate::<Reservation>();
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

    pub(crate) async fn send<A: Aggregate>(&self, name: &str, command: A::Command) {
        let (tenant, id, options) = (Tenant::default(), id(name), SendOptions::default());
        let sent = self.runtime.send::<A>(&tenant, &id, command, options);
        sent.await.unwrap();
        settle().await;
    }

    pub(crate) async fn did_something(&self, part: &str, what: &str) {
        self.send::<Part>(part, PartCommand::Do(what.to_owned()))
            .await;
    }

    pub(crate) async fn look<A: Aggregate>(&self, name: &str) -> A {
        let (tenant, id) = (Tenant::default(), id(name));
        let looked = self.runtime.state::<A>(&tenant, &id);
        looked.await.unwrap().state
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
        self.send::<Part>(part, PartCommand::Refuse(what)).await;
    }

    /// Begins the saga of this id.
    pub(crate) async fn begin(&self, name: &str) {
        self.did_something(name, "begin").await;
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

    pub(crate) async fn state(&self, name: &str) -> StepState<S::Start> {
        self.view(name).await.state
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<(), String> {
        let (tenant, id) = (Tenant::default(), id(name));
        let cancelled = self.handle().cancel(&tenant, &id, "changed my mind", "ann");
        let cancelled = cancelled.await.map_err(|error| error.to_string());
        settle().await;
        cancelled
    }

    pub(crate) async fn operate(&self, name: &str, verb: SagaVerb) -> Result<SagaStatus, String> {
        let (tenant, id) = (Tenant::default(), id(name));
        let done = self
            .handle()
            .operate(&tenant, &id, verb.by("ann", "a reason"));
        let done = done.await.map_err(|error| error.to_string());
        settle().await;
        done
    }

    pub(crate) async fn ended(&self, name: &str) -> Ending {
        match self.status(name).await {
            SagaStatus::Ended { how } => how,
            other => panic!("{name} has not ended: {other:?}"),
        }
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        settle().await;
    }

    /// What the aggregates did, in the order of the log: who, and what. Without what began it.
    pub(crate) async fn did(&self) -> Vec<(String, String)> {
        self.events(|category, event| {
            let is_one = matches!(category, "part" | "willing") && event.event_type() == "Did";
            let what: String = is_one.then(|| decode(event.codec(), event.payload()).unwrap())?;
            (what != "begin").then_some(what)
        })
        .await
    }

    /// Whose reservation was cancelled, in the order of the log.
    pub(crate) async fn cancelled(&self) -> Vec<String> {
        let found = self.events(|category, event| {
            (category == "reservation" && event.event_type() == "Cancelled").then_some(())
        });
        found.await.into_iter().map(|(who, ())| who).collect()
    }

    async fn events<T>(&self, find: impl Fn(&str, &EventRef<'_>) -> Option<T>) -> Vec<(String, T)> {
        let query = AllQuery::from(Start::Position(GlobalPosition::ZERO));
        let mut commits = self.store.read_all(query);
        let mut found = Vec::new();
        while let Some(batch) = commits.next().await {
            for commit in batch.unwrap() {
                for event in commit.events() {
                    let id = event.part().id().to_owned();
                    found.extend(find(event.part().category(), &event).map(|what| (id, what)));
                }
            }
        }
        found
    }

    pub(crate) async fn words(&self) -> Vec<String> {
        self.did().await.into_iter().map(|(_, what)| what).collect()
    }
}

/// What the events of a part begin: a saga of the part's id.
pub(crate) fn begins(event: &PartEvent) -> bool {
    *event == PartEvent::Did("begin".to_owned())
}

/// Begins a saga of the part's id.
pub(crate) fn start_where_it_begins<S: StepSaga>(on: &mut Routes<Steps<S>>) {
    on.event::<Part>(|event, info| match begins(event) {
        true => Route::start(&info.id),
        false => Route::ignore(),
    });
}

//! One application with the order process, over a store in memory and a clock that is turned by hand.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{AggregateId, Tenant};
use chronicler_runtime::{ManualClock, Runtime, RuntimeBuilder, SendOptions, StopOptions};
use chronicler_sagas::{
    Ending, Saga, SagaOptions, SagaStatus, SagaView, Sagas, SagasBuilder, StartFrom,
};
use chronicler_store::{EventLog, FactKind, FactQuery, MemoryStore};

use crate::process::Fulfil;
use crate::shop::{Gateway, Order, OrderCommand, Status, Stock, StockCommand};

pub(crate) struct Fixture {
    pub(crate) store: MemoryStore,
    pub(crate) clock: ManualClock,
    pub(crate) gateway: Gateway,
    pub(crate) runtime: Runtime,
    pub(crate) sagas: Sagas,
}

pub(crate) async fn fixture() -> Fixture {
    over(
        MemoryStore::new(),
        Gateway::default(),
        ManualClock::default(),
    )
    .await
}

/// The same with a saga beside the order process.
pub(crate) async fn fixture_with<S: Saga>(saga: S) -> Fixture {
    let sagas = SagasBuilder::default().saga(saga, StartFrom::Now);
    let (gateway, clock) = (Gateway::default(), ManualClock::default());
    start(impatient(), sagas, MemoryStore::new(), gateway, clock).await
}

/// The next life of a fixture with a saga beside the order process.
pub(crate) async fn next_life_with<S: Saga>(f: Fixture, saga: S) -> Fixture {
    f.sagas.stop().await;
    f.runtime.stop(StopOptions::default()).await;
    let sagas = SagasBuilder::default().saga(saga, StartFrom::Now);
    start(impatient(), sagas, f.store, f.gateway, f.clock).await
}

pub(crate) async fn over(store: MemoryStore, gateway: Gateway, clock: ManualClock) -> Fixture {
    start(impatient(), SagasBuilder::default(), store, gateway, clock).await
}

pub(crate) async fn start(
    options: SagaOptions,
    sagas: SagasBuilder,
    store: MemoryStore,
    gateway: Gateway,
    clock: ManualClock,
) -> Fixture {
    let sagas = sagas
        .options(options)
        .saga(Fulfil, StartFrom::Now)
        .service("gateway", Arc::new(gateway.clone()));
    assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
    let builder = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .aggregate::<Order>()
        .aggregate::<Stock>();
    let runtime = sagas.register(builder).build().await.unwrap();
    let sagas = sagas.start(&runtime).await.unwrap();
    Fixture {
        store,
        clock,
        gateway,
        runtime,
        sagas,
    }
}

/// A call of which nobody knows is asked three times, and not for minutes.
pub(crate) fn impatient() -> SagaOptions {
    let mut options = SagaOptions::default();
    options.unknown_calls.budget = 3;
    options.unknown_calls.backoff_max = Duration::from_secs(1);
    options
}

/// Lets every task run until nothing moves any more: the current-thread executor is fair.
pub(crate) async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

impl Fixture {
    pub(crate) async fn order(&self, name: &str, command: OrderCommand) {
        let (tenant, id, options) = (Tenant::default(), id(name), SendOptions::default());
        self.runtime
            .send::<Order>(&tenant, &id, command, options)
            .await
            .unwrap();
        settle().await;
    }

    pub(crate) async fn place(&self, name: &str, units: u32) {
        self.order(name, OrderCommand::Place { units, cents: 500 })
            .await;
    }

    pub(crate) async fn view(&self, name: &str) -> SagaView<Fulfil> {
        self.sagas
            .saga::<Fulfil>()
            .unwrap()
            .get(&Tenant::default(), &id(name))
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> SagaStatus {
        self.view(name).await.status
    }

    pub(crate) async fn order_status(&self, name: &str) -> Option<Status> {
        self.runtime
            .state::<Order>(&Tenant::default(), &id(name))
            .await
            .unwrap()
            .state
            .status
    }

    pub(crate) async fn stock(&self) -> Stock {
        self.runtime
            .state::<Stock>(&Tenant::default(), &id("all"))
            .await
            .unwrap()
            .state
    }

    pub(crate) async fn warehouse(&self, broken: bool) {
        let command = StockCommand::Break { broken };
        let options = SendOptions::default();
        self.runtime
            .send::<Stock>(&Tenant::default(), &id("all"), command, options)
            .await
            .unwrap();
    }

    pub(crate) fn charges(&self, name: &str) -> (u32, u32) {
        self.gateway
            .inner
            .lock()
            .charges
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) async fn facts(&self, kind: FactKind) -> usize {
        self.store.facts(FactQuery::all(kind)).await.unwrap().len()
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        settle().await;
    }

    pub(crate) async fn restart(self) -> Self {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
        let again = over(self.store, self.gateway, self.clock).await;
        settle().await;
        again
    }
}

pub(crate) fn compensated(reason: &str) -> SagaStatus {
    SagaStatus::Ended {
        how: Ending::Compensated {
            reason: reason.into(),
        },
    }
}

//! Applications that have not everything registered: what was, and is not any more, is waited for.

use std::sync::Arc;

use chronicler_domain::Tenant;
use chronicler_runtime::{ManualClock, RuntimeBuilder, RuntimeOptions, StopOptions};
use chronicler_sagas::{
    EffectState, Ending, Saga, SagaHandle, SagaStatus, SagasBuilder, StartFrom,
};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{FactKind, MemoryStore};

use crate::errand::{Clerk, Errand};
use crate::fixture::{Fixture, compensated, id, impatient, settle};
use crate::process::Fulfil;
use crate::shop::{Gateway, Order, OrderCommand, Script, Stock};

/// What is registered beside the order process and its orders.
pub(crate) struct Registered {
    pub(crate) sagas: SagasBuilder,
    pub(crate) has_stock: bool,
    pub(crate) inbox_max: usize,
}

impl Registered {
    pub(crate) fn new(sagas: SagasBuilder) -> Self {
        let inbox_max = RuntimeOptions::default().inbox_max;
        Self {
            sagas,
            has_stock: true,
            inbox_max,
        }
    }

    pub(crate) fn errands(clerk: &Clerk) -> Self {
        let sagas = SagasBuilder::default().saga(Errand, StartFrom::Now);
        Self::new(sagas.service("clerk", Arc::new(clerk.clone())))
    }

    pub(crate) fn gateway(gateway: &Gateway) -> Self {
        Self::new(SagasBuilder::default().service("gateway", Arc::new(gateway.clone())))
    }

    pub(crate) fn nothing() -> Self {
        Self::new(SagasBuilder::default())
    }

    pub(crate) async fn start(
        self,
        store: MemoryStore,
        gateway: Gateway,
        clock: ManualClock,
    ) -> Fixture {
        let sagas = self.sagas.options(impatient());
        let sagas = sagas.saga(Fulfil, StartFrom::Now);
        assert!(sagas.problems().is_empty(), "{:?}", sagas.problems());
        let mut options = RuntimeOptions::default();
        options.inbox_max = self.inbox_max;
        let mut builder = RuntimeBuilder::new(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .options(options)
            .aggregate::<Order>();
        if self.has_stock {
            builder = builder.aggregate::<Stock>();
        }
        let runtime = sagas.register(builder).build().await.unwrap();
        let sagas = sagas.start(&runtime).await.unwrap();
        settle().await;
        Fixture {
            store,
            clock,
            gateway,
            runtime,
            sagas,
        }
    }

    pub(crate) async fn fresh(self) -> Fixture {
        let (store, clock) = (MemoryStore::new(), ManualClock::default());
        self.start(store, Gateway::default(), clock).await
    }

    /// The next life of an application, with this registered.
    pub(crate) async fn after(self, f: Fixture) -> Fixture {
        f.sagas.stop().await;
        f.runtime.stop(StopOptions::default()).await;
        self.start(f.store, f.gateway, f.clock).await
    }
}

pub(crate) fn handle<S: Saga>(f: &Fixture) -> &SagaHandle<S> {
    f.sagas.saga::<S>().unwrap()
}

pub(crate) async fn errand(f: &Fixture) -> SagaStatus {
    let view = handle::<Errand>(f).get(&Tenant::default(), &id("e")).await;
    view.unwrap().status
}

/// Until every budget is spent.
pub(crate) async fn spend(f: &Fixture) {
    for _ in 0..12 {
        f.advance(31).await;
    }
}

async fn retry_now(f: &Fixture) {
    let (tenant, name) = (Tenant::default(), id("o"));
    let retried = handle::<Fulfil>(f).retry_now(&tenant, &name, "ann").await;
    retried.unwrap();
    settle().await;
}

#[tokio::test]
async fn m91_a_command_whose_aggregate_is_no_longer_registered_is_parked_and_goes_on_when_it_is() {
    let (clerk, gateway) = (Clerk::default(), Gateway::default());
    let f = Registered::gateway(&gateway).fresh().await;
    // The process dies when the saga has decided, and nothing is sent yet.
    let (write, durable) = (2, true);
    f.store.faults().crash_at(CrashPoint { write, durable });
    f.place("o", 3).await;
    let survivor = MemoryStore::clone(&f.store.faults().survivor());
    let registered = Registered {
        has_stock: false,
        ..Registered::errands(&clerk)
    };
    let f = registered.start(survivor, f.gateway, f.clock).await;
    let status = f.status("o").await;
    assert!(matches!(status, SagaStatus::Retrying { .. }), "{status:?}");
    spend(&f).await;
    let view = f.view("o").await;
    assert!(
        matches!(view.status, SagaStatus::Parked { .. }),
        "{:?}",
        view.status
    );
    let EffectState::Parked { reason } = &view.effects[0].state else {
        panic!("{:?}", view.effects)
    };
    assert!(reason.contains("\"stock\" is registered"), "{reason}");
    let open = handle::<Fulfil>(&f).open().await.unwrap();
    assert_eq!(
        (open.len(), open[0].status.word()),
        (1, "parked"),
        "seen by an operator"
    );
    f.order("e", OrderCommand::Touch).await;
    assert_eq!(
        errand(&f).await,
        SagaStatus::Ended {
            how: Ending::Completed
        },
        "others go on"
    );

    let f = Registered::gateway(&gateway).after(f).await;
    f.advance(60).await;
    let status = f.status("o").await;
    assert!(matches!(status, SagaStatus::Parked { .. }), "{status:?}");
    retry_now(&f).await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(f.stock().await.reserved, [("o".to_owned(), 3)].into());
    assert_eq!(gateway.inner.lock().charges["o"], (500, 0));
}

#[tokio::test]
async fn m91_a_call_whose_service_is_no_longer_registered_is_parked_and_goes_on_when_it_is() {
    let gateway = Gateway::default();
    gateway.inner.lock().script = Script::NeverAnswers;
    let f = Registered::gateway(&gateway).fresh().await;
    f.place("o", 3).await;
    let f = Registered::nothing().after(f).await;
    spend(&f).await;
    let status = f.status("o").await;
    assert!(matches!(status, SagaStatus::Parked { .. }), "{status:?}");
    gateway.inner.lock().script = Script::Honest;
    let f = Registered::gateway(&gateway).after(f).await;
    f.advance(60).await;
    assert_eq!(gateway.inner.lock().calls, 1, "a person has it tried again");
    retry_now(&f).await;
    assert_eq!(
        f.status("o").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(gateway.inner.lock().charges["o"], (500, 0));
}

#[tokio::test]
async fn m91_an_undo_whose_service_is_no_longer_registered_is_stuck_and_goes_on_when_it_is() {
    let gateway = Gateway::default();
    gateway.inner.lock().script = Script::LosesReplies;
    let f = Registered::gateway(&gateway).fresh().await;
    f.place("o", 3).await;
    let f = Registered::nothing().after(f).await;
    let (tenant, name) = (Tenant::default(), id("o"));
    let cancelled = handle::<Fulfil>(&f)
        .cancel(&tenant, &name, "no", "ann")
        .await;
    cancelled.unwrap();
    spend(&f).await;
    let status = f.status("o").await;
    assert!(
        matches!(status, SagaStatus::CompensationStuck { .. }),
        "{status:?}"
    );
    assert!(f.stock().await.reserved.is_empty(), "its sibling went on");
    assert_eq!(f.facts(FactKind::OPEN_SAGA).await, 1);
    let f = Registered::gateway(&gateway).after(f).await;
    retry_now(&f).await;
    assert_eq!(f.status("o").await, compensated("no"));
    assert_eq!(gateway.inner.lock().charges["o"], (500, 1));
}

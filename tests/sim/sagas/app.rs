//! The application: all sagas of the simulation over one store, and what is asked of them by kind.

use std::sync::Arc;
use std::time::Duration;

use chronicler::App;
use chronicler::domain::{Category, StreamId};
use chronicler::prelude::*;
use chronicler::runtime::{RuntimeOptions, SnapshotPolicy};
use chronicler::sagas::{Ending, ReplayError, ReplayReport, SagaOptions, StartFrom, replay};
use chronicler::store::EventLog;
use chronicler_testkit::{ManualClock, MemoryStore};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::desk::Desk;
use super::seed;
use super::shapes::{Errand, Kid, Tour};
use super::thing::{Thing, Willing};
use super::wild::Wild;

/// The sagas that events begin, by name.
pub(crate) const BEGUN_BY_EVENTS: [&str; 4] = ["wild", "tame", "errand", "tour"];

/// Calls a generic function with the type of the saga of this name.
macro_rules! of_kind {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            "wild" => $function::<Wild<0>>(Wild::<0>, $($argument),*),
            "tame" => $function::<Wild<1>>(Wild::<1>, $($argument),*),
            "errand" => $function::<Steps<Errand>>(Steps::of(), $($argument),*),
            "tour" => $function::<Steps<Tour>>(Steps::of(), $($argument),*),
            "kid" => $function::<Steps<Kid>>(Steps::of(), $($argument),*),
            other => panic!("there is no saga {other:?}"),
        }
    };
}

/// The stream of an instance.
pub(crate) fn stream(saga: &str, id: &str) -> StreamId {
    let category = Category::new(format!("saga:{saga}")).unwrap();
    StreamId::new(
        &Tenant::default(),
        &category,
        &AggregateId::new(id).unwrap(),
    )
}

/// The name of the saga that a stream is of.
pub(crate) fn name_of(stream: &StreamId) -> &str {
    stream.category().strip_prefix("saga:").unwrap_or_default()
}

/// Starts it over a store; `None` if that died.
pub(crate) async fn start(
    store: &Arc<MemoryStore>,
    clock: &ManualClock,
    desk: &Desk,
    id_seed: u64,
) -> Option<App> {
    let mut options = RuntimeOptions::default();
    options.id_seed = Some(id_seed);
    let mut chance = seed::chance(("options", id_seed));
    options.snapshots = SnapshotPolicy::EveryEvents(4 + chance.below(30));
    options.idle = Duration::from_secs(20);
    options.warm_max = chance.below(4) as usize;
    let mut sagas = SagaOptions::default();
    if chance.one_in(3) {
        sagas.deliveries_max = 1 + chance.below(3) as usize;
        sagas.under_way_max = 1 + chance.below(3) as usize;
    }
    let started = App::over(Arc::clone(store) as Arc<dyn chronicler::store::Store>)
        .clock(Arc::new(clock.clone()))
        .options(options)
        .saga_options(sagas)
        .aggregate::<Thing>()
        .aggregate::<Willing>()
        .saga_from(Wild::<0>, StartFrom::Origin)
        .saga_from(Wild::<1>, StartFrom::Origin)
        .saga_from(Steps::<Errand>::of(), StartFrom::Origin)
        .saga_from(Steps::<Tour>::of(), StartFrom::Origin)
        .saga_from(Steps::<Kid>::of(), StartFrom::Origin)
        .service("desk", desk.clone())
        .start();
    match started.await {
        Ok(app) => Some(app),
        Err(error) => {
            assert!(store.faults().is_dead(), "{error}");
            None
        }
    }
}

/// Waits for the end of an instance.
pub(crate) fn ended(
    app: &App,
    stream: &StreamId,
) -> BoxFuture<'static, Result<Ending, DispatchError>> {
    fn of<S: Saga>(
        _: S,
        app: App,
        id: AggregateId,
    ) -> BoxFuture<'static, Result<Ending, DispatchError>> {
        async move {
            app.saga::<S>()
                .unwrap()
                .ended(&Tenant::default(), &id)
                .await
        }
        .boxed()
    }
    let id = AggregateId::new(stream.id()).unwrap();
    of_kind!(name_of(stream), of(app.clone(), id))
}

/// Has the sagas of a name decide again what they decided.
pub(crate) fn replayed<'a>(
    name: &str,
    log: &'a dyn EventLog,
) -> BoxFuture<'a, Result<ReplayReport, ReplayError>> {
    fn of<S: Saga>(
        saga: S,
        log: &dyn EventLog,
    ) -> BoxFuture<'_, Result<ReplayReport, ReplayError>> {
        async move { replay(log, &saga).await }.boxed()
    }
    of_kind!(name, of(log))
}

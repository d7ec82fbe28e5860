//! Registers saga types with a runtime, and starts their workers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, InvalidId, StreamId};
use chronicler_runtime::{
    FollowerHandle, FollowerSpec, RestartPolicy, Runtime, RuntimeBuilder, WorkerSpec,
};
use chronicler_store::codec::{PayloadCodec, check_events, encode, event_types};
use chronicler_store::{Append, AppendError, FactKind, FactQuery, ReadError, SideRecord};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::definition::external::ExternalService;
use crate::definition::routes::Routes;
use crate::definition::saga::Saga;
use crate::execution::child_places::ChildPlaces;
use crate::execution::circuit::Circuits;
use crate::execution::entity::SagaEntity;
use crate::execution::executor::{Executor, Shared};
use crate::execution::options::SagaOptions;
use crate::execution::resuming::Alarm;
use crate::execution::router::Router;
use crate::instance::entry::OWN_PREFIX;
use crate::instance::occupancy::OccupancyChange;
use crate::instance::open_fact::OpenFact;
use crate::operation::handle::SagaHandle;
use crate::operation::sagas::Sagas;

/// The place in the log where a saga type begins that is registered for the first time. The choice is journaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With what happens from now on: deploying a payment saga must not charge years of old orders.
    #[default]
    Now,
    /// With everything that ever happened.
    Origin,
}

/// Sagas did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SagaStartError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not take the registration.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The saga's instances are not hosted: the runtime was built without the registration.
    #[error("saga {name:?} is not hosted by this runtime")]
    NotHosted {
        /// Its name.
        name: &'static str,
    },
}

/// Registers saga types and services.
#[derive(Default)]
#[must_use]
pub struct SagasBuilder {
    sagas: Vec<Box<dyn AnySaga>>,
    services: HashMap<String, Arc<dyn ExternalService>>,
    options: SagaOptions,
    problems: Vec<String>,
    doubts: Vec<String>,
    /// Who begins whom.
    children: Vec<(&'static str, String)>,
    child_places: ChildPlaces,
}

impl SagasBuilder {
    /// Other options.
    pub fn options(mut self, options: SagaOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds a saga type.
    pub fn saga<S: Saga>(mut self, saga: S, from: StartFrom) -> Self {
        let own = event_types::<S::Event>()
            .into_iter()
            .filter(|name| name.starts_with(OWN_PREFIX));
        let own = own.map(|name| {
            format!(
                "saga {}: event type {name:?} begins with {OWN_PREFIX:?}",
                S::NAME
            )
        });
        self.problems.extend(own);
        let problems = saga.problems().into_iter();
        self.problems
            .extend(problems.map(|problem| format!("saga {}: {problem}", S::NAME)));
        let doubts = saga.doubts().into_iter();
        self.doubts
            .extend(doubts.map(|doubt| format!("saga {}: {doubt}", S::NAME)));
        let routes = Routes::<S>::of_saga();
        for child in &routes.children {
            self.children.push((S::NAME, child.clone()));
        }
        let repeated = routes.repeated.iter();
        self.problems.extend(repeated.map(|category| {
            format!(
                "saga {}: its routes name the events of {category:?} twice: keep one `event` for each aggregate type",
                S::NAME
            )
        }));
        if let Err(problems) = check_events::<S::Event>() {
            let named = problems
                .into_iter()
                .map(|problem| format!("saga {}: {problem}", S::NAME));
            self.problems.extend(named);
        }
        if self.sagas.iter().any(|other| other.name() == S::NAME) {
            self.problems
                .push(format!("saga {:?} is registered twice", S::NAME));
        }
        match SagaEntity::new(
            saga,
            self.options.causation_depth_max,
            self.child_places.clone(),
        ) {
            Ok(entity) => self.sagas.push(Box::new(SagaType {
                entity: Arc::new(entity),
                from,
            })),
            Err(error) => self.problems.push(invalid_name(S::NAME, &error)),
        }
        self
    }

    /// Adds a service that sagas call by this name.
    pub fn service(mut self, name: &str, service: Arc<dyn ExternalService>) -> Self {
        if self.services.insert(name.to_owned(), service).is_some() {
            self.problems
                .push(format!("service {name:?} is registered twice"));
        }
        self
    }

    /// Everything that is wrong with what was registered.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Has the runtime host the instances.
    pub fn register(&self, runtime: RuntimeBuilder) -> RuntimeBuilder {
        self.sagas
            .iter()
            .fold(runtime, |runtime, saga| saga.register(runtime))
    }

    /// Starts following the log.
    ///
    /// # Errors
    /// [`SagaStartError`].
    pub async fn start(self, runtime: &Runtime) -> Result<Sagas, SagaStartError> {
        let shared = Shared {
            services: Arc::new(self.services),
            circuits: Arc::new(Circuits::new(self.options.circuit)),
            resources: Arc::default(),
            hosts: Arc::default(),
            child_places: self.child_places.clone(),
        };
        for doubt in &self.doubts {
            tracing::info!(doubt, "worth a look");
        }
        let mut doubts = self.doubts;
        let own = doubts.len();
        for (parent, child) in &self.children {
            if !self.sagas.iter().any(|saga| saga.name() == child) {
                doubts.push(format!(
                    "saga {parent}: it begins sagas {child:?}, and none of this name is registered"
                ));
            }
        }
        for saga in &self.sagas {
            let unknown = saga.categories().into_iter();
            let unknown = unknown.filter(|category| !runtime.effects().hosts(category));
            doubts.extend(unknown.map(|category| {
                let name = saga.name();
                format!(
                    "saga {name}: it follows events of {category:?}, and no aggregate of this category is registered to produce them"
                )
            }));
        }
        for doubt in doubts.iter().skip(own) {
            tracing::warn!(doubt, "worth a look");
        }
        // Children that are alive have their places before anything is begun.
        if !self.options.paused {
            occupy(&self.child_places, runtime).await?;
        }
        let mut started = Sagas::none(runtime, doubts, self.child_places);
        for saga in self.sagas {
            saga.start(runtime.clone(), shared.clone(), self.options, &mut started)
                .await?;
        }
        Ok(started)
    }
}

/// Gives the children that are alive their places.
async fn occupy(places: &ChildPlaces, runtime: &Runtime) -> Result<(), ReadError> {
    let open = FactQuery::all(FactKind::OPEN_SAGA);
    for fact in runtime.store().facts(open).await? {
        let stream = std::str::from_utf8(&fact.key).ok();
        let stream = stream.and_then(StreamId::from_key);
        let occupies = OpenFact::read(&fact.value).and_then(|open| open.occupies);
        if let (Some(stream), Some(occupies)) = (stream, occupies) {
            places.change(&stream, &OccupancyChange::Taken(occupies));
        }
    }
    Ok(())
}

fn invalid_name(name: &str, error: &InvalidId) -> String {
    format!("saga {name:?} cannot be called so: {error}")
}

/// A saga type, whatever it is.
trait AnySaga: Send + Sync {
    fn name(&self) -> &'static str;
    /// The categories whose events it follows.
    fn categories(&self) -> Vec<String>;
    fn register(&self, runtime: RuntimeBuilder) -> RuntimeBuilder;
    fn start<'a>(
        &'a self,
        runtime: Runtime,
        shared: Shared,
        options: SagaOptions,
        started: &'a mut Sagas,
    ) -> BoxFuture<'a, Result<(), SagaStartError>>;
}

struct SagaType<S: Saga> {
    entity: Arc<SagaEntity<S>>,
    from: StartFrom,
}

impl<S: Saga> AnySaga for SagaType<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn categories(&self) -> Vec<String> {
        let mut all: Vec<_> = Routes::<S>::of_saga().entries.into_keys().collect();
        all.sort();
        all
    }

    fn register(&self, runtime: RuntimeBuilder) -> RuntimeBuilder {
        runtime.entity(Arc::clone(&self.entity))
    }

    fn start<'a>(
        &'a self,
        runtime: Runtime,
        shared: Shared,
        options: SagaOptions,
        started: &'a mut Sagas,
    ) -> BoxFuture<'a, Result<(), SagaStartError>> {
        async move {
            let handle = runtime.entity::<SagaEntity<S>>();
            let handle = handle
                .ok_or(SagaStartError::NotHosted { name: S::NAME })?
                .clone();
            let routes = Arc::new(Routes::<S>::of_saga());
            let hosts = Arc::clone(&shared.hosts);
            let own = Arc::clone(&routes);
            let executor = Executor::new(runtime.clone(), handle, shared, own, options);
            let executor = Arc::new(executor);
            let name = format!("saga:{}", S::NAME);
            let router = Arc::new(Router::new(Arc::clone(&executor), routes));
            let mut spec = FollowerSpec::new(&name, router.filter());
            spec.lanes_max = options.deliveries_max;
            let follower = FollowerHandle::new(&runtime, spec);
            let own = Arc::clone(&executor);
            let handle = SagaHandle {
                executor: own,
                follower: follower.clone(),
            };
            if options.paused {
                started.add(handle, &hosts);
                return Ok(());
            }
            executor.handle.entity().backlog().open();
            register_once(&runtime, &name, self.from).await?;
            runtime
                .timers()
                .handle(&name, Arc::new(Alarm(Arc::clone(&executor))));
            let spec = |what: &str| WorkerSpec {
                name: format!("{what} of saga {}", S::NAME),
                restart: RestartPolicy {
                    budget: u32::MAX,
                    ..RestartPolicy::default()
                },
            };
            let carries_out = Arc::clone(&executor);
            let effects = move |context| Arc::clone(&carries_out).run(context).boxed();
            let brings = move |context| {
                let (follower, router) = (follower.clone(), Arc::clone(&router));
                async move { follower.run(router, context).await }.boxed()
            };
            // The router first: it is stopped first, and what it still brought is still carried out.
            let router = runtime.workers().spawn(spec("router"), brings);
            let carrier = runtime.workers().spawn(spec("executor"), effects);
            started.run(Arc::clone(&executor.quiet), [router, carrier]);
            started.add(handle, &hosts);
            Ok(())
        }
        .boxed()
    }
}

/// Journals where a saga type begins, when it is registered for the first time: registration and cursor in one
/// commit.
async fn register_once(
    runtime: &Runtime,
    name: &str,
    from: StartFrom,
) -> Result<(), SagaStartError> {
    let key = Bytes::copy_from_slice(name.as_bytes());
    if runtime
        .store()
        .fact(FactKind::REGISTRATION, key.clone())
        .await?
        .is_some()
    {
        return Ok(());
    }
    let position = match from {
        StartFrom::Now => runtime.head().position,
        StartFrom::Origin => GlobalPosition::ZERO,
    };
    let value = encode(PayloadCodec::default(), &position).ok();
    let fact = |kind| SideRecord::Fact {
        kind,
        key: key.clone(),
        value: value.clone(),
    };
    let append = Append::new(runtime.new_id(), runtime.clock().now())
        .record(fact(FactKind::REGISTRATION))
        .record(fact(FactKind::CURSOR));
    runtime.store().append(append).await?;
    Ok(())
}

//! Puts a runtime together, and says everything that is wrong with it at once.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use chronicler_domain::{Aggregate, InvalidId};
use chronicler_store::codec::check_events;
use chronicler_store::{ReadError, Store};

use crate::aggregate::AggregateEntity;
use crate::clock::{Clock, SystemClock};
use crate::core::Core;
use crate::directory::{AnyDirectory, Directory};
use crate::dispatch::EntityHandle;
use crate::durable::Claims;
use crate::effects::{EffectDispatcher, EffectTarget};
use crate::entity::Entity;
use crate::ids::Ids;
use crate::options::RuntimeOptions;
use crate::quarantine::Quarantine;
use crate::runtime::{Parts, Runtime};
use crate::supervision::Supervisor;
use crate::sweeper::sweep;
use crate::timers::Timers;
use crate::workers::Workers;

/// Something that is wrong with what was registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// A category's name breaks the rules.
    #[error("{type_name}: {source}")]
    Category {
        /// The Rust type.
        type_name: &'static str,
        /// Which rule.
        source: InvalidId,
    },
    /// Two types have one category.
    #[error("category {category:?} is registered {count} times: each needs its own")]
    Twice {
        /// The category.
        category: String,
        /// How often.
        count: usize,
    },
    /// Event versions and upcasters do not fit.
    #[error("{type_name}: {problem}")]
    Events {
        /// The Rust type of the aggregate.
        type_name: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// Why a runtime was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// What was registered does not fit together; every problem, not only the first.
    #[error("{}", Problems(.0))]
    Problems(Vec<BuildProblem>),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The actor system did not start.
    #[error("the supervisor did not start: {0}")]
    Supervisor(String),
}

struct Problems<'a>(&'a [BuildProblem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

type Register = Box<dyn FnOnce(&Arc<Core>, &mut Registered) + Send>;

/// Makes an entity with the runtime's options: its category, and how it is registered.
type Prepare = Box<dyn FnOnce(&RuntimeOptions) -> Result<(String, Register), BuildProblem> + Send>;

#[derive(Default)]
struct Registered {
    handles: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    directories: Vec<Arc<dyn AnyDirectory>>,
    targets: HashMap<String, Arc<dyn EffectTarget>>,
}

/// Puts a runtime together.
#[must_use]
pub struct RuntimeBuilder {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: RuntimeOptions,
    entities: Vec<Prepare>,
    problems: Vec<BuildProblem>,
}

impl RuntimeBuilder {
    /// A runtime over this store, with the system's clock and default options.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            options: RuntimeOptions::default(),
            entities: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Other options.
    pub fn options(mut self, options: RuntimeOptions) -> Self {
        self.options = options;
        self
    }

    /// Hosts an aggregate type.
    pub fn aggregate<A: Aggregate>(mut self) -> Self {
        let type_name = std::any::type_name::<A>();
        if let Err(problems) = check_events::<A::Event>() {
            let events = problems
                .into_iter()
                .map(|problem| BuildProblem::Events { type_name, problem });
            self.problems.extend(events);
        }
        self.entities.push(Box::new(move |options| {
            let entity = AggregateEntity::<A>::new(options.codec)
                .map_err(|source| BuildProblem::Category { type_name, source })?;
            Ok(registration(Arc::new(entity)))
        }));
        self
    }

    /// Hosts any other entity.
    #[doc(hidden)]
    pub fn entity<E: Entity>(mut self, entity: Arc<E>) -> Self {
        self.entities
            .push(Box::new(move |_| Ok(registration(entity))));
        self
    }

    /// Builds and starts it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`]; everything that is wrong with what was registered at once.
    pub async fn build(mut self) -> Result<Runtime, BuildError> {
        if let Some(seed) = self.options.id_seed {
            Ids::seed(seed);
        }
        let mut registrations = Vec::new();
        let mut categories: BTreeMap<String, usize> = BTreeMap::new();
        for prepare in self.entities {
            match prepare(&self.options) {
                Ok((category, register)) => {
                    *categories.entry(category).or_default() += 1;
                    registrations.push(register);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        let twice = categories.into_iter().filter(|(_, count)| *count > 1);
        self.problems
            .extend(twice.map(|(category, count)| BuildProblem::Twice { category, count }));
        if !self.problems.is_empty() {
            return Err(BuildError::Problems(self.problems));
        }
        let quarantine = Quarantine::default();
        quarantine.load(self.store.as_ref()).await?;
        let supervisor = Supervisor::start().await.map_err(BuildError::Supervisor)?;
        let core = Arc::new(Core::new(
            self.store,
            self.clock,
            self.options,
            supervisor.clone(),
            quarantine,
        ));
        let mut registered = Registered::default();
        for register in registrations {
            register(&core, &mut registered);
        }
        let (clock, jitter) = (Arc::clone(&core.clock), Arc::clone(&core.jitter));
        let workers = Workers::new(supervisor, clock, core.tasks.clone(), jitter);
        let timers = Timers::new(
            Arc::clone(&core.store),
            Arc::clone(&core.clock),
            Arc::clone(&core.jitter),
        );
        timers.start(&workers);
        let Registered {
            handles,
            directories,
            targets,
        } = registered;
        core.tasks
            .spawn(sweep(Arc::clone(&core), directories.clone()));
        let effects = EffectDispatcher::new(targets);
        let parts = Parts {
            core: Arc::clone(&core),
            handles,
            directories,
            effects,
            workers,
            timers,
            subscribers: Claims::default(),
        };
        Ok(Runtime {
            core,
            parts: Arc::new(parts),
        })
    }
}

fn registration<E: Entity>(entity: Arc<E>) -> (String, Register) {
    let category = entity.category().as_str().to_owned();
    let name = category.clone();
    let register = move |core: &Arc<Core>, registered: &mut Registered| {
        let directory = Arc::new(Directory::new(entity, Arc::clone(core)));
        registered
            .directories
            .push(Arc::clone(&directory) as Arc<dyn AnyDirectory>);
        let handle = EntityHandle::new(directory, Arc::clone(core));
        registered.targets.insert(name, Arc::new(handle.clone()));
        registered
            .handles
            .insert(TypeId::of::<E>(), Box::new(handle));
    };
    (category, Box::new(register))
}

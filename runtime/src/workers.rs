//! Supervised workers: a future that is started again when it fails, hosted by an actor.

use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::Timestamp;
use chronicler_store::panic_text;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::{Jitter, is_worth_a_warning};
use crate::clock::Clock;
use crate::options::RestartPolicy;
use crate::supervision::{Fate, RestartBudget, Supervised, Supervisor};
use crate::tasks::Tasks;

/// Why a worker failed. It is started again, within its budget if it has one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct WorkerError(pub String);

/// What a worker is called, and how it is started again.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// Its name, for people.
    pub name: String,
    /// How it is started again.
    pub restart: RestartPolicy,
}

impl WorkerSpec {
    /// A worker that is started again whenever it fails, for ever, after waits of up to
    /// [`backoff_max`](RestartPolicy::backoff_max).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            restart: RestartPolicy::default(),
        }
    }
}

/// What a worker is given.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    stopping: CancellationToken,
    life: u32,
    jitter: Arc<Jitter>,
}

impl WorkerContext {
    /// Ends when the worker is to end.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// 1 for the first start, 2 after the first restart, and so on.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// Chance for the waits between attempts: the runtime's own.
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }
}

/// Where a worker is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerStatus {
    /// At work.
    Running,
    /// Failed, and waiting to be started again.
    Restarting {
        /// Why it failed.
        reason: String,
    },
    /// Failed more often than the budget allows that it was given.
    Failed {
        /// Why it failed last.
        reason: String,
    },
    /// Ended as it should.
    Stopped,
}

/// Failures of a worker without a long enough life in between.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerTrouble {
    /// Why it failed last.
    pub reason: String,
    /// How often it failed.
    pub failures: u32,
    /// When it failed first.
    pub since: Timestamp,
    /// When it failed last.
    pub last: Timestamp,
}

/// One worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub status: WorkerStatus,
    /// Its failures, until it has lived for [`RestartPolicy::within`] without one.
    pub trouble: Option<WorkerTrouble>,
}

/// Workers that were given up and are still listed; the oldest are forgotten first.
const GIVEN_UP_MAX: usize = 64;

type Make = dyn Fn(WorkerContext) -> BoxFuture<'static, Result<(), WorkerError>> + Send + Sync;

/// Starts workers, and ends them with the runtime.
#[derive(Clone)]
pub struct Workers {
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    jitter: Arc<Jitter>,
    all: Arc<Mutex<Vec<WorkerHandle>>>,
}

impl Workers {
    pub(crate) fn new(
        supervisor: Supervisor,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        jitter: Arc<Jitter>,
    ) -> Self {
        Self {
            supervisor,
            clock,
            tasks,
            jitter,
            all: Arc::default(),
        }
    }

    /// Starts a worker. `make` is called for each of its lives.
    pub fn spawn(
        &self,
        spec: WorkerSpec,
        make: impl Fn(WorkerContext) -> BoxFuture<'static, Result<(), WorkerError>>
        + Send
        + Sync
        + 'static,
    ) -> WorkerHandle {
        let worker = Arc::new(Worker {
            spec,
            make: Box::new(make),
            stopping: CancellationToken::new(),
            status: watch::Sender::new(WorkerStatus::Running),
            lives: Mutex::default(),
            actor: Mutex::default(),
            supervisor: self.supervisor.clone(),
            clock: Arc::clone(&self.clock),
            tasks: self.tasks.clone(),
            jitter: Arc::clone(&self.jitter),
        });
        worker.clone().start();
        let handle = WorkerHandle { worker };
        let mut all = self.all.lock();
        let is_given_up =
            |other: &&WorkerHandle| matches!(other.status(), WorkerStatus::Failed { .. });
        let mut given_up = all.iter().filter(is_given_up).count();
        all.retain(|other| match other.status() {
            WorkerStatus::Stopped => false,
            WorkerStatus::Failed { .. } => {
                given_up = given_up.saturating_sub(1);
                given_up < GIVEN_UP_MAX
            }
            _ => true,
        });
        all.push(handle.clone());
        handle
    }

    /// All that have not ended, and those that were given up, in the order in which they were started.
    pub fn list(&self) -> Vec<WorkerInfo> {
        let all = self.all.lock();
        let all = all.iter().map(WorkerHandle::info);
        all.filter(|info| info.status != WorkerStatus::Stopped)
            .collect()
    }

    /// Ends all of them, each with all of the time until the deadline, and those at once that have not ended by then. How
    /// many those are.
    pub(crate) async fn stop(&self, deadline: Instant) -> usize {
        // They are forgotten only when they have ended: a stop that was cut short goes on with the next call.
        let all = self.all.lock().clone();
        let mut abandoned = 0;
        // All are told before one is waited for: one that hangs must not cost the others their time.
        for handle in all.iter().rev() {
            handle.worker.stopping.cancel();
        }
        for handle in all.iter().rev() {
            let left = deadline.saturating_duration_since(self.clock.monotonic());
            tokio::select! {
                biased;
                () = handle.stop() => {}
                () = self.clock.sleep(left) => {
                    abandoned += 1;
                    let worker = &handle.worker.spec.name;
                    tracing::warn!(worker, "a worker did not end in time, and was ended in the middle of its work");
                    handle.abandon();
                }
            }
        }
        self.all.lock().retain(|handle| !handle.has_ended());
        abandoned
    }

    /// Ends all of them in the middle of their work. From any thread.
    pub(crate) fn abandon(&self) {
        let all = std::mem::take(&mut *self.all.lock());
        for handle in all.iter().rev() {
            handle.abandon();
        }
    }
}

/// A worker, seen by whoever started it.
#[derive(Clone)]
pub struct WorkerHandle {
    worker: Arc<Worker>,
}

impl WorkerHandle {
    /// Where it is in its life.
    pub fn status(&self) -> WorkerStatus {
        self.worker.status.borrow().clone()
    }

    /// What can be said of it.
    pub fn info(&self) -> WorkerInfo {
        let worker = &self.worker;
        let now = worker.clock.monotonic();
        let lives = worker.lives.lock();
        let is_recent = lives.is_in_trouble(now, &worker.spec.restart);
        let trouble = lives.trouble.clone();
        drop(lives);
        WorkerInfo {
            name: worker.spec.name.clone(),
            status: self.status(),
            trouble: trouble.filter(|_| is_recent || self.has_ended()),
        }
    }

    /// Tells it to end, and waits until it has.
    pub async fn stop(&self) {
        self.worker.stopping.cancel();
        self.ended().await;
    }

    /// Waits until it has ended, one way or the other.
    pub async fn ended(&self) -> WorkerStatus {
        let mut status = self.worker.status.subscribe();
        let ended = |status: &WorkerStatus| {
            matches!(status, WorkerStatus::Stopped | WorkerStatus::Failed { .. })
        };
        let last = status.wait_for(ended).await;
        last.map_or(WorkerStatus::Stopped, |status| status.clone())
    }

    fn abandon(&self) {
        let worker = &self.worker;
        worker.stopping.cancel();
        let ended = |status: &WorkerStatus| {
            matches!(status, WorkerStatus::Stopped | WorkerStatus::Failed { .. })
        };
        worker.status.send_if_modified(|status| {
            let goes_on = !ended(status);
            if goes_on {
                *status = WorkerStatus::Stopped;
            }
            goes_on
        });
        if let Some(actor) = worker.actor.lock().take() {
            actor.kill();
        }
    }

    fn has_ended(&self) -> bool {
        matches!(
            self.status(),
            WorkerStatus::Stopped | WorkerStatus::Failed { .. }
        )
    }
}

struct Worker {
    spec: WorkerSpec,
    make: Box<Make>,
    stopping: CancellationToken,
    status: watch::Sender<WorkerStatus>,
    lives: Mutex<Lives>,
    /// The actor of its present life.
    actor: Mutex<Option<ActorCell>>,
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    jitter: Arc<Jitter>,
}

#[derive(Default)]
struct Lives {
    count: u32,
    budget: RestartBudget,
    trouble: Option<WorkerTrouble>,
    /// When it failed last.
    failed_at: Option<Instant>,
}

impl Lives {
    /// Whether it failed within the time over which failures are counted.
    fn is_in_trouble(&self, now: Instant, policy: &RestartPolicy) -> bool {
        let since = self.failed_at.map(|at| now.saturating_duration_since(at));
        since.is_some_and(|since| since <= policy.within)
    }

    /// Counts a failure; what is to become of the worker, and how often it failed in a row.
    fn failed(
        &mut self,
        now: Instant,
        date: Timestamp,
        reason: &str,
        policy: &RestartPolicy,
    ) -> (Fate, u32) {
        let fate = self.budget.spend(now, policy);
        let goes_on = self.is_in_trouble(now, policy);
        let before = self.trouble.take().filter(|_| goes_on);
        let (failures, since) = before.map_or((0, date), |t| (t.failures, t.since));
        self.failed_at = Some(now);
        let failures = failures.saturating_add(1);
        self.trouble = Some(WorkerTrouble {
            reason: reason.to_owned(),
            failures,
            since,
            last: date,
        });
        (fate, failures)
    }
}

impl Worker {
    fn start(self: Arc<Self>) {
        if self.stopping.is_cancelled() {
            self.status.send_replace(WorkerStatus::Stopped);
            return;
        }
        self.lives.lock().count += 1;
        self.status.send_replace(WorkerStatus::Running);
        let spawned = ActorRuntime::spawn_linked_instant(
            None,
            Hosting,
            Arc::clone(&self),
            self.supervisor.cell(),
        );
        match spawned {
            Ok((actor, _)) => {
                *self.actor.lock() = Some(actor.get_cell());
                self.supervisor
                    .watch(actor.get_id(), Arc::clone(&self) as Arc<dyn Supervised>);
                // A mailbox that is gone means that the runtime is.
                drop(actor.send_message(Run));
            }
            Err(error) => {
                self.status.send_replace(WorkerStatus::Failed {
                    reason: error.to_string(),
                });
            }
        }
    }
}

impl Supervised for Worker {
    fn died(self: Arc<Self>, reason: String) {
        let (now, date) = (self.clock.monotonic(), self.clock.now());
        let mut lives = self.lives.lock();
        let (fate, failures) = lives.failed(now, date, &reason, &self.spec.restart);
        drop(lives);
        let name = &self.spec.name;
        match fate {
            Fate::GiveUp => {
                tracing::error!(
                    worker = name,
                    reason,
                    failures,
                    "a worker failed more often than it may and is given up"
                );
                self.status.send_replace(WorkerStatus::Failed { reason });
            }
            Fate::Restart(backoff) => {
                if is_worth_a_warning(failures) {
                    tracing::warn!(
                        worker = name,
                        reason,
                        failures,
                        "a worker failed and is started again"
                    );
                } else {
                    tracing::debug!(
                        worker = name,
                        reason,
                        failures,
                        "a worker failed and is started again"
                    );
                }
                let wait = self.jitter.shorten(backoff);
                self.status
                    .send_replace(WorkerStatus::Restarting { reason });
                self.clone().tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = self.clock.sleep(wait) => {}
                        () = self.stopping.cancelled() => {}
                    }
                    self.start();
                });
            }
        }
    }
}

struct Run;

struct Hosting;

impl Actor for Hosting {
    type Msg = Run;
    type State = Arc<Worker>;
    type Arguments = Arc<Worker>;

    async fn pre_start(
        &self,
        _: ActorRef<Run>,
        worker: Arc<Worker>,
    ) -> Result<Arc<Worker>, ActorProcessingErr> {
        Ok(worker)
    }

    async fn handle(
        &self,
        myself: ActorRef<Run>,
        _: Run,
        worker: &mut Arc<Worker>,
    ) -> Result<(), ActorProcessingErr> {
        let life = worker.lives.lock().count;
        let context = WorkerContext {
            stopping: worker.stopping.clone(),
            life,
            jitter: Arc::clone(&worker.jitter),
        };
        // In a task of its own: the actor library gives an actor a span that lives as long as it does, and everything that
        // a worker sets in motion would lie under it.
        let work = AbortOnDropHandle::new(worker.tasks.on_its_own((worker.make)(context)));
        match work.await {
            Ok(ended) => ended?,
            Err(lost) => {
                let reason = match lost.try_into_panic() {
                    Ok(panic) => panic_text(panic.as_ref()).to_owned(),
                    Err(lost) => lost.to_string(),
                };
                return Err(WorkerError(reason).into());
            }
        }
        worker.status.send_replace(WorkerStatus::Stopped);
        myself.stop(None);
        Ok(())
    }
}

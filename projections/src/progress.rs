//! What a projection's worker, its view and those who wait share: how far it has come, and how it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_runtime::{Clock, WorkerHandle, WorkerStatus};
use chronicler_store::Store;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{ViewError, WaitError};
use crate::parked::facts_name;
use crate::status::{ProjectionInfo, ProjectionStatus, StartProgress, UNHEALTHY_AFTER, Unhealthy};
use crate::waiting::{Ended, Waiting};

/// How the worker is, as far as others need to know.
#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Running,
    Retrying {
        position: GlobalPosition,
        tries: u32,
        reason: Arc<str>,
    },
    /// As many events are set aside as may be.
    Full(Arc<str>),
    Restarting(Arc<str>),
    Ended(Ended),
}

/// What says whether the view moves.
#[derive(Clone, Copy, Debug, Default)]
struct Motion {
    oldest: Option<Oldest>,
    /// When the view last came further.
    moved_at: Option<Instant>,
    /// When its worker last went away, or could not go on.
    halted_at: Option<Instant>,
}

/// The first event that was read and is not folded.
#[derive(Clone, Copy, Debug)]
struct Oldest {
    position: GlobalPosition,
    /// Its date.
    happened: Timestamp,
    /// Since when it is the first.
    since: Instant,
}

/// The numbers that only grow or are set by the worker.
#[derive(Default)]
struct Counters {
    published: AtomicU64,
    folding: AtomicU64,
    target: AtomicU64,
    folded: AtomicU64,
    parked: AtomicU64,
    skipped: AtomicU64,
    restarts: AtomicU64,
    /// Zero: none is running; else one more than how far it has come.
    rebuild: AtomicU64,
}

/// The shared state of one projection.
pub(crate) struct Progress {
    pub(crate) name: Arc<str>,
    pub(crate) version: u32,
    ready: AtomicBool,
    /// True once the view has answered, in this life of the application, though it may have been lost since.
    was_ready: AtomicBool,
    counters: Counters,
    phase: Mutex<Phase>,
    motion: Mutex<Motion>,
    /// Under which name the facts of the view are kept.
    facts: Mutex<Arc<str>>,
    waiting: Waiting,
    /// Knows when the worker has used up its restarts.
    worker: OnceLock<WorkerHandle>,
    /// Marked whenever something changed that a start or a stop waits for.
    changed: watch::Sender<()>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Progress {
    pub(crate) fn new(
        name: &str,
        version: u32,
        changed: watch::Sender<()>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let progress = Self {
            name: name.into(),
            version,
            ready: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            counters: Counters::default(),
            phase: Mutex::default(),
            motion: Mutex::default(),
            facts: Mutex::new(facts_name(name, 0)),
            waiting: Waiting::default(),
            worker: OnceLock::new(),
            changed,
            store,
            clock,
        };
        let head = progress.head().get();
        progress.counters.target.store(head, Ordering::Release);
        progress
    }

    /// The last durable position of the log.
    pub(crate) fn head(&self) -> GlobalPosition {
        self.store.head().position
    }

    /// The last position that the view shows.
    pub(crate) fn published(&self) -> GlobalPosition {
        load(&self.counters.published)
    }

    /// The head found at open: where the view begins to answer.
    pub(crate) fn target(&self) -> GlobalPosition {
        load(&self.counters.target)
    }

    /// How far the fold has come.
    pub(crate) fn folding_at(&self) -> GlobalPosition {
        load(&self.counters.folding)
    }

    /// Whether the view answers.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// True once the view has answered since the application began.
    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::Acquire)
    }

    /// Notes how far the fold has come while nothing is published yet.
    pub(crate) fn folding(&self, position: GlobalPosition) {
        store(&self.counters.folding, position.get());
        self.motion.lock().moved_at = Some(self.clock.monotonic());
        self.note();
    }

    /// Notes that the view now shows everything up to `position`, of which `folded` events are new. The view
    /// itself must already do so.
    pub(crate) fn publish(&self, position: GlobalPosition, folded: u64) {
        if position > self.published() {
            self.motion.lock().moved_at = Some(self.clock.monotonic());
        }
        store(&self.counters.published, position.get());
        store(&self.counters.folding, position.get());
        self.counters.folded.fetch_add(folded, Ordering::Relaxed);
        self.waiting.reached(position);
    }

    /// Notes that what the view showed is gone. It answers again when it shows all that there is now, so that
    /// nobody goes back in time.
    pub(crate) fn lost(&self) {
        self.ready.store(false, Ordering::Release);
        store(&self.counters.folding, 0);
        store(&self.counters.target, self.head().get());
        self.note();
    }

    /// Notes which event is the first that was read and is not folded, and when it happened.
    pub(crate) fn oldest_is(&self, oldest: Option<(GlobalPosition, Timestamp)>) {
        let mut motion = self.motion.lock();
        let before = motion.oldest;
        motion.oldest = oldest.map(|(position, happened)| Oldest {
            position,
            happened,
            since: match before {
                Some(before) if before.position == position => before.since,
                _ => self.clock.monotonic(),
            },
        });
    }

    /// Notes under which name the facts of the view are kept.
    pub(crate) fn facts_are(&self, name: &Arc<str>) {
        *self.facts.lock() = Arc::clone(name);
    }

    /// Under which name the facts of the view are kept.
    pub(crate) fn facts(&self) -> Arc<str> {
        Arc::clone(&self.facts.lock())
    }

    /// Notes that the view answers from now on, and shows everything up to `position`.
    pub(crate) fn ready(&self, position: GlobalPosition, folded: u64) {
        store(&self.counters.published, position.get());
        // Before anyone is woken: who was waiting reads the view next.
        self.ready.store(true, Ordering::Release);
        self.was_ready.store(true, Ordering::Release);
        self.publish(position, folded);
        self.note();
    }

    /// Takes the worker, once.
    pub(crate) fn supervised_by(&self, worker: WorkerHandle) {
        // It is set right after the one call that starts the worker.
        drop(self.worker.set(worker));
    }

    pub(crate) fn running(&self) {
        self.motion.lock().halted_at = None;
        *self.phase.lock() = Phase::Running;
    }

    /// Notes that a life of the worker begins, and gives why the last one ended.
    pub(crate) fn began(&self) -> Option<Arc<str>> {
        self.motion.lock().halted_at = None;
        match std::mem::take(&mut *self.phase.lock()) {
            Phase::Restarting(reason) => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn retrying(&self, position: GlobalPosition, tries: u32, reason: Arc<str>) {
        self.motion.lock().halted_at = None;
        *self.phase.lock() = Phase::Retrying {
            position,
            tries,
            reason,
        };
    }

    /// Notes that nothing more is read until something that is set aside is taken up.
    pub(crate) fn full(&self, reason: Arc<str>) {
        self.halted();
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Full(_)) {
            tracing::error!(projection = %self.name, %reason, "a projection stands still");
        }
        *phase = Phase::Full(reason);
    }

    pub(crate) fn restarting(&self, reason: Arc<str>) {
        self.counters.restarts.fetch_add(1, Ordering::Relaxed);
        self.halted();
        *self.phase.lock() = Phase::Restarting(reason);
    }

    fn halted(&self) {
        let mut motion = self.motion.lock();
        motion.halted_at.get_or_insert(self.clock.monotonic());
    }

    /// Notes that the worker will not go on, and tells all who wait. The first end stands.
    pub(crate) fn end(&self, ended: Ended) {
        self.halted();
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Ended(_)) {
            *phase = Phase::Ended(ended.clone());
        }
        drop(phase);
        self.waiting.end(&ended);
        self.note();
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<Ended> {
        if let Phase::Ended(ended) = &*self.phase.lock() {
            return Some(ended.clone());
        }
        match self.worker.get()?.status() {
            WorkerStatus::Failed { reason } => Some(Ended::Failed(reason.into())),
            WorkerStatus::Stopped => Some(Ended::Stopped),
            _ => None,
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn end_of_worker(&self) -> Ended {
        match self.worker.get() {
            Some(worker) => drop(worker.ended().await),
            None => std::future::pending().await,
        }
        self.ended().unwrap_or(Ended::Stopped)
    }

    pub(crate) fn set_aside(&self, parked: u64, skipped: u64) {
        store(&self.counters.parked, parked);
        store(&self.counters.skipped, skipped);
    }

    /// Notes how far a rebuild has come; `None` when none runs.
    pub(crate) fn rebuilding(&self, at: Option<GlobalPosition>) {
        store(&self.counters.rebuild, at.map_or(0, |at| at.next().get()));
    }

    /// `Ok` once the view answers.
    pub(crate) fn answers(&self) -> Result<(), ViewError> {
        if self.is_ready() {
            return Ok(());
        }
        Err(self.not_ready())
    }

    /// Why the view does not answer.
    pub(crate) fn not_ready(&self) -> ViewError {
        let name = self.name.clone();
        match self.ended() {
            Some(Ended::Failed(reason)) => ViewError::Failed { name, reason },
            _ => ViewError::Rebuilding {
                name,
                at: load(&self.counters.folding),
                of: self.target(),
            },
        }
    }

    /// Waits until the view shows `position`, at most `within`.
    pub(crate) async fn reach(
        &self,
        position: GlobalPosition,
        within: Duration,
    ) -> Result<(), WaitError> {
        if self.is_ready() && self.published() >= position {
            return Ok(());
        }
        let head = self.head();
        if position > head {
            return Err(WaitError::BeyondHead { position, head });
        }
        let name = || self.name.clone();
        let Some(mut wait) = self.waiting.enter(position) else {
            return Err(WaitError::Overloaded {
                name: name(),
                waiting: self.waiting.len(),
            });
        };
        // Looked at again after entering: a publication or an end in between has not seen this wait.
        if self.is_ready() && self.published() >= position {
            return Ok(());
        }
        let ended = match self.ended() {
            Some(ended) => ended,
            None => tokio::select! {
                biased;
                answer = wait.answered() => match answer {
                    Ok(()) => return Ok(()),
                    Err(ended) => ended,
                },
                ended = self.end_of_worker() => ended,
                () = self.clock.sleep(within) => {
                    return Err(WaitError::TimedOut {
                        name: name(),
                        position,
                        published: self.published(),
                        waited: within,
                    });
                }
            },
        };
        let published = self.published();
        Err(match ended {
            Ended::Stopped => WaitError::Stopped {
                name: name(),
                position,
                published,
            },
            Ended::Failed(reason) => WaitError::Failed {
                name: name(),
                position,
                published,
                reason,
            },
        })
    }

    pub(crate) fn start_progress(&self) -> StartProgress {
        StartProgress {
            name: self.name.clone(),
            at: load(&self.counters.folding),
            of: self.target(),
            ready: self.is_ready(),
        }
    }

    pub(crate) fn info(&self) -> ProjectionInfo {
        // Read before the head, so that the lag is never below zero.
        let position = self.published();
        let head = self.head();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let status = self.status();
        let motion = *self.motion.lock();
        let oldest = motion.oldest.filter(|_| position < head);
        ProjectionInfo {
            name: self.name.clone(),
            version: self.version,
            lag: oldest.map(|oldest| self.clock.now().since(oldest.happened)),
            unhealthy: unhealthy(&motion, &status, position, head, self.clock.monotonic()),
            status,
            position,
            head,
            lag_events: head.get().saturating_sub(position.get()),
            folded_events: count(&self.counters.folded),
            parked_events: count(&self.counters.parked),
            skipped_events: count(&self.counters.skipped),
            waiting: self.waiting.len(),
            restarts: count(&self.counters.restarts),
            rebuilding: count(&self.counters.rebuild)
                .checked_sub(1)
                .map(GlobalPosition::new),
        }
    }

    fn status(&self) -> ProjectionStatus {
        let phase = match self.ended() {
            Some(ended) => Phase::Ended(ended),
            None => self.phase.lock().clone(),
        };
        match phase {
            Phase::Running if self.is_ready() => ProjectionStatus::Running,
            Phase::Running => ProjectionStatus::CatchingUp {
                at: load(&self.counters.folding),
                of: self.target(),
            },
            Phase::Retrying {
                position,
                tries,
                reason,
            } => ProjectionStatus::Retrying {
                position,
                tries,
                reason,
            },
            Phase::Full(reason) => ProjectionStatus::Full { reason },
            Phase::Restarting(reason) => ProjectionStatus::Restarting { reason },
            Phase::Ended(Ended::Stopped) => ProjectionStatus::Stopped,
            Phase::Ended(Ended::Failed(reason)) => ProjectionStatus::Failed { reason },
        }
    }

    fn note(&self) {
        self.changed.send_replace(());
    }
}

/// What holds a view up that is behind and has not moved for a while.
fn unhealthy(
    motion: &Motion,
    status: &ProjectionStatus,
    position: GlobalPosition,
    head: GlobalPosition,
    now: Instant,
) -> Option<Unhealthy> {
    // An event that nobody has read yet is on its way, unless there is nobody to read it.
    let (at, since) = match (motion.oldest, motion.halted_at) {
        (Some(oldest), _) => (oldest.position, oldest.since),
        (None, Some(halted_at)) => (position.next(), halted_at),
        (None, None) => return None,
    };
    let since = motion
        .moved_at
        .map_or(since, |moved_at| since.max(moved_at));
    // By the clock that nobody sets.
    let still_for = now.saturating_duration_since(since);
    let is_behind = position < head;
    (is_behind && still_for >= UNHEALTHY_AFTER).then(|| Unhealthy {
        position: at,
        still_for,
        reason: status.reason().cloned(),
    })
}

fn load(counter: &AtomicU64) -> GlobalPosition {
    GlobalPosition::new(counter.load(Ordering::Acquire))
}

fn store(counter: &AtomicU64, value: u64) {
    counter.store(value, Ordering::Release);
}

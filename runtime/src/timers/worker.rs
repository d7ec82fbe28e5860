//! The one worker that fires the timers that are due.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::Timestamp;
use chronicler_store::{FactKind, FactQuery, Store};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock_steps::ClockSteps;
use super::due::{DueTimers, TIMERS_READ_MAX};
use super::fact::{FiredTimer, TimerWait, due_of_timer, owner_of_timer};
use super::foreign::ForeignTimers;
use crate::backoff::{Backoff, Jitter};
use crate::clock::{Clock, later};
use crate::options::RestartPolicy;
use crate::workers::{WorkerContext, WorkerError, WorkerSpec, Workers};

/// Handlers at work at a time; one that hangs leaves the others their places.
const TIMERS_AT_WORK_MAX: usize = 256;
/// The wait before a timer whose handler failed is fired again; it doubles up to the maximum.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));

/// Called when a timer of its owner is due.
pub trait TimerHandler: Send + Sync + 'static {
    /// Handles it and commits the removal of its fact. As long as the fact is there it is called again, with
    /// growing waits; so it must be idempotent.
    fn fire(&self, timer: FiredTimer) -> BoxFuture<'static, Result<(), String>>;
}

/// The timers of one runtime.
#[derive(Clone)]
pub struct Timers {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    jitter: Arc<Jitter>,
    handlers: Mutex<HashMap<String, Arc<dyn TimerHandler>>>,
    changed: Notify,
    /// It is looked again when the wall clock shows this, in microseconds, at the latest; 0 while that is not known.
    looks_at: AtomicU64,
    /// Since the last look timers were armed that are due then, in microseconds, and later.
    armed_from: AtomicU64,
    steps: Mutex<ClockSteps>,
}

impl Timers {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, jitter: Arc<Jitter>) -> Self {
        let (handlers, changed) = (Mutex::default(), Notify::new());
        let steps = ClockSteps::new(clock.monotonic(), clock.now(), store.head().sequence);
        Self {
            inner: Arc::new(Inner {
                store,
                clock,
                jitter,
                handlers,
                changed,
                looks_at: AtomicU64::new(0),
                armed_from: AtomicU64::new(u64::MAX),
                steps: Mutex::new(steps),
            }),
        }
    }

    /// Who handles the timers of an owner. Those that are due already fire soon after.
    pub fn handle(&self, owner: &str, handler: Arc<dyn TimerHandler>) {
        self.inner.handlers.lock().insert(owner.to_owned(), handler);
        // After the owner is there: the look that sees this sees the owner.
        self.inner.armed_from.store(0, Ordering::Release);
        self.inner.changed.notify_one();
    }

    /// Whether somebody handles the timers of an owner.
    pub fn handles(&self, owner: &str) -> bool {
        self.inner.handlers.lock().contains_key(owner)
    }

    /// A timer was armed, durably, that is due then: look again, unless that is done by then anyway. A hint; a forgotten
    /// one costs at most the time until the next look, and ten minutes if the timer lies among those of owners that nobody
    /// handles.
    pub fn notice(&self, due: Timestamp) {
        self.inner
            .armed_from
            .fetch_min(due.as_micros(), Ordering::AcqRel);
        let looks_at = self.inner.looks_at.load(Ordering::Acquire);
        if looks_at == 0 || due.as_micros() < looks_at {
            self.inner.changed.notify_one();
        }
    }

    /// Lets go of all handlers, which know the runtime that these are the timers of.
    pub(crate) fn forget_handlers(&self) {
        let handlers = std::mem::take(&mut *self.inner.handlers.lock());
        drop(handlers);
    }

    /// Notices whether the wall clock was set. Whoever arms timers calls it just before the commit that does: from
    /// where the log then ends its dates are those of the clock as it is now. Timers of commits that were on their way
    /// to the log when the clock was set may be early or late by as much.
    pub fn compare_clocks(&self) {
        self.clocks();
    }

    /// What both clocks show, having looked whether one was set.
    fn clocks(&self) -> (Instant, Timestamp) {
        let inner = &self.inner;
        let (monotonic, wall) = (inner.clock.monotonic(), inner.clock.now());
        let mut steps = inner.steps.lock();
        // Asked under the lock: a step belongs to one place in the log.
        let was_set = steps.look(monotonic, wall, inner.store.head().sequence);
        drop(steps);
        if was_set {
            // The date of the next look is one of the clock as it was: what is armed from now on may be due before it.
            inner.looks_at.store(0, Ordering::Release);
            inner.changed.notify_one();
        }
        (monotonic, wall)
    }

    pub(crate) fn start(&self, workers: &Workers) {
        let timers = self.clone();
        let spec = WorkerSpec {
            name: "timers".to_owned(),
            restart: RestartPolicy {
                backoff_min: RETRY.first,
                ..RestartPolicy::default()
            },
        };
        workers.spawn(spec, move |context| timers.clone().run(context).boxed());
    }

    /// Looks which timers are due, has them handled, and sleeps until the next may be.
    async fn run(self, context: WorkerContext) -> Result<(), WorkerError> {
        let inner = &self.inner;
        let stopping = context.stopping();
        let mut at_work = FuturesUnordered::new();
        let (mut due, mut foreign) = (DueTimers::default(), ForeignTimers::default());
        loop {
            if due.is_to_be_read() {
                inner.looks_at.store(0, Ordering::Release);
                self.read(&mut due, &mut foreign)
                    .await
                    .map_err(WorkerError)?;
                let looks_at = due.next.certainly_at().as_micros();
                inner.looks_at.store(looks_at, Ordering::Release);
            }
            while at_work.len() < TIMERS_AT_WORK_MAX
                && let Some((timer, is_fresh)) = due.take()
            {
                let handler = inner.handlers.lock().get(&timer.owner).cloned();
                let Some(handler) = handler else { continue };
                due.begins(&timer);
                at_work.push(fire(Arc::clone(&inner.store), handler, timer, is_fresh));
            }
            due.age();
            let is_waiting = due.waits_for_a_time();
            let by = due.next.by.filter(|_| is_waiting);
            let at = is_waiting
                .then_some(due.next.at)
                .filter(|at| *at < Timestamp::MAX);
            let left = by.map(|by| by.saturating_duration_since(inner.clock.monotonic()));
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(first) = at_work.next(), if !at_work.is_empty() => {
                    // Whatever else has ended until now, before others begin.
                    let mut ended = Some(first);
                    while let Some((key, result)) = ended {
                        let wait = |attempts| RETRY.wait(attempts, &inner.jitter);
                        due.ended(key, result, inner.clock.monotonic(), wait);
                        ended = at_work.next().now_or_never().flatten();
                    }
                }
                () = inner.changed.notified() => due.look(),
                () = inner.clock.sleep(left.unwrap_or_default()), if left.is_some() => due.look(),
                () = inner.clock.sleep_until(at.unwrap_or_default()), if at.is_some() => due.look(),
            }
        }
        while at_work.next().await.is_some() {}
        Ok(())
    }

    /// Reads which timers are due, and when it is to be looked again. Timers that nobody handles, that are being handled,
    /// or that failed and have to wait are passed over, not in the way: pages go on after them. Nothing is read after one
    /// that is not due, whoever handles it.
    async fn read(&self, due: &mut DueTimers, foreign: &mut ForeignTimers) -> Result<(), String> {
        let (monotonic, wall) = self.clocks();
        let reach = self.inner.steps.lock().reach(monotonic, wall);
        let armed_from = self.inner.armed_from.swap(u64::MAX, Ordering::AcqRel);
        let owners: HashSet<String> = self.inner.handlers.lock().keys().cloned().collect();
        let mut after = foreign.begin(Timestamp::from_micros(armed_from), monotonic);
        let mut is_all_foreign = true;
        // Most looks find one or none that is due.
        let mut limit = due.first_page();
        due.begin_look();
        loop {
            let query = FactQuery {
                after: after.clone(),
                limit,
                ..FactQuery::all(FactKind::TIMER)
            };
            let facts = self.inner.store.facts(query).await;
            let facts = facts.map_err(|error| error.to_string())?;
            let is_last = facts.len() < limit;
            limit = TIMERS_READ_MAX;
            for fact in facts {
                after = Some(fact.key.clone());
                let is_ours = |owner| owners.contains(owner);
                let timer = match owner_of_timer(&fact.key).is_some_and(is_ours) {
                    true => FiredTimer::read(fact.key, &fact.value),
                    false => None,
                };
                let Some(timer) = timer else {
                    if is_all_foreign {
                        after.clone().into_iter().for_each(|key| foreign.reach(key));
                    }
                    continue;
                };
                is_all_foreign = false;
                if timer.due > wall.plus(reach) {
                    due.next.look_when(timer.due, wall.plus(reach), monotonic);
                    due.end_look(None);
                    return Ok(());
                }
                let left = match timer.wait {
                    TimerWait::Date => None,
                    TimerWait::Duration => {
                        let steps = self.inner.steps.lock();
                        steps.left(timer.due, fact.sequence, (monotonic, wall))
                    }
                };
                match left {
                    None if timer.due > wall => due.next.look_at(timer.due),
                    Some(left) if !left.is_zero() => due.next.look_by(later(monotonic, left)),
                    _ => due.found(timer, monotonic),
                }
            }
            if is_last || due.is_full() {
                // What lies after the last page was not looked at.
                due.end_look(after.filter(|_| !is_last));
                return Ok(());
            }
            let last = after.as_deref().and_then(due_of_timer).unwrap_or_default();
            if last > wall.plus(reach) {
                // One that nobody handles; ours are not due before it.
                due.next.look_when(last, wall.plus(reach), monotonic);
                due.end_look(None);
                return Ok(());
            }
        }
    }
}

/// Has a timer handled, and gives its key with what came of it. One that was not read just now may have been disarmed since.
async fn fire(
    store: Arc<dyn Store>,
    handler: Arc<dyn TimerHandler>,
    timer: FiredTimer,
    is_fresh: bool,
) -> (Bytes, Result<(), String>) {
    let key = timer.key.clone();
    let firing = async move {
        if !is_fresh {
            let found = store.fact(FactKind::TIMER, timer.key.clone()).await;
            if found.map_err(|error| error.to_string())?.is_none() {
                return Ok(());
            }
        }
        handler.fire(timer).await
    };
    let result = AssertUnwindSafe(firing).catch_unwind().await;
    let panicked = |_| Err("the handler panicked".to_owned());
    (key, result.unwrap_or_else(panicked))
}

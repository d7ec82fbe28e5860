//! Durable timers: facts in the log that come due by the clock. Their owners arm and disarm them by commits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::Timestamp;
use chronicler_store::{FactKind, FactQuery, Store};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::backoff::{Backoff, Jitter, is_worth_a_warning};
use crate::clock::Clock;
use crate::clock_steps::ClockSteps;
use crate::options::RestartPolicy;
use crate::workers::{WorkerContext, WorkerError, WorkerSpec, Workers};

/// Timers that are looked at together.
const TIMERS_READ_MAX: usize = 1_024;
/// Handlers at work at a time; one that hangs leaves the others their places.
const TIMERS_AT_WORK_MAX: usize = 256;
/// The wait before a timer whose handler failed is fired again; it doubles up to the maximum.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));

/// The key of a timer's fact: when it is due, whose it is, and which one.
///
/// `owner` must not contain a NUL; by convention it is what handlers register for, such as `saga:order`.
pub fn timer_key(due: Timestamp, owner: &str, name: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(9 + owner.len() + name.len());
    key.extend_from_slice(&due.as_micros().to_be_bytes());
    key.extend_from_slice(owner.as_bytes());
    key.push(0);
    key.extend_from_slice(name);
    key.into()
}

/// Whose timer a fact's key is; `None` if it is no timer's.
pub fn owner_of_timer(key: &[u8]) -> Option<&str> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    let nul = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(rest.get(..nul)?).ok()
}

/// What a timer waits for: the value of its fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWait {
    /// For a while since it was armed. As long as the process lives that is measured by the monotonic clock, whatever
    /// the wall clock is set to; after a restart, when nobody knows how long the process was away, by the date.
    Duration,
    /// For a date: whenever the wall clock shows it.
    Date,
}

impl TimerWait {
    /// The value of the fact.
    pub fn value(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Duration => b"",
            Self::Date => b"D",
        })
    }

    fn read(value: &[u8]) -> Self {
        match value {
            b"D" => Self::Date,
            _ => Self::Duration,
        }
    }
}

/// A timer that has come due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiredTimer {
    /// The key of its fact, which the owner's commit must remove.
    pub key: Bytes,
    /// When it was due.
    pub due: Timestamp,
    /// Whose it is.
    pub owner: String,
    /// Which one.
    pub name: Bytes,
    /// What it waited for.
    pub wait: TimerWait,
}

impl FiredTimer {
    fn read(key: Bytes, value: &[u8]) -> Option<Self> {
        let (due, rest) = key.split_first_chunk::<8>()?;
        let nul = rest.iter().position(|byte| *byte == 0)?;
        let owner = std::str::from_utf8(rest.get(..nul)?).ok()?.to_owned();
        let name = Bytes::copy_from_slice(rest.get(nul + 1..)?);
        let due = Timestamp::from_micros(u64::from_be_bytes(*due));
        Some(Self {
            due,
            owner,
            name,
            wait: TimerWait::read(value),
            key,
        })
    }
}

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
    steps: Mutex<ClockSteps>,
}

/// When the timers are to be looked at again.
struct Next {
    /// After so long; `None`: not for that.
    within: Option<Duration>,
    /// When the wall clock shows this.
    at: Timestamp,
}

impl Next {
    const NEVER: Self = Self {
        within: None,
        at: Timestamp::MAX,
    };

    fn look_after(&mut self, wait: Duration) {
        self.within = Some(self.within.map_or(wait, |within| within.min(wait)));
    }

    fn look_at(&mut self, at: Timestamp) {
        self.at = self.at.min(at);
    }
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
                steps: Mutex::new(steps),
            }),
        }
    }

    /// Who handles the timers of an owner. Those that are due already fire soon after.
    pub fn handle(&self, owner: &str, handler: Arc<dyn TimerHandler>) {
        self.inner.handlers.lock().insert(owner.to_owned(), handler);
        self.inner.changed.notify_one();
    }

    /// Whether somebody handles the timers of an owner.
    pub fn handles(&self, owner: &str) -> bool {
        self.inner.handlers.lock().contains_key(owner)
    }

    /// A timer was armed, durably: look again. A hint; a forgotten one costs at most the time until the next
    /// look.
    pub fn notice(&self, _due: Timestamp) {
        self.inner.changed.notify_one();
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
        steps.look(monotonic, wall, inner.store.head().sequence);
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

    async fn run(self, context: WorkerContext) -> Result<(), WorkerError> {
        let inner = &self.inner;
        let stopping = context.stopping();
        let mut at_work = FuturesUnordered::new();
        let mut busy: HashSet<Bytes> = HashSet::new();
        let mut failing: BTreeMap<Bytes, (u32, Instant)> = BTreeMap::new();
        loop {
            let clocks = self.clocks();
            let (due, next) = self
                .due(clocks, &busy, &mut failing)
                .await
                .map_err(WorkerError)?;
            for timer in due {
                let handler = inner.handlers.lock().get(&timer.owner).cloned();
                let Some(handler) = handler else { continue };
                if at_work.len() >= TIMERS_AT_WORK_MAX {
                    break;
                }
                busy.insert(timer.key.clone());
                let key = timer.key.clone();
                let fired = std::panic::AssertUnwindSafe(async move { handler.fire(timer).await });
                at_work.push(async move {
                    let result = fired.catch_unwind().await;
                    (
                        key,
                        result.unwrap_or_else(|_| Err("the handler panicked".to_owned())),
                    )
                });
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(first) = at_work.next(), if !at_work.is_empty() => {
                    // Whatever ended meanwhile as well, before it is looked again what is due.
                    let mut ended = Some(first);
                    while let Some((key, result)) = ended {
                        busy.remove(&key);
                        match result {
                            Ok(()) => { failing.remove(&key); }
                            Err(reason) => {
                                let (attempts, again) = failing.entry(key).or_insert((0, clocks.0));
                                *attempts = attempts.saturating_add(1);
                                *again = inner.clock.monotonic() + RETRY.wait(*attempts, &inner.jitter);
                                if is_worth_a_warning(*attempts) {
                                    tracing::warn!(reason, attempts = *attempts, "timer handler failed");
                                }
                            }
                        }
                        ended = at_work.next().now_or_never().flatten();
                    }
                }
                () = inner.changed.notified() => {}
                () = inner.clock.sleep(next.within.unwrap_or_default()), if next.within.is_some() => {}
                () = inner.clock.sleep_until(next.at), if next.at < Timestamp::MAX => {}
            }
        }
        while at_work.next().await.is_some() {}
        Ok(())
    }

    /// The timers that are due and to be fired now, and when it is to be looked again. Forgets of those that failed what is not
    /// there any more.
    async fn due(
        &self,
        clocks: (Instant, Timestamp),
        busy: &HashSet<Bytes>,
        failing: &mut BTreeMap<Bytes, (u32, Instant)>,
    ) -> Result<(Vec<FiredTimer>, Next), String> {
        // Timers that nobody handles, that are being handled, or that failed and have to wait are passed over, not in
        // the way: pages go on behind them.
        let (mut found, mut after, mut next) = (Vec::new(), None, Next::NEVER);
        let (monotonic, wall) = clocks;
        let reach = self.inner.steps.lock().reach(monotonic, wall);
        let mut still_failing = HashSet::new();
        let owners: HashSet<String> = self.inner.handlers.lock().keys().cloned().collect();
        loop {
            let query = FactQuery {
                after: after.clone(),
                limit: TIMERS_READ_MAX,
                ..FactQuery::all(FactKind::TIMER)
            };
            let facts = self
                .inner
                .store
                .facts(query)
                .await
                .map_err(|error| error.to_string())?;
            let last_page = facts.len() < TIMERS_READ_MAX;
            for fact in facts {
                after = Some(fact.key.clone());
                let Some(timer) = FiredTimer::read(fact.key, &fact.value) else {
                    continue;
                };
                if !owners.contains(&timer.owner) {
                    continue;
                }
                if timer.due > wall.plus(reach) {
                    failing.retain(|key, _| still_failing.contains(key));
                    next.look_after(timer.due.since(wall.plus(reach)));
                    next.look_at(timer.due);
                    return Ok((found, next));
                }
                let left = match timer.wait {
                    TimerWait::Date => None,
                    TimerWait::Duration => {
                        let steps = self.inner.steps.lock();
                        steps.left(timer.due, fact.sequence, clocks)
                    }
                };
                match left {
                    None if timer.due > wall => {
                        next.look_at(timer.due);
                        continue;
                    }
                    Some(left) if !left.is_zero() => {
                        next.look_after(left);
                        continue;
                    }
                    _ => {}
                }
                let again = failing.get(&timer.key).map(|(_, again)| *again);
                if again.is_some() {
                    still_failing.insert(timer.key.clone());
                }
                match again.filter(|again| *again > monotonic) {
                    _ if busy.contains(&timer.key) => {}
                    Some(again) => next.look_after(again - monotonic),
                    None => found.push(timer),
                }
            }
            if last_page || found.len() >= TIMERS_READ_MAX {
                // What lies behind the last page was not looked at.
                failing.retain(|key, _| {
                    still_failing.contains(key)
                        || (!last_page && after.as_ref().is_some_and(|after| key > after))
                });
                return Ok((found, next));
            }
        }
    }
}

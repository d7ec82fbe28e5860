//! One view on its way through the log: reads a batch, folds it as often as it takes, shows it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{ParkedEvent, SetAside, Subscription, WorkerContext, record_parked};
use chronicler_store::{ReadError, RecordedCommit};

use super::setup::Setup;
use crate::error::RunError;
use crate::failure::{AfterRetries, EventFailure, Verdict};
use crate::fold::{Commits, Fold, FoldEnd, HeldEvent, Scope};
use crate::parked::{Ledger, PARKED_EVENTS_MAX};

/// What became of a batch.
pub(super) enum Absorbed {
    /// It is folded and published.
    All,
    /// The fold stands before the batch, which has to be read again.
    Again,
    /// The worker is to stop, with the batch not folded.
    Interrupted,
    /// The failure policy says that the view must not go on.
    Failed(Arc<str>),
}

/// One view on its way through the log.
pub(super) struct Track<F> {
    pub(super) fold: F,
    pub(super) ledger: Arc<Ledger>,
    subscription: Subscription,
    /// What was read and is not folded yet, and how far it reaches.
    pending: VecDeque<RecordedCommit>,
    pending_through: GlobalPosition,
    /// How often each event that failed since the last publication was tried.
    tries: BTreeMap<GlobalPosition, u32>,
}

/// Commits with how far they reach.
pub(super) struct Chunk {
    pub(super) commits: Vec<RecordedCommit>,
    pub(super) through: GlobalPosition,
}

impl<F: Fold> Track<F> {
    pub(super) fn new(setup: &Setup, fold: F, ledger: Ledger) -> Self {
        Self {
            subscription: setup.subscribe(fold.position()),
            pending: VecDeque::new(),
            pending_through: fold.position(),
            fold,
            ledger: Arc::new(ledger),
            tries: BTreeMap::new(),
        }
    }

    /// The next batch, of at most so many events; waits until there is one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self, events_max: usize) -> Result<Chunk, ReadError> {
        if self.pending.is_empty() {
            let batch = self.subscription.next().await?;
            self.pending = batch.commits.into();
            self.pending_through = batch.through;
        }
        let mut events = 0;
        let mut commits = Vec::new();
        while let Some(commit) = self.pending.front() {
            events += commit.event_count() as usize;
            if events > events_max && !commits.is_empty() {
                break;
            }
            commits.extend(self.pending.pop_front());
        }
        let through = match self.pending.front() {
            Some(next) => next.first_position().previous(),
            None => self.pending_through,
        };
        Ok(Chunk { commits, through })
    }

    /// Reads again, from where the fold stands.
    fn read_again(&mut self, setup: &Setup) {
        self.pending.clear();
        self.subscription = setup.subscribe(self.fold.position());
    }

    /// Folds a batch and publishes it. A stop ends a wait between two tries.
    pub(super) async fn absorb(
        &mut self,
        setup: &Setup,
        ctx: &WorkerContext,
        chunk: Chunk,
        mut published: impl FnMut(&mut F, u64) + Send,
    ) -> Result<Absorbed, RunError> {
        let commits: Commits = Arc::new(chunk.commits);
        let from = self.fold.position();
        loop {
            let scope = self.scope(setup);
            let folded = self.fold.fold(&scope, &commits, chunk.through).await;
            drop(scope);
            if let Some(reason) = self.hold(setup, folded.held).await? {
                return Ok(Absorbed::Failed(reason));
            }
            match folded.end {
                FoldEnd::All => break,
                FoldEnd::Full => {
                    let newly = self.fold.publish(&commits);
                    published(&mut self.fold, newly);
                    self.fold.flush().await?;
                }
                FoldEnd::Broken(error) => return Err(error),
                FoldEnd::Failed(failure) => {
                    let is_first = !self.tries.contains_key(&failure.position);
                    if is_first && self.fold.position() >= from {
                        let before = self.fold_before(setup, &commits, failure.position).await?;
                        if let Some(before) = before {
                            let newly = self.fold.publish(&before);
                            published(&mut self.fold, newly);
                        }
                    }
                    if let Some(absorbed) = self.failed(setup, ctx, failure).await? {
                        return Ok(absorbed);
                    }
                    if self.fold.position() < from {
                        self.read_again(setup);
                        return Ok(Absorbed::Again);
                    }
                }
            }
        }
        self.tries.clear();
        let newly = self.fold.publish(&commits);
        published(&mut self.fold, newly);
        if self.fold.wants_flush() {
            self.fold.flush().await?;
        }
        Ok(Absorbed::All)
    }

    /// Folds the whole commits before an event that failed, so that readers need not wait for its retries.
    /// Gives what there is to publish; never a part of a commit.
    async fn fold_before(
        &mut self,
        setup: &Setup,
        commits: &[RecordedCommit],
        position: GlobalPosition,
    ) -> Result<Option<Commits>, RunError> {
        let failed = commits
            .iter()
            .position(|commit| commit.last_position() >= position);
        let Some((whole, rest)) = failed.and_then(|at| commits.split_at_checked(at)) else {
            return Ok(None);
        };
        let boundary = rest
            .first()
            .map(|commit| commit.first_position().previous());
        let Some(boundary) = boundary.filter(|at| self.fold.position() <= *at) else {
            return Ok(None);
        };
        let whole: Commits = Arc::new(whole.to_vec());
        let scope = self.scope(setup);
        let folded = self.fold.fold(&scope, &whole, boundary).await;
        self.hold(setup, folded.held).await?;
        Ok(matches!(folded.end, FoldEnd::All).then_some(whole))
    }

    fn scope(&self, setup: &Setup) -> Scope {
        Scope {
            ledger: self.ledger.clone(),
            order_key: setup.options.order_key.clone(),
        }
    }

    /// Decides about an event that failed; `None` means: fold again.
    async fn failed(
        &mut self,
        setup: &Setup,
        ctx: &WorkerContext,
        failure: EventFailure,
    ) -> Result<Option<Absorbed>, RunError> {
        let tries = self.tries.entry(failure.position).or_insert(0);
        *tries += 1;
        let tries = *tries;
        let reason: Arc<str> = failure.reason.to_string().into();
        let position = failure.position;
        let name = &setup.progress.name;
        let cause = match setup.options.failure.after(tries, &failure.reason) {
            Verdict::RetryAfter(wait) => {
                tracing::warn!(projection = %name, %position, tries, %reason, "an event failed and is tried again");
                setup.progress.retrying(position, tries, reason);
                let stopping = ctx.stopping();
                let interrupted = tokio::select! {
                    biased;
                    () = setup.clock.sleep(ctx.jitter().shorten(wait)) => false,
                    () = stopping.cancelled() => true,
                };
                if interrupted {
                    return Ok(Some(Absorbed::Interrupted));
                }
                setup.progress.running();
                return Ok(None);
            }
            Verdict::Done(AfterRetries::Stop) => {
                let reason = format!("event {position} failed after {tries} tries: {reason}");
                return Ok(Some(Absorbed::Failed(reason.into())));
            }
            Verdict::Done(AfterRetries::Park) => SetAside::Parked,
            Verdict::Done(AfterRetries::Skip) => SetAside::Skipped,
        };
        tracing::error!(projection = %name, %position, tries, %reason, ?cause, "an event is set aside");
        let at = setup.clock.now();
        let event = ParkedEvent::new(position, failure.stream_key, failure.key, cause, at);
        let mut event = event.failed(&reason, tries, at);
        event.fingerprint = setup.fingerprint;
        let refused = self.set_aside(setup, vec![event]).await?;
        Ok(refused.map(Absorbed::Failed))
    }

    /// Sets aside events that have to wait behind others.
    async fn hold(
        &mut self,
        setup: &Setup,
        held: Vec<HeldEvent>,
    ) -> Result<Option<Arc<str>>, RunError> {
        if held.is_empty() {
            return Ok(None);
        }
        let at = setup.clock.now();
        let events = held.into_iter().map(|held| {
            let cause = SetAside::Held {
                behind: held.behind,
            };
            let mut event = ParkedEvent::new(held.position, held.stream_key, held.key, cause, at);
            event.fingerprint = setup.fingerprint;
            event
        });
        let events = events.collect();
        self.set_aside(setup, events).await
    }

    /// Records events as set aside, durably, before anything after them is published; a reason if there is no
    /// room for them.
    async fn set_aside(
        &mut self,
        setup: &Setup,
        events: Vec<ParkedEvent>,
    ) -> Result<Option<Arc<str>>, RunError> {
        if !self.ledger.has_room(events.len()) {
            let reason = format!(
                "more than {PARKED_EVENTS_MAX} events would be set aside: mend the projection, raise its VERSION and start again"
            );
            return Ok(Some(reason.into()));
        }
        let name = &setup.progress.name;
        record_parked(&*setup.store, &*setup.clock, name, &events).await?;
        let ledger = Arc::make_mut(&mut self.ledger);
        for event in &events {
            ledger.note(event);
        }
        Ok(None)
    }
}

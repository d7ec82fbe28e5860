//! One view on its way through the log: reads a batch, folds it, shows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_runtime::Subscription;
use chronicler_store::{ReadError, RecordedCommit};

use super::setup::Setup;
use crate::error::RunError;
use crate::failure::{EventFailure, Verdict};
use crate::fold::{Commits, Fold, FoldEnd, Scope};
use crate::ledger::Ledger;

/// What became of a batch.
pub(super) enum BatchEnd {
    /// It is folded and published.
    All,
    /// Some of it has to be folded again.
    Again,
    /// The failure policy says that the view must not go on.
    Failed(Arc<str>),
}

/// One view on its way through the log.
pub(super) struct Track<F> {
    pub(super) fold: F,
    pub(super) ledger: Arc<Ledger>,
    /// Under which name its facts are kept.
    pub(super) facts: Arc<str>,
    /// Whether what is set aside is recorded at once. A view in memory that nobody sees needs that only when it takes over.
    pub(super) is_recorded: bool,
    /// Before that time nothing is taken up, so that it does not cost the others more than a share.
    pub(super) rests_until: Option<Instant>,
    subscription: Subscription,
    /// What was read and is not folded yet, and how far it reaches.
    pending: VecDeque<RecordedCommit>,
    pending_through: GlobalPosition,
    /// The event in front of which the view stands until it is tried again, and how often it was.
    stopped_at: Option<(GlobalPosition, u32)>,
    resumes_at: Option<Instant>,
}

/// Commits with how far they reach.
pub(super) struct Chunk {
    pub(super) commits: Vec<RecordedCommit>,
    pub(super) through: GlobalPosition,
}

impl Chunk {
    /// The first event and when it happened; `None` if there is none.
    pub(super) fn oldest(&self) -> Option<(GlobalPosition, Timestamp)> {
        oldest(self.commits.first())
    }
}

fn oldest(commit: Option<&RecordedCommit>) -> Option<(GlobalPosition, Timestamp)> {
    commit.map(|commit| (commit.first_position(), commit.timestamp()))
}

impl<F: Fold> Track<F> {
    pub(super) fn new(setup: &Setup, fold: F, ledger: Ledger, is_visible: bool) -> Self {
        Self {
            subscription: setup.subscribe(fold.position()),
            pending: VecDeque::new(),
            pending_through: fold.position(),
            facts: setup.facts_name(fold.generation()),
            is_recorded: F::OUTLIVES || is_visible,
            fold,
            ledger: Arc::new(ledger),
            rests_until: None,
            stopped_at: None,
            resumes_at: None,
        }
    }

    /// The next batch, of at most so many events, and of no more than may be set aside, but for a longer commit; waits until
    /// there is one, and until an event that failed may be tried again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(
        &mut self,
        setup: &Setup,
        events_max: usize,
    ) -> Result<Chunk, ReadError> {
        if let Some(at) = self.resumes_at {
            setup.sleep_to(at).await;
            self.resumes_at = None;
        }
        if self.pending.is_empty() {
            let batch = self.subscription.next().await?;
            self.pending = batch.commits.into();
            self.pending_through = batch.through;
        }
        let events_max = events_max.min(self.room(setup));
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

    /// Whether it waits until an event may be tried again after which nothing is folded.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// The first event that was read and is not folded, and when it happened.
    pub(super) fn oldest(&self) -> Option<(GlobalPosition, Timestamp)> {
        oldest(self.pending.front())
    }

    /// Reads again, from where the fold stands.
    fn read_again(&mut self, setup: &Setup) {
        self.pending.clear();
        self.subscription = setup.subscribe(self.fold.position());
    }

    /// Folds a batch and publishes it.
    pub(super) async fn absorb(
        &mut self,
        setup: &Setup,
        chunk: Chunk,
        mut published: impl FnMut(&mut F, u64) + Send,
    ) -> Result<BatchEnd, RunError> {
        let commits: Commits = Arc::new(chunk.commits);
        let from = self.fold.position();
        loop {
            let scope = self.scope(setup);
            let folded = self.fold.fold(&scope, &commits, chunk.through).await;
            drop(scope);
            // Recorded before anything after them is published.
            self.set_aside(setup, folded.aside).await?;
            match folded.end {
                FoldEnd::All => break,
                FoldEnd::Full => {
                    self.settle_earlier(setup).await?;
                    let newly = self.fold.publish(&commits);
                    published(&mut self.fold, newly);
                    self.fold.flush().await?;
                }
                FoldEnd::Back => {
                    self.read_again(setup);
                    return Ok(BatchEnd::Again);
                }
                FoldEnd::Broken(error) => return Err(error),
                FoldEnd::Failed(failure) => {
                    let is_first = self.stopped_at.is_none_or(|(at, _)| at != failure.position);
                    if is_first && self.fold.position() >= from {
                        match self.fold_before(setup, &commits, failure.position).await? {
                            Before::Nothing => {}
                            Before::Folded(before) => {
                                self.settle_earlier(setup).await?;
                                let newly = self.fold.publish(&before);
                                published(&mut self.fold, newly);
                            }
                        }
                    }
                    return Ok(self.stop_or_wait(setup, failure, from, &commits));
                }
            }
        }
        self.stopped_at = None;
        self.settle_earlier(setup).await?;
        let newly = self.fold.publish(&commits);
        published(&mut self.fold, newly);
        if self.fold.wants_flush() {
            self.fold.flush().await?;
        }
        Ok(BatchEnd::All)
    }

    /// Folds the whole commits before an event that failed, so that readers need not wait for its retries.
    /// Gives what there is to publish; never a part of a commit.
    async fn fold_before(
        &mut self,
        setup: &Setup,
        commits: &[RecordedCommit],
        position: GlobalPosition,
    ) -> Result<Before, RunError> {
        let failed = commits
            .iter()
            .position(|commit| commit.last_position() >= position);
        let Some((whole, rest)) = failed.and_then(|at| commits.split_at_checked(at)) else {
            return Ok(Before::Nothing);
        };
        let boundary = rest
            .first()
            .map(|commit| commit.first_position().previous());
        let Some(boundary) = boundary.filter(|at| self.fold.position() <= *at) else {
            return Ok(Before::Nothing);
        };
        let whole: Commits = Arc::new(whole.to_vec());
        let scope = self.scope(setup);
        let folded = self.fold.fold(&scope, &whole, boundary).await;
        drop(scope);
        self.set_aside(setup, folded.aside).await?;
        Ok(match folded.end {
            FoldEnd::All => Before::Folded(whole),
            _ => Before::Nothing,
        })
    }

    fn scope(&self, setup: &Setup) -> Scope {
        Scope {
            ledger: self.ledger.clone(),
            order_key: setup.options.order_key.clone(),
            failure: setup.options.failure.clone(),
        }
    }

    /// Decides about an event after which nothing may be folded: it is tried again later, or the view ends here.
    fn stop_or_wait(
        &mut self,
        setup: &Setup,
        failure: EventFailure,
        from: GlobalPosition,
        commits: &[RecordedCommit],
    ) -> BatchEnd {
        let position = failure.position;
        let before = self.stopped_at.filter(|(at, _)| *at == position);
        let tries = before.map_or(1, |(_, tries)| tries + 1);
        let reason: Arc<str> = failure.reason.to_string().into();
        let Verdict::RetryAfter(wait) = setup.options.failure.after(tries, &failure.reason) else {
            let reason = format!("event {position} failed after {tries} tries: {reason}");
            return BatchEnd::Failed(reason.into());
        };
        let name = &setup.progress.name;
        tracing::warn!(projection = %name, %position, tries, %reason, "an event failed and is tried again; nothing after it is folded until then");
        setup.progress.retrying(position, tries, reason);
        self.stopped_at = Some((position, tries));
        self.resumes_at = Some(setup.after(setup.runtime.jitter().shorten(wait)));
        if self.fold.position() < from {
            self.read_again(setup);
        } else {
            for commit in commits.iter().rev() {
                self.pending.push_front(commit.clone());
            }
        }
        BatchEnd::Again
    }
}

/// What came before an event that failed.
enum Before {
    Nothing,
    Folded(Commits),
}

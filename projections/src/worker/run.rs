//! One run of a projection's worker: from where the view stands to the stop.

use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::WorkerContext;
use futures::future::BoxFuture;
use tracing::Instrument;

use super::aside;
use super::control::{Asked, Order, Verb};
use super::rebuild::Rebuild;
use super::retries::Retries;
use super::setup::Setup;
use super::track::{BatchEnd, Chunk, Track};
use crate::error::{ParkedError, RebuildError, RunError};
use crate::fold::Fold;
use crate::waiting::Ended;

/// Makes the view that a run begins with.
pub(crate) type Open<F> =
    Arc<dyn Fn() -> BoxFuture<'static, Result<F, RunError>> + Send + Sync + 'static>;

/// Runs until the worker is to stop or the projection fails for good; an error means: again, from where the
/// view stands.
pub(crate) async fn run<F: Fold>(
    setup: &Setup,
    open: &Open<F>,
    ctx: &WorkerContext,
) -> Result<(), RunError> {
    let mut fold = open().await?;
    let ledger = aside::load(setup, &mut fold).await?;
    let is_visible = setup.progress.is_ready();
    let mut run = Run {
        setup,
        ctx,
        main: Track::new(setup, fold, ledger, is_visible),
        rebuild: None,
        rebuild_is_next: false,
        retries: Retries::default(),
        has_others: true,
    };
    setup.progress.facts_are(&run.main.facts);
    setup.progress.folding(run.main.fold.position());
    began(setup, ctx, run.main.fold.position());
    run.try_all().await?;
    let failed = run.follow().await?;
    run.finish(failed).await
}

/// Tells who wants to know that a life begins.
fn began(setup: &Setup, ctx: &WorkerContext, position: GlobalPosition) {
    let (hooks, name) = (&setup.options.hooks, &setup.progress.name);
    match setup.progress.began() {
        Some(reason) if ctx.life() > 1 => hooks.restarted(name, position, &reason),
        _ => hooks.started(name, position),
    }
}

/// One run of a projection's worker.
pub(super) struct Run<'a, F> {
    pub(super) setup: &'a Setup,
    ctx: &'a WorkerContext,
    /// The view that answers.
    pub(super) main: Track<F>,
    /// To take the place of the main one.
    pub(super) rebuild: Option<Rebuild<F>>,
    /// Whether the rebuild is asked first when both have something.
    rebuild_is_next: bool,
    pub(super) retries: Retries,
    /// Whether views before the main one, and their facts, may still be there.
    has_others: bool,
}

/// What the loop woke up for.
enum Woken {
    Stop,
    Asked,
    Idle,
    Due,
    Main(Chunk),
    Rebuild(Chunk),
}

impl<F: Fold> Run<'_, F> {
    /// Follows the log until the stop; gives the reason if the projection fails for good.
    async fn follow(&mut self) -> Result<Option<Arc<str>>, RunError> {
        loop {
            self.become_ready().await?;
            self.heed().await?;
            self.take_up().await?;
            match self.wake().await? {
                Woken::Stop => return Ok(None),
                Woken::Asked | Woken::Due => {}
                Woken::Idle => self.main.fold.close().await?,
                Woken::Main(chunk) => {
                    if let Some(reason) = self.main_batch(chunk).await? {
                        return Ok(Some(reason));
                    }
                }
                Woken::Rebuild(chunk) => self.rebuild_batch(chunk).await?,
            }
            // A full log always has another batch, and others want to run on this thread, too.
            tokio::task::yield_now().await;
        }
    }

    /// Tries once what an earlier life has set aside: the code may have been mended since.
    async fn try_all(&mut self) -> Result<(), RunError> {
        self.main.make_all_due(self.setup);
        while !self.ctx.stopping().is_cancelled() {
            let taken = self.main.take_up(self.setup).await?;
            if taken.keys.is_empty() {
                break;
            }
            self.show(taken.newly);
            tokio::task::yield_now().await;
        }
        self.main.rests_until = None;
        self.count_set_aside();
        Ok(())
    }

    /// Tries what is due of what is set aside.
    async fn take_up(&mut self) -> Result<(), RunError> {
        let now = self.setup.clock.monotonic();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.main_takes_up_at()) {
            let taken = self.main.take_up(self.setup).await?;
            self.show(taken.newly);
            self.count_set_aside();
            self.retries.tried(&taken.keys, &self.main.ledger);
        }
        if let Some(rebuild) = &mut self.rebuild
            && is_due(rebuild.track.takes_up_at())
        {
            rebuild.track.take_up(self.setup).await?;
            self.switch_when_ready().await?;
        }
        Ok(())
    }

    /// Shows events that were taken up; the view stands where it did.
    fn show(&self, newly: u64) {
        if self.setup.progress.is_ready() && newly > 0 {
            let position = self.main.fold.position();
            self.setup.progress.publish(position, newly);
        }
    }

    /// When the main view takes something up next. While there is nothing to follow it need not rest.
    fn main_takes_up_at(&mut self) -> Option<Instant> {
        self.main.ledger.next_due(self.main.fold.position())?;
        if self.main.fold.position() >= self.setup.progress.head() {
            self.main.rests_until = None;
        }
        self.main.takes_up_at()
    }

    async fn wake(&mut self) -> Result<Woken, RunError> {
        let (rebuild, ahead) = (self.rebuild.as_ref(), self.main.fold.position());
        let goes_first = rebuild.is_some_and(|rebuild| rebuild.goes_first(ahead));
        let of_rebuild = rebuild.and_then(|rebuild| rebuild.track.takes_up_at());
        let due = [self.main_takes_up_at(), of_rebuild];
        let due = due.into_iter().flatten().min();
        let is_unwritten = self.main.fold.is_unwritten() || self.main.fold.is_unswept();
        let stopping = self.ctx.stopping();
        let setup = self.setup;
        let events_max = setup.options.batch_events_max;
        let goes_on = !goes_first && self.main.is_full(setup).is_none();
        let (main, rebuild) = (&mut self.main, &mut self.rebuild);
        // In turn, so that neither holds up the other; never by chance, so that a simulation can be run again.
        self.rebuild_is_next = !self.rebuild_is_next;
        if self.rebuild_is_next {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Ok(Woken::Stop),
                () = setup.control.changed() => Ok(Woken::Asked),
                chunk = next_of(rebuild, setup) => Ok(Woken::Rebuild(chunk?)),
                chunk = main.next(setup, events_max), if goes_on => Ok(Woken::Main(chunk?)),
                () = until(setup, due) => Ok(Woken::Due),
                () = idle(setup, is_unwritten) => Ok(Woken::Idle),
            }
        } else {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Ok(Woken::Stop),
                () = setup.control.changed() => Ok(Woken::Asked),
                chunk = main.next(setup, events_max), if goes_on => Ok(Woken::Main(chunk?)),
                chunk = next_of(rebuild, setup) => Ok(Woken::Rebuild(chunk?)),
                () = until(setup, due) => Ok(Woken::Due),
                () = idle(setup, is_unwritten) => Ok(Woken::Idle),
            }
        }
    }

    async fn main_batch(&mut self, chunk: Chunk) -> Result<Option<Arc<str>>, RunError> {
        let progress = &self.setup.progress;
        let span = tracing::debug_span!(
            "projection_batch",
            projection = %progress.name,
            from = self.main.fold.position().get(),
            through = chunk.through.get(),
        );
        let published = |fold: &mut F, newly: u64| {
            if progress.is_ready() {
                progress.publish(fold.position(), newly);
            } else {
                progress.folding(fold.position());
            }
        };
        progress.oldest_is(chunk.oldest());
        let absorbing = self.main.absorb(self.setup, chunk, published);
        let absorbed = absorbing.instrument(span).await?;
        progress.oldest_is(self.main.oldest());
        if !self.main.is_stopped() {
            self.count_set_aside();
        }
        match absorbed {
            BatchEnd::Failed(reason) => Ok(Some(reason)),
            BatchEnd::All | BatchEnd::Again => Ok(None),
        }
    }

    /// Lets the view answer once it has reached the head found at open, and removes those before it.
    async fn become_ready(&mut self) -> Result<(), RunError> {
        let progress = &self.setup.progress;
        let position = self.main.fold.position();
        let has_all = position >= progress.target();
        if !progress.is_ready() {
            // One that is full comes no further, as it did not in its last life. It answers what it can.
            if !has_all && self.main.is_full(self.setup).is_none() {
                return Ok(());
            }
            self.main.record_all(self.setup).await?;
            let newly = self.main.fold.take_over();
            progress.ready(position, newly);
            self.setup.options.hooks.ready(&progress.name, position);
        }
        // One that was full at first has everything later. What a rebuild builds is another view, too.
        if !self.has_others || !has_all || self.rebuild.is_some() {
            return Ok(());
        }
        // The views first: facts of one that is still there may be all that is known of an event.
        self.main.fold.discard_others().await?;
        self.setup.facts().keep_only(&self.main.facts).await?;
        self.has_others = false;
        Ok(())
    }

    /// Does what was asked.
    async fn heed(&mut self) -> Result<(), RunError> {
        while let Some(order) = self.setup.control.ordered() {
            self.carry_out(order).await;
        }
        let control = &self.setup.control;
        match (control.asked(), self.rebuild.is_some()) {
            (Asked::Rebuild, false) => self.begin_rebuild().await?,
            (Asked::Look, _) => {
                self.main.fold.look().await?;
                if let Some(rebuild) = &mut self.rebuild {
                    rebuild.track.fold.look().await?;
                }
            }
            (Asked::CancelRebuild, _) => {
                let name = self.setup.progress.name.clone();
                self.end_rebuild(RebuildError::Cancelled { name }).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Carries out what is asked about what is set aside.
    async fn carry_out(&mut self, order: Order) {
        let Order {
            verb,
            selection,
            answer,
        } = order;
        match verb {
            Verb::Retry => {
                let now = self.setup.clock.monotonic();
                let ledger = Arc::make_mut(&mut self.main.ledger);
                let keys = ledger.make_due(now, |event| selection.names(event));
                self.main.rests_until = None;
                self.retries.add(keys, answer);
                self.retries.tried(&[], &self.main.ledger);
            }
            Verb::Drop => {
                let events = self.main.ledger.selected(&selection);
                let (asked, left) = (events.len(), self.main.droppable(self.setup));
                if asked > left {
                    // The view would then be full in a way that no verb mends.
                    let (_, skipped) = self.main.ledger.counts();
                    let refused = ParkedError::NoRoom {
                        name: self.setup.progress.name.clone(),
                        asked,
                        skipped: skipped as usize,
                        most: self.setup.options.parked_events_max,
                        left,
                    };
                    return drop(answer.send(Err(refused)));
                }
                let count = asked;
                let left_out = self.main.leave_out(self.setup, events).await;
                self.count_set_aside();
                let left_out = left_out.map(|()| count);
                // Whoever asked may have gone; it is done all the same.
                drop(
                    answer.send(left_out.map_err(|error| ParkedError::NotRecorded {
                        name: self.setup.progress.name.clone(),
                        reason: error.to_string().into(),
                    })),
                );
            }
        }
    }

    /// The end of the last run: writes what is published, and says how it ended.
    async fn finish(mut self, failed: Option<Arc<str>>) -> Result<(), RunError> {
        self.setup.control.close();
        self.discard_rebuild().await?;
        let (progress, hooks) = (&self.setup.progress, &self.setup.options.hooks);
        progress.rebuilding(None);
        self.main.fold.close().await?;
        let position = progress.published();
        match failed {
            None => {
                hooks.stopped(&progress.name, position);
                progress.end(Ended::Stopped);
            }
            Some(reason) => {
                tracing::error!(projection = %progress.name, %position, %reason, "a projection failed");
                hooks.failed(&progress.name, position, &reason);
                progress.end(Ended::Failed(reason));
            }
        }
        Ok(())
    }

    /// Says how much is set aside, and what is tried again.
    pub(super) fn count_set_aside(&self) {
        let (ledger, progress) = (&self.main.ledger, &self.setup.progress);
        let (parked, skipped) = ledger.counts();
        progress.set_aside(parked, skipped);
        if let Some(reason) = self.main.is_full(self.setup) {
            return progress.full(reason);
        }
        match ledger.retrying() {
            Some(event) => {
                progress.retrying(event.position, event.tries, Arc::clone(&event.reason));
            }
            None if self.main.is_stopped() => {}
            None => progress.running(),
        }
    }
}

/// The next batch of a rebuild; for ever if there is none.
async fn next_of<F: Fold>(
    rebuild: &mut Option<Rebuild<F>>,
    setup: &Setup,
) -> Result<Chunk, RunError> {
    let events_max = setup.options.batch_events_max;
    match rebuild {
        Some(rebuild) => Ok(rebuild.track.next(setup, events_max).await?),
        None => std::future::pending().await,
    }
}

/// Waits until something is taken up; for ever if nothing is.
async fn until(setup: &Setup, due: Option<Instant>) {
    match due {
        Some(due) => setup.sleep_to(due).await,
        None => std::future::pending().await,
    }
}

/// Waits until the view has had nothing to do for a while; for ever if there is nothing to write.
async fn idle(setup: &Setup, is_unwritten: bool) {
    if !is_unwritten {
        return std::future::pending().await;
    }
    setup.clock.sleep(setup.options.flush.idle).await;
}

//! One run of a projection's worker: from where the view stands to the stop.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::WorkerContext;
use tracing::Instrument;

use super::control::{Asked, RebuildReport};
use super::setup::{Open, Setup};
use super::track::{Absorbed, Chunk, Track};
use crate::error::{RebuildError, RunError};
use crate::fold::Fold;
use crate::parked::{self, Ledger};
use crate::waiting::Ended;

/// A rebuild this close behind the running view goes first until it takes over, so that a view which is
/// written to without pause is overtaken, too. A few batches: the running view waits that long at most.
const OVERTAKE_EVENTS: u64 = 16_384;

/// Runs until the worker is to stop or the projection fails for good; an error means: again, from where the
/// view stands.
pub(crate) async fn run<F: Fold>(
    setup: &Setup,
    open: &Open<F>,
    ctx: &WorkerContext,
) -> Result<(), RunError> {
    let name = &setup.progress.name;
    let ledger = Ledger::load(&*setup.store, name, setup.fingerprint).await?;
    let main = Track::new(setup, open().await?, ledger);
    let mut run = Run {
        setup,
        ctx,
        main,
        rebuild: None,
        rebuild_is_next: false,
    };
    run.count_set_aside();
    setup.progress.folding(run.main.fold.position());
    setup.began(ctx, run.main.fold.position());
    let failed = run.follow().await?;
    run.finish(failed).await
}

struct Run<'a, F> {
    setup: &'a Setup,
    ctx: &'a WorkerContext,
    main: Track<F>,
    /// A view that is built from the beginning, to take the place of the main one.
    rebuild: Option<Track<F>>,
    /// Whether the rebuild is asked first when both have something.
    rebuild_is_next: bool,
}

/// What the loop woke up for.
enum Woken {
    Stop,
    Asked,
    Idle,
    Main(Chunk),
    Rebuild(Chunk),
}

impl<F: Fold> Run<'_, F> {
    /// Follows the log until the stop; gives the reason if the projection fails for good.
    async fn follow(&mut self) -> Result<Option<Arc<str>>, RunError> {
        loop {
            self.become_ready().await?;
            self.heed().await?;
            match self.wake().await? {
                Woken::Stop => return Ok(None),
                Woken::Asked => {}
                Woken::Idle => self.main.fold.flush().await?,
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

    async fn wake(&mut self) -> Result<Woken, RunError> {
        let goes_first = self.rebuild.as_ref().is_some_and(|rebuild| {
            let (ahead, at) = (self.main.fold.position(), rebuild.fold.position());
            ahead.get().saturating_sub(at.get()) <= OVERTAKE_EVENTS
        });
        let is_unwritten = self.main.fold.is_unwritten();
        let stopping = self.ctx.stopping();
        let events_max = self.setup.options.batch_events_max;
        let (main, rebuild) = (&mut self.main, &mut self.rebuild);
        // In turn, so that neither holds up the other; never by chance, so that a simulation can be run again.
        self.rebuild_is_next = !self.rebuild_is_next;
        if self.rebuild_is_next {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Ok(Woken::Stop),
                () = self.setup.control.changed() => Ok(Woken::Asked),
                chunk = next_of(rebuild, events_max) => Ok(Woken::Rebuild(chunk?)),
                chunk = main.next(events_max), if !goes_first => Ok(Woken::Main(chunk?)),
                () = idle(self.setup, is_unwritten) => Ok(Woken::Idle),
            }
        } else {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Ok(Woken::Stop),
                () = self.setup.control.changed() => Ok(Woken::Asked),
                chunk = main.next(events_max), if !goes_first => Ok(Woken::Main(chunk?)),
                chunk = next_of(rebuild, events_max) => Ok(Woken::Rebuild(chunk?)),
                () = idle(self.setup, is_unwritten) => Ok(Woken::Idle),
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
        let absorbing = self.main.absorb(self.setup, self.ctx, chunk, published);
        let absorbed = absorbing.instrument(span).await?;
        self.count_set_aside();
        match absorbed {
            Absorbed::Failed(reason) => Ok(Some(reason)),
            Absorbed::All | Absorbed::Again | Absorbed::Interrupted => Ok(None),
        }
    }

    /// Lets the view answer once it has reached the head found at open.
    async fn become_ready(&mut self) -> Result<(), RunError> {
        let progress = &self.setup.progress;
        let position = self.main.fold.position();
        if progress.is_ready() || position < progress.target() {
            return Ok(());
        }
        let newly = self.main.fold.take_over();
        progress.ready(position, newly);
        self.setup.options.hooks.ready(&progress.name, position);
        self.main.fold.discard_others().await?;
        let ledger = Arc::make_mut(&mut self.main.ledger);
        let resolved = ledger.resolved(None, position);
        forget(self.setup, &resolved).await
    }

    /// Does what was asked.
    async fn heed(&mut self) -> Result<(), RunError> {
        let control = &self.setup.control;
        match (control.asked(), self.rebuild.is_some()) {
            (Asked::Rebuild, false) if self.setup.progress.is_ready() => {
                // What an interrupted rebuild left behind.
                self.main.fold.discard_others().await?;
                let fresh = self.main.fold.fresh().await?;
                // Events that were set aside are tried again: a rebuild is how a mended handler gets them.
                self.rebuild = Some(Track::new(self.setup, fresh, Ledger::default()));
                self.setup.progress.rebuilding(Some(GlobalPosition::ZERO));
                if self.main.fold.position() == GlobalPosition::ZERO {
                    // There is nothing to read: no batch will ever say that it has caught up.
                    self.switch().await?;
                }
            }
            (Asked::Look, _) => {
                self.main.fold.look().await?;
                if let Some(rebuild) = &mut self.rebuild {
                    rebuild.fold.look().await?;
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

    async fn rebuild_batch(&mut self, chunk: Chunk) -> Result<(), RunError> {
        let Some(rebuild) = &mut self.rebuild else {
            return Ok(());
        };
        let progress = &self.setup.progress;
        let span = tracing::debug_span!(
            "projection_rebuild",
            projection = %progress.name,
            from = rebuild.fold.position().get(),
            through = chunk.through.get(),
        );
        let absorbing = rebuild.absorb(self.setup, self.ctx, chunk, |_, _| {});
        let absorbed = absorbing.instrument(span).await?;
        progress.running();
        let position = rebuild.fold.position();
        progress.rebuilding(Some(position));
        if let Absorbed::Failed(reason) = absorbed {
            let name = progress.name.clone();
            return self
                .end_rebuild(RebuildError::Failed { name, reason })
                .await;
        }
        if matches!(absorbed, Absorbed::All) && position >= self.main.fold.position() {
            return self.switch().await;
        }
        Ok(())
    }

    /// Puts the rebuilt view in the place of the old one, which no reader has seen further than this.
    async fn switch(&mut self) -> Result<(), RunError> {
        let Some(mut rebuilt) = self.rebuild.take() else {
            return Ok(());
        };
        if rebuilt.fold.is_unwritten() {
            rebuilt.fold.flush().await?;
        }
        let position = rebuilt.fold.position();
        rebuilt.fold.take_over();
        let old = std::mem::replace(&mut self.main, rebuilt);
        let progress = &self.setup.progress;
        progress.publish(position, 0);
        progress.rebuilding(None);
        old.fold.discard().await?;
        let ledger = Arc::make_mut(&mut self.main.ledger);
        let resolved = ledger.resolved(Some(&old.ledger), position);
        forget(self.setup, &resolved).await?;
        self.count_set_aside();
        self.setup.options.hooks.rebuilt(&progress.name, position);
        self.setup.control.answer(Ok(RebuildReport { position }));
        Ok(())
    }

    async fn end_rebuild(&mut self, error: RebuildError) -> Result<(), RunError> {
        self.setup.progress.rebuilding(None);
        if let Some(rebuild) = self.rebuild.take() {
            rebuild.fold.discard().await?;
        }
        self.setup.control.answer(Err(error));
        Ok(())
    }

    /// The end of the last run: writes what is published, and says how it ended.
    async fn finish(mut self, failed: Option<Arc<str>>) -> Result<(), RunError> {
        let (progress, hooks) = (&self.setup.progress, &self.setup.options.hooks);
        self.setup.control.close();
        if let Some(rebuild) = self.rebuild.take() {
            rebuild.fold.discard().await?;
        }
        progress.rebuilding(None);
        if self.main.fold.is_unwritten() {
            self.main.fold.flush().await?;
        }
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

    fn count_set_aside(&self) {
        let (parked, skipped) = self.main.ledger.counts();
        self.setup.progress.set_aside(parked, skipped);
    }
}

/// The next batch of a rebuild; for ever if there is none.
async fn next_of<F: Fold>(
    track: &mut Option<Track<F>>,
    events_max: usize,
) -> Result<Chunk, RunError> {
    match track {
        Some(track) => Ok(track.next(events_max).await?),
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

/// Removes the facts about events that are no longer set aside.
async fn forget(setup: &Setup, resolved: &[GlobalPosition]) -> Result<(), RunError> {
    let name = &setup.progress.name;
    parked::forget(&*setup.store, &*setup.clock, name, resolved).await
}

//! A rebuild beside the main view, from its beginning until it takes over or ends.

use chronicler_domain::GlobalPosition;
use tracing::Instrument;

use super::control::RebuildReport;
use super::rebuild::Rebuild;
use super::run::Run;
use super::track::{BatchEnd, Chunk, Track};
use crate::error::{RebuildError, RunError};
use crate::fold::Fold;
use crate::ledger::Ledger;

impl<F: Fold> Run<'_, F> {
    /// Begins to build another view from the beginning, beside the one that answers.
    pub(super) async fn begin_rebuild(&mut self) -> Result<(), RunError> {
        // An interrupted rebuild may have left views behind. The views of another shape stay until this one answers.
        let is_ready = self.setup.progress.is_ready();
        if is_ready {
            self.main.fold.discard_others().await?;
        }
        let fresh = self.main.fold.fresh().await?;
        let name = self.setup.facts_name(fresh.generation());
        self.setup.facts().forget_all(&name).await?;
        // Events that were set aside are tried again: a rebuild is how a mended handler gets them.
        let ledger = Ledger::default();
        self.rebuild = Some(Rebuild::new(Track::new(self.setup, fresh, ledger, false)));
        self.setup.progress.rebuilding(Some(GlobalPosition::ZERO));
        if is_ready && self.main.fold.position() == GlobalPosition::ZERO {
            // There is nothing to read: no batch will ever say that it has caught up.
            self.switch().await?;
        }
        Ok(())
    }

    /// Folds a batch into the rebuild, and lets it take over when it has come so far.
    pub(super) async fn rebuild_batch(&mut self, chunk: Chunk) -> Result<(), RunError> {
        let Some(rebuild) = &mut self.rebuild else {
            return Ok(());
        };
        let progress = &self.setup.progress;
        let span = tracing::debug_span!(
            "projection_rebuild",
            projection = %progress.name,
            from = rebuild.track.fold.position().get(),
            through = chunk.through.get(),
        );
        let absorbing = rebuild.track.absorb(self.setup, chunk, |_, _| {});
        let absorbed = absorbing.instrument(span).await?;
        let position = rebuild.track.fold.position();
        progress.rebuilding(Some(position));
        match absorbed {
            BatchEnd::Failed(reason) => {
                let name = progress.name.clone();
                let error = RebuildError::Failed { name, reason };
                return self.end_rebuild(error).await;
            }
            BatchEnd::Again => self.count_set_aside(),
            BatchEnd::All => self.switch_when_ready().await?,
        }
        // A full rebuild gets no further before its events work, and the view that answers does not need it.
        let full = self
            .rebuild
            .as_ref()
            .and_then(|rebuild| rebuild.track.is_full(self.setup));
        if let Some(reason) = full {
            let name = self.setup.progress.name.clone();
            self.end_rebuild(RebuildError::Failed { name, reason })
                .await?;
        }
        Ok(())
    }

    /// Lets the rebuilt view take over when it shows as much as the main one, and nothing that failed on the way may still
    /// work: no reader is to miss what the old one shows.
    pub(super) async fn switch_when_ready(&mut self) -> Result<(), RunError> {
        let Some(rebuild) = &mut self.rebuild else {
            return Ok(());
        };
        if !rebuild.has_caught_up(self.main.fold.position()) || rebuild.is_waiting() {
            return Ok(());
        }
        if let Some(event) = rebuild.took_nothing(&self.main.ledger) {
            let name = self.setup.progress.name.clone();
            let reason = format!(
                "it could take no event at all, and the view that answers has; event {} failed with: {}",
                event.position, event.reason
            );
            let reason = reason.into();
            return self
                .end_rebuild(RebuildError::Failed { name, reason })
                .await;
        }
        self.switch().await
    }

    /// Puts the rebuilt view in the place of the old one, which no reader has seen further than this.
    async fn switch(&mut self) -> Result<(), RunError> {
        let Some(Rebuild {
            track: mut rebuilt, ..
        }) = self.rebuild.take()
        else {
            return Ok(());
        };
        if rebuilt.fold.is_unwritten() {
            rebuilt.fold.flush().await?;
        }
        rebuilt.record_all(self.setup).await?;
        let position = rebuilt.fold.position();
        rebuilt.fold.take_over();
        let old = std::mem::replace(&mut self.main, rebuilt);
        let progress = &self.setup.progress;
        progress.facts_are(&self.main.facts);
        progress.oldest_is(self.main.oldest());
        if progress.is_ready() {
            progress.publish(position, 0);
        } else {
            progress.folding(position);
        }
        progress.rebuilding(None);
        old.fold.discard().await?;
        if progress.is_ready() {
            self.setup.facts().keep_only(&self.main.facts).await?;
        } else {
            // Facts of a view of another shape stay until this one answers.
            self.setup.facts().forget_all(&old.facts).await?;
        }
        self.count_set_aside();
        // The rebuild has retried everything: callers who wait for retries are answered.
        self.retries.all_tried();
        self.setup.options.hooks.rebuilt(&progress.name, position);
        self.setup.control.answer(Ok(RebuildReport { position }));
        Ok(())
    }

    /// Ends a rebuild that does not take over, and says why to whoever asked for it.
    pub(super) async fn end_rebuild(&mut self, error: RebuildError) -> Result<(), RunError> {
        self.setup.progress.rebuilding(None);
        self.discard_rebuild().await?;
        self.count_set_aside();
        self.setup.control.answer(Err(error));
        Ok(())
    }

    /// Removes what a rebuild has in the store and in the log.
    pub(super) async fn discard_rebuild(&mut self) -> Result<(), RunError> {
        match self.rebuild.take() {
            Some(rebuild) => rebuild.discard(self.setup).await,
            None => Ok(()),
        }
    }
}

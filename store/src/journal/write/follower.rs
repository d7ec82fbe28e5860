//! The follower: a thread that seals full segments and brings the index after the log, never in its way.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use chronicler_domain::LogSequence;

use super::active::{SealJob, seal};
use super::signal::Task;
use crate::index::{IndexBatch, IndexError, Watermark};
use crate::journal::open::fill;
use crate::journal::shared::Shared;
use crate::log::Health;
use crate::test_points::{CrashPlace, reached};

/// The thread's state.
pub(crate) struct Follower {
    shared: Arc<Shared>,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until the writer has ended and everything is applied.
    pub(crate) fn run(self) {
        loop {
            match self.shared.follower.next(self.shared.options.index_idle) {
                Task::Seal(job) => self.seal(job),
                Task::Apply => {
                    let applied = panic::catch_unwind(AssertUnwindSafe(|| self.apply()));
                    let applied = applied.unwrap_or_else(|_| Err(panicked()));
                    if let Err(reason) = &applied
                        && reason.is_not_begun()
                    {
                        tracing::warn!(%reason, "the index could not be brought after the log; it is tried again");
                        self.shared.follower.apply_later();
                    } else if let Err(reason) = applied {
                        tracing::warn!(%reason, "the index failed; it is built again");
                        // It is this thread that builds it again: what failed is what there is.
                        let generation = self.shared.follower.generation();
                        self.shared.follower.index_failed(generation);
                    }
                }
                Task::Rebuild => {
                    let rebuilt = panic::catch_unwind(AssertUnwindSafe(|| self.rebuild()));
                    match rebuilt.unwrap_or_else(|_| Err(panicked())) {
                        Ok(()) => {
                            tracing::info!("the index was built again");
                            self.shared.follower.rebuilt();
                        }
                        Err(reason) => {
                            tracing::warn!(%reason, "the index could not be built again; it is tried again later");
                            self.shared.follower.not_rebuilt();
                        }
                    }
                }
                Task::End => return,
            }
        }
    }

    fn seal(&self, job: SealJob) {
        let path = job.segment.path.clone();
        reached(CrashPlace::Seal);
        // Without its footer a segment is read the long way when the store is opened, and sealed then. But a
        // disk that fails a write or a sync is not written to any more, whatever it was for.
        if let Err(error) = seal(job, self.shared.store_id) {
            let reason = format!("sealing {} failed: {error}", path.display());
            tracing::error!(%reason, "the log takes no more writes until it is opened again");
            self.shared.stop_writes(&reason);
        }
    }

    /// Puts everything durable into the index.
    fn apply(&self) -> Result<(), IndexError> {
        // The watermark first: rows may be newer than it, and reading on from it only repeats them.
        let end = self.shared.end();
        let durable = || self.shared.durable();
        let heads = self.shared.heads.collect(durable);
        let facts = self.shared.facts.collect(durable);
        let head_sequences = heads.iter().map(|(_, row)| row.sequence);
        let newest = head_sequences
            .chain(facts.iter().map(|fact| fact.sequence))
            .max();
        let Some(newest) = newest else {
            return Ok(());
        };
        if !self.is_marked(newest.max(end.sequence)) {
            self.shared.heads.not_applied(&heads);
            return Ok(());
        }
        let batch = IndexBatch {
            heads,
            facts,
            watermark: Watermark {
                store_id: self.shared.store_id,
                sequence: end.sequence,
                log_offset: end.last_offset,
                checksum: end.checksum,
            },
        };
        let index = self.shared.index().map_err(|error| IndexError {
            operation: "applying",
            reason: error.to_string(),
        })?;
        reached(CrashPlace::IndexApply);
        if let Err(error) = index.apply(&batch) {
            self.shared.heads.not_applied(&batch.heads);
            return Err(error);
        }
        reached(CrashPlace::IndexApplied);
        self.shared.heads.applied(&batch.heads);
        self.shared.facts.applied(&batch.facts);
        self.shared
            .counters
            .applied(batch.heads.len() + batch.facts.len());
        Ok(())
    }

    /// Waits until the marker covers a commit: no row may name what could still be cut off as a torn tail. False if it
    /// never will.
    fn is_marked(&self, sequence: LogSequence) -> bool {
        while self.shared.marked() < sequence {
            if self.shared.health() != Health::Healthy || self.shared.follower.is_closing() {
                return false;
            }
            self.shared.follower.wait_for_marker();
        }
        true
    }

    /// Builds the index again from the journal. What has changed since is in memory, and follows.
    fn rebuild(&self) -> Result<(), IndexError> {
        let failed = |reason: String| IndexError {
            operation: "building it again",
            reason,
        };
        let view = self.shared.view();
        if !self.is_marked(view.end.sequence) {
            return Err(failed("the log takes no more writes".to_owned()));
        }
        let index = self.shared.index();
        let index = index.map_err(|error| failed(error.to_string()))?;
        let goes_on = || !self.shared.follower.is_closing();
        index.rebuild(&mut |fresh| fill(fresh, &view, self.shared.store_id, &goes_on))
    }
}

fn panicked() -> IndexError {
    IndexError {
        operation: "applying",
        reason: "it panicked".to_owned(),
    }
}

//! Going through the latest commits in memory, which may leave it while somebody reads.

use std::sync::Arc;

use super::batches::{Batches, Window};
use super::bounds::{ends_before, is_before, is_behind, wanted};
use super::budget::{ReadBudget, Share};
use super::frames::FrameReader;
use super::view::LogView;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::journal::memory::{Chunk, Tail};
use crate::journal::shared::Shared;
use crate::query::AllQuery;

/// From old to new, in memory. Between two batches it keeps nothing of it: a slow reader would keep all that has left it
/// in the meantime.
pub(super) struct RecentScan {
    tail: Arc<Tail>,
    pub budget: Arc<ReadBudget>,
    pub batches: Batches,
    /// Where the next frame begins.
    pub offset: u64,
    /// The share of the batch that is being consumed: the batch's own bytes. All readers of a chunk have one memory, of which
    /// a batch has half at least, or it is a copy.
    given: Option<Share>,
}

/// What the next look gave.
pub(super) enum Recent {
    Batch(Result<Vec<RecordedCommit>, ReadError>),
    /// What comes next is not in memory any more.
    Gone,
    End,
}

impl RecentScan {
    /// A scan from the start of a query on; `None` if that is not in memory.
    pub(super) fn new(query: &AllQuery, shared: &Shared) -> Option<Self> {
        let offset = shared.tail.offset_of(|header| {
            is_before(
                query.start,
                header.sequence,
                header.first_position,
                header.timestamp,
            )
        })?;
        Some(Self {
            tail: Arc::clone(&shared.tail),
            budget: Arc::clone(&shared.read_budget),
            batches: Batches::new(query.commits_max),
            offset,
            given: None,
        })
    }

    /// The next batch.
    pub(super) fn read(&mut self, query: &AllQuery, view: &LogView) -> Recent {
        // Whoever asks for more is done with what it had.
        self.given = None;
        let mut share = self.budget.share();
        loop {
            if self.offset >= view.end.offset || self.batches.is_done() {
                return self.give_rest(share);
            }
            let chunks = self.tail.chunks_at(self.offset, share.bytes());
            if chunks.is_empty() {
                // What was found so far comes first.
                return match self.give_rest(share) {
                    Recent::End => Recent::Gone,
                    batch => batch,
                };
            }
            for chunk in &chunks {
                if let Some(found) = self.scan(chunk, query, view, &mut share) {
                    self.given = Some(share);
                    return found;
                }
            }
        }
    }

    /// Goes through a chunk from where the scan is. `None`: to its end.
    fn scan(
        &mut self,
        chunk: &Chunk,
        query: &AllQuery,
        view: &LogView,
        share: &mut Share,
    ) -> Option<Recent> {
        let window = Window {
            id: chunk.base_offset,
            bytes: chunk.bytes.len(),
        };
        let mut index = chunk.index_at(self.offset);
        while let Some(parsed) = chunk.commit(index) {
            let Ok(commit) = parsed else {
                // The bytes were right when they were written: this machine has faulty memory.
                return Some(Recent::Batch(Err(damaged(view, chunk.offset(index)))));
            };
            if is_behind(query, &view.end, &commit) {
                self.offset = view.end.offset;
                return None;
            }
            index += 1;
            self.offset = commit.log_offset() + commit.as_bytes().len() as u64;
            if ends_before(query.start, &commit) || !wanted(query, &commit) {
                continue;
            }
            if let Some(batch) = self.batches.push(commit, window, share.bytes()) {
                share.settle(batch.own);
                return Some(Recent::Batch(Ok(batch.commits)));
            }
        }
        None
    }

    fn give_rest(&mut self, mut share: Share) -> Recent {
        let rest = self.batches.take();
        if rest.commits.is_empty() {
            return Recent::End;
        }
        share.settle(rest.own);
        self.given = Some(share);
        Recent::Batch(Ok(rest.commits))
    }
}

fn damaged(view: &LogView, offset: u64) -> ReadError {
    let (storage, segments) = (view.storage.clone(), view.segments.clone());
    let reader = FrameReader::new(storage, segments, view.end.offset);
    let reason = "the copy of the frame in memory is damaged".to_owned();
    reader.damaged(offset, reason)
}

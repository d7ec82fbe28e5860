//! The commits of the whole log, from memory where they are recent and from the segments where not.

use std::sync::Arc;

use chronicler_domain::LogSequence;
use futures::{StreamExt, stream};

use super::blocking::stream_batches;
use super::recent::{Recent, RecentScan};
use super::scan::{BackwardScan, ForwardScan};
use super::view::LogView;
use crate::journal::shared::Shared;
use crate::query::{AllQuery, CommitStream, Direction};

/// Reads the log up to its durable end.
pub(crate) fn read_all(query: AllQuery, shared: &Shared) -> CommitStream {
    let (view, budget) = (shared.view(), Arc::clone(&shared.read_budget));
    if query.commits_max == 0 || view.end.sequence == LogSequence::ZERO {
        return Box::pin(stream::empty());
    }
    if query.direction == Direction::Backward {
        return stream_batches(false, budget, move || {
            Ok(Some(BackwardScan::new(query, view)))
        });
    }
    match RecentScan::new(&query, shared) {
        Some(scan) => read_recent(scan, query, view),
        None => stream_batches(false, budget, move || {
            Ok(Some(ForwardScan::new(query, view)))
        }),
    }
}

/// Reads what is in memory, and from the segments what has left it before the consumer came so far.
fn read_recent(scan: RecentScan, query: AllQuery, view: LogView) -> CommitStream {
    enum Reading {
        Memory(Box<(RecentScan, AllQuery, LogView)>),
        Segments(CommitStream),
    }
    let next = |mut reading: Reading| async move {
        loop {
            reading = match reading {
                Reading::Memory(mut memory) => {
                    let (scan, query, view) = &mut *memory;
                    match scan.read(query, view) {
                        Recent::Batch(batch) => return Some((batch, Reading::Memory(memory))),
                        Recent::End => return None,
                        Recent::Gone => Reading::Segments(read_on(*memory)),
                    }
                }
                Reading::Segments(mut segments) => {
                    let batch = segments.next().await?;
                    return Some((batch, Reading::Segments(segments)));
                }
            }
        }
    };
    let memory = Reading::Memory(Box::new((scan, query, view)));
    Box::pin(stream::unfold(memory, next).fuse())
}

/// Goes on in the segments where a scan in memory has come to.
fn read_on((scan, mut query, view): (RecentScan, AllQuery, LogView)) -> CommitStream {
    query.commits_max = scan.batches.left();
    let at = scan.offset;
    stream_batches(false, scan.budget, move || {
        Ok(Some(ForwardScan::at(at, query, view)))
    })
}

//! Queries over the frames in memory.

use std::ops::Bound;

use bytes::Bytes;
use futures::StreamExt;

use super::MemoryStore;
use super::journal::{Journal, ends_before, in_range, is_before};
use crate::log::FactEntry;
use crate::query::{AllQuery, CommitStream, Direction, FactQuery, Start, StreamQuery};

/// Commits of one batch: small, so that readers meet more than one.
const BATCH_COMMITS_MAX: usize = 256;

/// The frames of one stream that a query wants, by index and in its order.
pub(super) fn of_stream(journal: &Journal, query: &StreamQuery) -> Vec<usize> {
    let key = query.stream.key();
    let wanted = |index: &usize| {
        let Some(commit) = journal.commit(*index) else {
            return false;
        };
        let part = commit.parts().find(|part| part.stream_key() == key);
        part.is_some_and(|part| {
            commit.sequence() > query.after
                && commit.sequence() <= query.until
                && (query.eventless || part.event_count() > 0)
                && in_range(
                    part.first_version(),
                    part.last_version(),
                    query.from,
                    query.to,
                )
        })
    };
    let found = journal.frames_of(key).into_iter().filter(wanted).collect();
    in_order(found, query.direction, query.commits_max)
}

/// The frames that a query over the whole log wants, by index and in its order.
pub(super) fn of_all(journal: &Journal, query: &AllQuery) -> Vec<usize> {
    let wanted = |index: &usize| {
        let Some(commit) = journal.commit(*index) else {
            return false;
        };
        let begun = match query.start {
            Start::Position(position) => !ends_before(&commit, position),
            Start::Sequence(sequence) => commit.sequence() >= sequence,
            Start::Time(at) => !is_before(&commit, at),
        };
        let passes = if commit.event_count() == 0 {
            query.eventless && query.filter.is_open()
        } else {
            query.filter.passes(&commit)
        };
        begun && passes && commit.first_position() <= query.to
    };
    let found = (0..journal.durable_count()).filter(wanted).collect();
    in_order(found, query.direction, query.commits_max)
}

/// The facts that a query wants.
pub(super) fn facts(journal: &Journal, query: &FactQuery) -> Vec<FactEntry> {
    let from = match &query.after {
        Some(after) if *after >= query.prefix => Bound::Excluded((query.kind, after.clone())),
        _ => Bound::Included((query.kind, query.prefix.clone())),
    };
    let within = |key: &Bytes| {
        key.starts_with(&query.prefix) && query.until.as_ref().is_none_or(|until| key <= until)
    };
    journal
        .facts()
        .range((from, Bound::Unbounded))
        .take_while(|((kind, key), _)| *kind == query.kind && within(key))
        .take(query.limit)
        .map(|((_, key), (value, sequence))| FactEntry {
            key: key.clone(),
            value: value.clone(),
            sequence: *sequence,
        })
        .collect()
}

/// The frames in batches, looked up as they are asked for.
pub(super) fn batches(store: MemoryStore, found: Vec<usize>) -> CommitStream {
    let chunks: Vec<Vec<usize>> = found
        .chunks(BATCH_COMMITS_MAX)
        .map(<[usize]>::to_vec)
        .collect();
    futures::stream::iter(chunks)
        .map(move |chunk| {
            store.alive()?;
            Ok(store.with_journal(|journal| {
                chunk
                    .iter()
                    .filter_map(|index| journal.commit(*index))
                    .collect()
            }))
        })
        .boxed()
}

fn in_order(mut found: Vec<usize>, direction: Direction, commits_max: usize) -> Vec<usize> {
    if direction == Direction::Backward {
        found.reverse();
    }
    found.truncate(commits_max);
    found
}

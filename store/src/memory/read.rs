//! Queries over the frames in memory.

use std::ops::Bound;

use bytes::Bytes;

use super::journal::{Journal, ends_before, in_range, is_before};
use crate::frame::RecordedCommit;
use crate::log::FactEntry;
use crate::query::{AllQuery, Direction, FactQuery, Start, StreamQuery};

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
        let passes = || match commit.event_count() {
            0 => query.eventless && query.filter.is_open(),
            _ => query.filter.passes(&commit),
        };
        begun && commit.first_position() <= query.to && passes()
    };
    // Whoever follows the log asks for its end again and again: what lies before that is not looked at.
    let end = journal.durable_count();
    let first = match query.start {
        Start::Position(position) => first_that(journal, |commit| !ends_before(commit, position)),
        Start::Sequence(sequence) => first_that(journal, |commit| commit.sequence() >= sequence),
        // Clocks may be set back.
        Start::Time(_) => 0,
    };
    let found = (first..end).filter(wanted).collect();
    in_order(found, query.direction, query.commits_max)
}

/// The index of the first durable frame for which this holds, as it then does for all after it.
fn first_that(journal: &Journal, holds: impl Fn(&RecordedCommit) -> bool) -> usize {
    let (mut low, mut high) = (0, journal.durable_count());
    while low < high {
        let middle = low + (high - low) / 2;
        match journal.commit(middle).is_some_and(|commit| holds(&commit)) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
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

fn in_order(mut found: Vec<usize>, direction: Direction, commits_max: usize) -> Vec<usize> {
    if direction == Direction::Backward {
        found.reverse();
    }
    found.truncate(commits_max);
    found
}

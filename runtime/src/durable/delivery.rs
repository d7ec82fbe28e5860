//! What a durable subscription gives: events of one commit, as many as there is room for.

use std::collections::VecDeque;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{EventRef, Filter, RecordedCommit};

use super::progress::Progress;

/// Events of one commit.
#[derive(Clone, Debug)]
pub struct Delivery {
    commit: RecordedCommit,
    filter: Arc<Filter>,
    first: GlobalPosition,
    last: GlobalPosition,
}

impl Delivery {
    /// The events; at least one.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'_>> {
        let within = |event: &EventRef<'_>| (self.first..=self.last).contains(&event.position());
        let wanted = move |event: &EventRef<'_>| within(event) && self.filter.wants(event);
        self.commit.events().filter(wanted)
    }

    /// The commit that they are of, in which there may be more.
    pub fn commit(&self) -> &RecordedCommit {
        &self.commit
    }

    /// The position to acknowledge when all of them are done.
    pub fn last(&self) -> GlobalPosition {
        self.last
    }
}

/// Takes from what was read as much of one commit as there is room for.
pub(super) fn take(
    pending: &mut VecDeque<RecordedCommit>,
    pending_through: GlobalPosition,
    filter: &Arc<Filter>,
    unacknowledged_max: usize,
    progress: &mut Progress,
) -> Option<Delivery> {
    while let Some(commit) = pending.front() {
        let room = unacknowledged_max.saturating_sub(progress.outstanding.len());
        if room == 0 {
            return None;
        }
        let through = progress.through;
        let wanted = |event: &EventRef<'_>| event.position() > through && filter.wants(event);
        let events = commit.events().filter(wanted).map(|event| event.position());
        let positions: Vec<_> = events.take(room).collect();
        let (Some(first), Some(last)) = (positions.first().copied(), positions.last().copied())
        else {
            progress.through = progress.through.max(commit.last_position());
            pending.pop_front();
            continue;
        };
        let commit = commit.clone();
        progress.through = last;
        progress.outstanding.extend(positions);
        return Some(Delivery {
            commit,
            filter: Arc::clone(filter),
            first,
            last,
        });
    }
    progress.through = progress.through.max(pending_through);
    None
}

//! The ids of the latest commits and events of streams that are appended to without an expected version.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::verdict::{Finding, LOOK_BACK_COMMITS_MAX, Past, find_after, part_of, same_commit};
use crate::append::StreamAppend;
use crate::error::ReadError;
use crate::index::HeadRow;

/// How many ids are remembered of one stream: of an event each, and of a commit each. An `Any` append is
/// recognised as a repetition while its ids are among them.
const STREAM_IDS_MAX: usize = 65_536;
/// How many ids are remembered of all streams together; about 24 MB. Beyond it the stream that was not
/// used for longest is forgotten, and read again when it is needed.
const IDS_MAX: usize = 262_144;

/// Ids of commits and events and where they lie, per stream, read on first need and then kept up to date
/// by reading what was appended since.
#[derive(Debug, Default)]
pub(crate) struct RecentCommits {
    streams: HashMap<Box<str>, StreamIds>,
    ids: usize,
    uses: u64,
}

#[derive(Debug, Default)]
struct StreamIds {
    /// Where the newest frame that was read begins.
    read_to: Option<u64>,
    /// The newest frame that holds the commit or event.
    frames: HashMap<Uuid, u64>,
    /// What was put into `frames`, oldest first.
    order: VecDeque<(Uuid, u64)>,
    last_use: u64,
}

impl RecentCommits {
    /// Looks for `part` among the latest commits of its stream, which has this head.
    pub(super) fn find(
        &mut self,
        commit_id: Uuid,
        part: &StreamAppend,
        head: &HeadRow,
        past: &dyn Past,
    ) -> Result<Finding, ReadError> {
        let ids = self.up_to_date(part, head, past)?;
        if let Some(offset) = ids.frames.get(&commit_id) {
            let commit = past.commit_at(*offset)?;
            if let Some(there) = part_of(&commit, part)
                && commit.commit_id() == commit_id
            {
                return Ok(same_commit(part, &commit, &there));
            }
        }
        let known = |id: Option<Uuid>| id.and_then(|id| ids.frames.get(&id).map(|at| (id, *at)));
        let last = part.events.last().and_then(|event| known(event.id));
        if let Some((id, offset)) = last {
            let commit = past.commit_at(offset)?;
            let event = part_of(&commit, part)
                .and_then(|there| there.events().find(|event| event.id() == id));
            let before = event.and_then(|event| {
                let count = part.events.len() as u64;
                event.version().get().checked_sub(count)
            });
            if let Some(before) = before {
                let found = find_after(before.into(), commit_id, part, offset, past)?;
                if matches!(found, Finding::Whole(_)) {
                    return Ok(found);
                }
            }
        }
        let overlaps = part.events.iter().any(|event| known(event.id).is_some());
        Ok(if overlaps {
            Finding::Overlap
        } else {
            Finding::Nothing
        })
    }

    /// The ids of a stream, with everything up to its head read in.
    fn up_to_date(
        &mut self,
        part: &StreamAppend,
        head: &HeadRow,
        past: &dyn Past,
    ) -> Result<&StreamIds, ReadError> {
        let key = part.stream.key();
        self.uses += 1;
        if !self.streams.contains_key(key) {
            self.streams.insert(key.into(), StreamIds::default());
        }
        if let Some(ids) = self.streams.get_mut(key) {
            ids.last_use = self.uses;
            let before = ids.order.len();
            let read = ids.read_up_to(part, head, past);
            self.ids = self.ids + ids.order.len() - before;
            read?;
        }
        self.forget_beyond_limit(key);
        Ok(self.streams.entry(key.into()).or_default())
    }

    fn forget_beyond_limit(&mut self, keep: &str) {
        while self.ids > IDS_MAX {
            let others = self.streams.iter().filter(|(key, _)| key.as_ref() != keep);
            let oldest = others.min_by_key(|(_, ids)| ids.last_use);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(gone) = self.streams.remove(&key) {
                self.ids -= gone.order.len();
            }
        }
    }
}

impl StreamIds {
    fn read_up_to(
        &mut self,
        part: &StreamAppend,
        head: &HeadRow,
        past: &dyn Past,
    ) -> Result<(), ReadError> {
        let (mut next, mut newest_first) = (Some(head.log_offset), Vec::new());
        let mut commits = 0;
        while let Some(offset) = next.filter(|offset| Some(*offset) != self.read_to) {
            if commits == LOOK_BACK_COMMITS_MAX || newest_first.len() >= STREAM_IDS_MAX {
                break;
            }
            commits += 1;
            let commit = past.commit_at(offset)?;
            let Some(there) = part_of(&commit, part) else {
                break;
            };
            newest_first.push((commit.commit_id(), offset));
            let explicit = there.events().filter_map(|event| event.explicit_id());
            newest_first.extend(explicit.map(|id| (id, offset)));
            next = there.previous_offset();
        }
        for (id, offset) in newest_first.into_iter().rev() {
            self.frames.insert(id, offset);
            self.order.push_back((id, offset));
        }
        self.read_to = Some(head.log_offset);
        while self.order.len() > STREAM_IDS_MAX {
            if let Some((id, offset)) = self.order.pop_front()
                && self.frames.get(&id) == Some(&offset)
            {
                self.frames.remove(&id);
            }
        }
        Ok(())
    }
}

//! The ids of the latest commits and events of streams that are appended to without an expected version.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use uuid::Uuid;

use super::reach::Reach;
use super::verdict::{Finding, Past, find_after, part_of, same_commit};
use crate::append::StreamAppend;
use crate::error::ReadError;
use crate::index::HeadRow;

/// How many ids are remembered of one stream: of an event each, and of a commit each. An `Any` append is
/// recognised as a repetition while its ids are among them.
const STREAM_IDS_MAX: usize = 65_536;
/// How many ids are remembered of all streams together; about 24 MB. Beyond it the stream that was not used for longest
/// gives up its oldest ones.
const IDS_MAX: usize = 262_144;
/// How many ids a stream counts for beside its own: what it takes to remember it at all.
const STREAM_WEIGHT: usize = 4;
/// How many ids a stream keeps while others need the room. Only when every stream has given up all but these, the one that
/// was not used for longest is forgotten as a whole.
const IDS_KEPT: usize = 8;
/// How many ids a stream gives up at once, so that no append pays for all that another one had.
const IDS_GIVEN_UP: usize = 64;
/// How many commits are read, at most, of a stream of which nothing is remembered, while there is room for what they hold:
/// about 6 ms from cached files. Whoever repeats what was under way when the process ended is recognised by these.
const READ_WITH_ROOM: usize = 4_096;
/// The same when there is no room: a stream that has to wait for its turn among very many costs the others nothing.
const READ_WITHOUT_ROOM: usize = 16;

/// Ids of commits and events and where they lie, per stream, read on first need and then kept up to date
/// by reading what was appended since.
#[derive(Debug)]
pub(crate) struct RecentCommits {
    streams: HashMap<Arc<str>, StreamIds, RandomState>,
    /// Which stream was used when, oldest first. Only the last use of each counts.
    uses: VecDeque<(Arc<str>, u64)>,
    used: u64,
    ids: usize,
    /// [`IDS_MAX`], or less where tests want it.
    ids_max: usize,
}

impl Default for RecentCommits {
    fn default() -> Self {
        Self {
            streams: HashMap::default(),
            uses: VecDeque::new(),
            used: 0,
            ids: 0,
            ids_max: IDS_MAX,
        }
    }
}

#[derive(Debug, Default)]
struct StreamIds {
    /// Where the newest frame that was read begins.
    read_to: Option<u64>,
    /// The newest frame that holds the commit or event.
    frames: HashMap<Uuid, u64, RandomState>,
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
        let Some(ids) = self.up_to_date(part, head, past)? else {
            return Ok(Finding::Nothing);
        };
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
                // Its other events lie in as many commits at most, beside those without any.
                let reach = &mut Reach::commits(READ_WITH_ROOM);
                let found = find_after(before.into(), commit_id, part, offset, past, reach)?;
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

    /// The ids of a stream, with what was appended to it since it was looked at last.
    fn up_to_date(
        &mut self,
        part: &StreamAppend,
        head: &HeadRow,
        past: &dyn Past,
    ) -> Result<Option<&StreamIds>, ReadError> {
        let key = part.stream.key();
        let room = self.ids_max.saturating_sub(self.weight());
        self.note_use(key);
        if let Some(ids) = self.streams.get_mut(key) {
            let before = ids.order.len();
            let commits_max = room.clamp(READ_WITHOUT_ROOM, READ_WITH_ROOM);
            ids.read_up_to(part, head, past, commits_max)?;
            self.ids = self.ids + ids.order.len() - before;
        }
        self.forget_beyond_limit();
        Ok(self.streams.get(key))
    }

    /// What it takes, in ids.
    fn weight(&self) -> usize {
        self.ids + STREAM_WEIGHT * self.streams.len()
    }

    /// A stream is used now; it is remembered from now on.
    fn note_use(&mut self, key: &str) {
        self.used += 1;
        let known = self
            .streams
            .get_key_value(key)
            .map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| key.into());
        self.streams.entry(name.clone()).or_default().last_use = self.used;
        match self.uses.back_mut() {
            Some((last, at)) if *last == name => *at = self.used,
            _ => self.uses.push_back((name, self.used)),
        }
        // Streams that are used again and again leave uses behind that do not count any more.
        if self.uses.len() > 2 * self.streams.len() + IDS_GIVEN_UP {
            let streams = &self.streams;
            let counts =
                |name: &Arc<str>, at| streams.get(name).is_some_and(|ids| ids.last_use == at);
            self.uses.retain(|(name, at)| counts(name, *at));
        }
    }

    fn forget_beyond_limit(&mut self) {
        while self.weight() > self.ids_max {
            let Some((name, at)) = self.uses.pop_front() else {
                return;
            };
            let Some(ids) = self.streams.get_mut(&name).filter(|ids| ids.last_use == at) else {
                continue;
            };
            let surplus = ids.order.len().saturating_sub(IDS_KEPT);
            if surplus == 0 {
                self.ids -= ids.order.len();
                self.streams.remove(&name);
                continue;
            }
            let given_up = surplus.min(IDS_GIVEN_UP);
            ids.forget_oldest(given_up);
            self.ids -= given_up;
            if given_up < surplus {
                self.uses.push_front((name, at));
            } else {
                // What it keeps goes only after all others have given up as much.
                self.used += 1;
                ids.last_use = self.used;
                self.uses.push_back((name, self.used));
            }
        }
    }
}

impl StreamIds {
    /// Reads what was appended since the last time, `commits_max` commits at most. What lies before those stays unknown,
    /// and what was known before stays.
    fn read_up_to(
        &mut self,
        part: &StreamAppend,
        head: &HeadRow,
        past: &dyn Past,
        commits_max: usize,
    ) -> Result<(), ReadError> {
        let (mut next, mut newest_first) = (Some(head.log_offset), Vec::new());
        let mut commits = 0;
        while let Some(offset) = next.filter(|offset| Some(*offset) != self.read_to) {
            if commits == commits_max || newest_first.len() >= STREAM_IDS_MAX {
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
        self.forget_oldest(self.order.len().saturating_sub(STREAM_IDS_MAX));
        Ok(())
    }

    fn forget_oldest(&mut self, count: usize) {
        for (id, offset) in self.order.drain(..count) {
            if self.frames.get(&id) == Some(&offset) {
                self.frames.remove(&id);
            }
        }
        // A stream that had very many does not keep their room.
        if self.order.capacity() > 4 * (self.order.len() + IDS_KEPT) {
            self.order.shrink_to(2 * self.order.len());
            self.frames.shrink_to(2 * self.frames.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::{LogSequence, StreamId, StreamVersion, Timestamp};
    use std::cell::Cell;

    use super::*;
    use crate::append::{Append, Expected};
    use crate::frame::{FramePlace, RecordedCommit, encode};

    /// The offset of a frame says which stream it is of and how many lie before it; each is made when it is asked for.
    #[derive(Default)]
    struct Made {
        reads: Cell<usize>,
    }

    const STREAM: u64 = 1 << 32;

    impl Past for Made {
        fn commit_at(&self, log_offset: u64) -> Result<RecordedCommit, ReadError> {
            self.reads.set(self.reads.get() + 1);
            let (stream, number) = (log_offset / STREAM, log_offset % STREAM);
            let append = Append::new(id(stream, number), Timestamp::EPOCH).stream(
                name(stream),
                Expected::Any,
                vec![],
            );
            let place = FramePlace {
                previous_checksum: 0,
                sequence: LogSequence::new(1),
                first_position: 1.into(),
                timestamp: Timestamp::EPOCH,
                log_offset,
                parts: &[Some((
                    StreamVersion::new(number),
                    (number > 1).then(|| log_offset - 1),
                ))],
            };
            let mut frame = Vec::new();
            encode(&append, &place, &mut frame).unwrap();
            Ok(RecordedCommit::parse(&frame.into(), log_offset).unwrap())
        }
    }

    fn id(stream: u64, number: u64) -> Uuid {
        Uuid::from_u64_pair(stream, number)
    }

    fn name(stream: u64) -> StreamId {
        StreamId::of("account", &format!("a{stream}")).unwrap()
    }

    fn part(stream: u64) -> StreamAppend {
        StreamAppend {
            stream: name(stream),
            expected: Expected::Any,
            events: Vec::new(),
        }
    }

    fn head(stream: u64, number: u64) -> HeadRow {
        HeadRow {
            version: StreamVersion::new(number),
            sequence: LogSequence::new(number),
            log_offset: stream * STREAM + number,
            commit_id: id(stream, number),
            first_at: Timestamp::EPOCH,
            last_at: Timestamp::EPOCH,
        }
    }

    fn is_found(recent: &mut RecentCommits, past: &Made, at: HeadRow, wanted: (u64, u64)) -> bool {
        let (stream, number) = wanted;
        let found = recent.find(id(stream, number), &part(stream), &at, past);
        matches!(found.unwrap(), Finding::Whole(_))
    }

    const SMALL: usize = 16 * READ_WITH_ROOM;

    fn small() -> RecentCommits {
        RecentCommits {
            ids_max: SMALL,
            ..RecentCommits::default()
        }
    }

    #[test]
    fn w5_streams_that_are_longer_than_memory_are_not_read_again_and_again() {
        let (mut recent, past) = (small(), Made::default());
        // Each with more commits than are read at once, and more of them than fit.
        let streams = 3 * SMALL as u64 / READ_WITH_ROOM as u64;
        let look = |recent: &mut RecentCommits, round: u64| {
            for stream in 1..=streams {
                assert!(!is_found(
                    recent,
                    &past,
                    head(stream, 9_000 + round),
                    (stream, 99_999)
                ));
            }
            past.reads.take()
        };
        // What one has given up is room for the next to be read with.
        assert!(look(&mut recent, 0) <= SMALL + streams as usize * IDS_GIVEN_UP);
        assert!(recent.weight() <= SMALL);
        for round in 1..20 {
            // One commit is new in each.
            assert_eq!(look(&mut recent, round), streams as usize, "round {round}");
            assert!(recent.weight() <= SMALL);
        }
        // What each of them took last is recognised.
        for stream in 1..=streams {
            assert!(is_found(
                &mut recent,
                &past,
                head(stream, 9_019),
                (stream, 9_019)
            ));
        }
    }

    #[test]
    fn w5_what_a_look_reads_has_a_bound_and_more_streams_than_memory_cost_little() {
        let (mut recent, past) = (small(), Made::default());
        assert!(!is_found(&mut recent, &past, head(1, 65_000), (1, 65_001)));
        assert_eq!(past.reads.take(), READ_WITH_ROOM);
        assert!(is_found(
            &mut recent,
            &past,
            head(1, 65_000),
            (1, 65_000 - 4_000)
        ));
        // Since then very much was appended in other ways: what was known stays known.
        assert!(!is_found(&mut recent, &past, head(1, 99_000), (1, 65_001)));
        assert!(is_found(
            &mut recent,
            &past,
            head(1, 99_000),
            (1, 65_000 - 4_000)
        ));
        past.reads.take();
        let streams = SMALL as u64;
        for stream in 2..=streams {
            recent
                .find(id(stream, 7), &part(stream), &head(stream, 2), &past)
                .unwrap();
        }
        assert!(recent.weight() <= SMALL && recent.uses.len() <= SMALL);
        assert!(past.reads.take() <= 2 * streams as usize);
        recent
            .find(id(1, 7), &part(1), &head(1, 99_000), &past)
            .unwrap();
        assert_eq!(past.reads.take(), READ_WITHOUT_ROOM);
    }
}

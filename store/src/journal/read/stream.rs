//! The commits of one stream, found through the links from each to the one before.

use chronicler_domain::{LogSequence, StreamVersion};

use super::batches::Batches;
use super::blocking::{Found, Turn, TurnReader};
use super::frames::FrameReader;
use crate::error::ReadError;
use crate::frame::{PartRef, RecordedCommit, StreamLink};
use crate::query::{Direction, StreamQuery};

/// How many places of frames are remembered at a time when a stream is read forward: 512 KiB. Of a longer
/// stream only every so many-th is, and the places between are looked up again when they are needed.
const PLACES_AT_ONCE: usize = 65_536;

/// Reads one stream in turns.
pub(crate) struct StreamReader {
    frames: FrameReader,
    query: StreamQuery,
    /// The last commit that was durable when the query was made.
    until: LogSequence,
    batches: Batches,
    way: Way,
}

/// Which way, and how far.
enum Way {
    Forward(Forward),
    /// Where the next older frame begins; `None` at the end.
    Backward(Option<u64>),
}

/// A stream is linked backwards only: what is wanted is walked over from its end to its beginning before the first of it
/// can be given.
struct Forward {
    /// The places of the oldest frames that were walked over, newest first: those to be given next.
    places: Vec<u64>,
    /// Where the walks for newer frames begin, newest first.
    walks: Vec<u64>,
    /// Where a walk that is not over goes on.
    walk: Option<u64>,
    /// Whether the walk is the first one, which notes where the later ones begin.
    is_first: bool,
    /// The stream's version after what was given.
    version: Option<StreamVersion>,
}

impl StreamReader {
    /// Reads a stream whose last frame begins at `last_offset`, up to the commit `until`.
    pub(crate) fn new(
        frames: FrameReader,
        query: StreamQuery,
        until: LogSequence,
        last_offset: u64,
    ) -> Option<Self> {
        let batches = Batches::new(query.commits_max);
        if batches.is_done() || query.from > query.to {
            return None;
        }
        let way = match query.direction {
            Direction::Forward => Way::Forward(Forward {
                places: Vec::new(),
                walks: Vec::new(),
                walk: Some(last_offset),
                is_first: true,
                version: None,
            }),
            Direction::Backward => Way::Backward(Some(last_offset)),
        };
        Some(Self {
            frames,
            query,
            until,
            batches,
            way,
        })
    }
}

impl TurnReader for StreamReader {
    fn read(&mut self, turn: &mut Turn) -> Result<Found, ReadError> {
        let Self {
            frames,
            query,
            until,
            batches,
            way,
        } = self;
        frames.limit_window(turn.bytes_max);
        let mut links = Links {
            frames,
            query,
            until: *until,
        };
        let found = match way {
            Way::Forward(forward) => forward.read(&mut links, batches, turn),
            Way::Backward(next) => backward(&mut links, next, batches, turn),
        };
        self.frames.rest();
        found
    }
}

impl Forward {
    fn read(
        &mut self,
        links: &mut Links<'_>,
        batches: &mut Batches,
        turn: &mut Turn,
    ) -> Result<Found, ReadError> {
        loop {
            if !self.walk(links, turn)? {
                return Ok(Found::more(batches.take()));
            }
            while let Some(offset) = self.places.pop() {
                let commit = links.frames.commit_at(offset)?;
                self.version = Some(links.follow(&commit, self.version)?);
                let full = batches.push(commit, links.frames.window(), turn.bytes_max);
                if batches.is_done() {
                    return Ok(Found::last(full.unwrap_or_default()));
                }
                if let Some(batch) = full {
                    return Ok(Found::more(batch));
                }
                let next = self.places.last();
                let may_end = batches.may_end(turn.bytes_max)
                    && next.is_some_and(|next| !links.frames.has_frame(*next));
                let is_over = match next {
                    Some(next) => turn.is_over_before(*next, links.frames),
                    None => turn.is_over(links.frames.loads()),
                };
                if may_end || is_over {
                    return Ok(Found::more(batches.take()));
                }
            }
            match self.walks.pop() {
                Some(begin) => self.walk = Some(begin),
                None => return Ok(Found::last(batches.take())),
            }
        }
    }

    /// Walks on, until the oldest places are known that were not given yet. Whether it is there; not if the turn is over.
    fn walk(&mut self, links: &mut Links<'_>, turn: &mut Turn) -> Result<bool, ReadError> {
        while let Some(offset) = self.walk {
            if turn.is_over_before(offset, links.frames) {
                return Ok(false);
            }
            let (place, older) = links.look(offset)?;
            self.walk = older;
            if !place {
                continue;
            }
            if self.places.len() == PLACES_AT_ONCE {
                self.walks.extend(self.places.first().copied());
                self.places.clear();
            }
            self.places.push(offset);
            if !self.is_first && self.places.len() == PLACES_AT_ONCE {
                self.walk = None;
            }
        }
        self.is_first = false;
        Ok(true)
    }
}

fn backward(
    links: &mut Links<'_>,
    next: &mut Option<u64>,
    batches: &mut Batches,
    turn: &mut Turn,
) -> Result<Found, ReadError> {
    while let Some(offset) = *next {
        let commit = links.frames.commit_at(offset)?;
        let part = links.part_of(&commit)?;
        let link = StreamLink {
            sequence: commit.sequence(),
            first_version: part.first_version(),
            event_count: part.event_count(),
            previous_offset: part.previous_offset(),
        };
        *next = link.previous_offset;
        match links.judge(&link) {
            Place::Before => break,
            Place::Beyond => {}
            Place::Within => {
                let full = batches.push(commit, links.frames.window(), turn.bytes_max);
                if batches.is_done() {
                    return Ok(Found::last(full.unwrap_or_default()));
                }
                if let Some(batch) = full {
                    return Ok(Found::more(batch));
                }
            }
        }
        if next.is_some_and(|next| turn.is_over_before(next, links.frames)) {
            return Ok(Found::more(batches.take()));
        }
    }
    Ok(Found::last(batches.take()))
}

/// The frames of one stream, and what is wanted of them.
struct Links<'a> {
    frames: &'a mut FrameReader,
    query: &'a StreamQuery,
    until: LogSequence,
}

/// Where a commit lies in respect of a query.
enum Place {
    /// Before everything that is wanted, as is all that is older.
    Before,
    Within,
    /// Not wanted; older ones may be.
    Beyond,
}

impl Links<'_> {
    /// Whether a frame is wanted, and where the next older one begins that may be. The frames passed are not checked:
    /// those that are given are, when they are read, and whether they follow one another.
    fn look(&mut self, offset: u64) -> Result<(bool, Option<u64>), ReadError> {
        let bytes = self.frames.bytes_at(offset)?;
        let Some(link) = StreamLink::peek(&bytes, offset, self.query.stream.key()) else {
            // Say what is wrong with it, if it is more than a link that led to the wrong frame.
            self.frames.commit_at(offset)?;
            return Err(self.no_part(offset));
        };
        Ok(match self.judge(&link) {
            Place::Before => (false, None),
            Place::Beyond => (false, link.previous_offset),
            Place::Within => (true, link.previous_offset),
        })
    }

    /// Checks that a commit goes on where the one before ended; the stream's version after it.
    fn follow(
        &self,
        commit: &RecordedCommit,
        version: Option<StreamVersion>,
    ) -> Result<StreamVersion, ReadError> {
        let part = self.part_of(commit)?;
        match version {
            Some(version) if version.next() != part.first_version() => Err(self.frames.damaged(
                commit.log_offset(),
                format!(
                    "stream {} goes on with version {} after version {version}",
                    self.query.stream,
                    part.first_version()
                ),
            )),
            _ => Ok(part.last_version()),
        }
    }

    fn part_of<'a>(&self, commit: &'a RecordedCommit) -> Result<PartRef<'a>, ReadError> {
        let key = self.query.stream.key();
        let part = commit.parts().find(|part| part.stream_key() == key);
        part.ok_or_else(|| self.no_part(commit.log_offset()))
    }

    fn no_part(&self, offset: u64) -> ReadError {
        let reason = format!("the frame has no part of stream {}", self.query.stream);
        self.frames.damaged(offset, reason)
    }

    fn judge(&self, link: &StreamLink) -> Place {
        let query = self.query;
        if link.sequence > self.until {
            return Place::Beyond;
        }
        if link.sequence <= query.after {
            return Place::Before;
        }
        if link.event_count == 0 {
            let version = link.first_version.previous();
            return if version < query.from.previous() {
                Place::Before
            } else if version > query.to || !query.eventless {
                Place::Beyond
            } else {
                Place::Within
            };
        }
        let last = link.first_version.plus(link.event_count).previous();
        if last < query.from {
            Place::Before
        } else if link.first_version > query.to {
            Place::Beyond
        } else {
            Place::Within
        }
    }
}

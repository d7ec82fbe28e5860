//! The commits of one stream, found through the links from each to the one before.

use chronicler_domain::{LogSequence, StreamVersion};

use super::batches::Batches;
use super::blocking::BatchSender;
use super::frames::FrameReader;
use crate::error::ReadError;
use crate::frame::{PartRef, RecordedCommit, StreamLink};
use crate::query::{Direction, StreamQuery};

/// The query, and the last commit that was durable when it was made.
#[derive(Clone, Copy, Debug)]
struct Bounds<'a> {
    query: &'a StreamQuery,
    until: LogSequence,
}

/// How many places of frames are remembered at a time when a stream is read forward: 512 KiB. Of a longer
/// stream only every so many-th is, and the places between are looked up again when they are needed.
const PLACES_AT_ONCE: usize = 65_536;

/// Reads a stream whose last frame begins at `last_offset`, up to the commit `until`.
pub(crate) fn read_stream(
    reader: &mut FrameReader,
    query: &StreamQuery,
    until: LogSequence,
    last_offset: u64,
    sender: &BatchSender,
) -> Result<(), ReadError> {
    let bounds = Bounds { query, until };
    let batches = Batches::new(query.commits_max);
    if batches.is_done() || query.from > query.to {
        return Ok(());
    }
    match query.direction {
        Direction::Forward => forward(reader, bounds, last_offset, batches, sender),
        Direction::Backward => backward(reader, bounds, last_offset, batches, sender),
    }
}

fn forward(
    reader: &mut FrameReader,
    bounds: Bounds<'_>,
    last_offset: u64,
    mut batches: Batches,
    sender: &BatchSender,
) -> Result<(), ReadError> {
    // The places of the oldest frames, and where the walks for the newer ones begin, newest first.
    let (mut places, mut walks) = (Vec::new(), Vec::new());
    let mut next = Some(last_offset);
    while let Some(offset) = walk(reader, bounds, &mut next)? {
        if places.len() == PLACES_AT_ONCE {
            walks.extend(places.first().copied());
            places.clear();
        }
        places.push(offset);
    }
    let mut version = None;
    loop {
        for offset in places.drain(..).rev() {
            let commit = reader.commit_at(offset)?;
            version = Some(follow(reader, bounds.query, &commit, version)?);
            if let Some(batch) = batches.push(commit)
                && !sender.send(batch)
            {
                return Ok(());
            }
            if batches.is_done() {
                return Ok(());
            }
        }
        let Some(begin) = walks.pop() else {
            sender.send(batches.take());
            return Ok(());
        };
        let mut next = Some(begin);
        while places.len() < PLACES_AT_ONCE
            && let Some(offset) = walk(reader, bounds, &mut next)?
        {
            places.push(offset);
        }
    }
}

fn backward(
    reader: &mut FrameReader,
    bounds: Bounds<'_>,
    last_offset: u64,
    mut batches: Batches,
    sender: &BatchSender,
) -> Result<(), ReadError> {
    let mut next = Some(last_offset);
    while let Some(offset) = next {
        let commit = reader.commit_at(offset)?;
        let part = part_of(reader, bounds.query, &commit)?;
        let link = StreamLink {
            sequence: commit.sequence(),
            first_version: part.first_version(),
            event_count: part.event_count(),
            previous_offset: part.previous_offset(),
        };
        next = link.previous_offset;
        match judge(bounds, &link) {
            Place::Before => break,
            Place::Beyond => {}
            Place::Within => {
                if let Some(batch) = batches.push(commit)
                    && !sender.send(batch)
                {
                    return Ok(());
                }
            }
        }
        if batches.is_done() {
            break;
        }
    }
    sender.send(batches.take());
    Ok(())
}

/// The next older frame that the query wants, from `next` on. The frames passed are not checked: those that
/// are given are, when they are read, and whether they follow one another.
fn walk(
    reader: &mut FrameReader,
    bounds: Bounds<'_>,
    next: &mut Option<u64>,
) -> Result<Option<u64>, ReadError> {
    while let Some(offset) = *next {
        let bytes = reader.bytes_at(offset)?;
        let Some(link) = StreamLink::peek(&bytes, offset, bounds.query.stream.key()) else {
            // Say what is wrong with it, if it is more than a link that led to the wrong frame.
            reader.commit_at(offset)?;
            return Err(no_part(reader, bounds.query, offset));
        };
        *next = link.previous_offset;
        match judge(bounds, &link) {
            Place::Before => *next = None,
            Place::Beyond => {}
            Place::Within => return Ok(Some(offset)),
        }
    }
    Ok(None)
}

/// Checks that a commit goes on where the one before ended; the stream's version after it.
fn follow(
    reader: &FrameReader,
    query: &StreamQuery,
    commit: &RecordedCommit,
    version: Option<StreamVersion>,
) -> Result<StreamVersion, ReadError> {
    let part = part_of(reader, query, commit)?;
    match version {
        Some(version) if version.next() != part.first_version() => Err(reader.damaged(
            commit.log_offset(),
            format!(
                "stream {} goes on with version {} after version {version}",
                query.stream,
                part.first_version()
            ),
        )),
        _ => Ok(part.last_version()),
    }
}

fn part_of<'a>(
    reader: &FrameReader,
    query: &StreamQuery,
    commit: &'a RecordedCommit,
) -> Result<PartRef<'a>, ReadError> {
    let key = query.stream.key();
    let part = commit.parts().find(|part| part.stream_key() == key);
    part.ok_or_else(|| no_part(reader, query, commit.log_offset()))
}

fn no_part(reader: &FrameReader, query: &StreamQuery, offset: u64) -> ReadError {
    let reason = format!("the frame has no part of stream {}", query.stream);
    reader.damaged(offset, reason)
}

/// Where a commit lies in respect of a query.
enum Place {
    /// Before everything that is wanted, as is all that is older.
    Before,
    Within,
    /// Not wanted; older ones may be.
    Beyond,
}

fn judge(bounds: Bounds<'_>, link: &StreamLink) -> Place {
    let query = bounds.query;
    if link.sequence > bounds.until {
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

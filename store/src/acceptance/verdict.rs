//! The verdict over one append: compared with the heads of its streams, staged commits included, and with
//! the commits that lie where it says it belongs.

use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use uuid::Uuid;

use super::places::recorded_parts;
use super::reach::Reach;
use super::recent::RecentCommits;
use crate::append::{Append, Appended, Expected, NewEvent, PlacedPart, Positions, StreamAppend};
use crate::error::{AppendError, ReadError};
use crate::frame::{EventRef, PartRef, RecordedCommit, derived_event_id};
use crate::index::HeadRow;
use crate::test_points::{Promise, is_broken};

/// How many commits of a stream are looked at, from its end backwards, in search of the repetition of an append that names
/// a version: about 0.1 s from cached files, which is why nobody but its caller waits for it. An append whose original lies
/// further back is refused. For [`Expected::Any`] `RecentCommits` has the bounds.
pub(crate) const LOOK_BACK_COMMITS_MAX: usize = 65_536;

/// What was accepted before, staged commits included.
pub(crate) trait Past {
    /// The commit whose frame begins at this log offset.
    fn commit_at(&self, log_offset: u64) -> Result<RecordedCommit, ReadError>;
}

/// What is to become of an append that is not refused.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It is new: write it.
    New,
    /// It lies in the log already, at these places: write nothing. It may be staged only, so the answer
    /// waits for everything accepted before it.
    Repetition(Appended),
    /// Refused, unless its original lies further back than was looked: such an append can never be accepted.
    FurtherBack(AppendError),
}

/// Judges an append that passed [`check`](super::check). `heads` are those of its parts, in order, as of
/// everything accepted so far, and `reach` says how far back it is looked for an original where it names a version.
///
/// # Errors
/// Why it is refused; nothing is to be written.
pub(crate) fn judge(
    append: &Append,
    heads: &[Option<HeadRow>],
    past: &dyn Past,
    recent: &mut RecentCommits,
    reach: Reach,
) -> Result<Verdict, AppendError> {
    let plain = |(part, head): (&StreamAppend, &Option<HeadRow>)| {
        let searched = head.is_some() && version_named(part.expected).is_none();
        !searched && holds(part.expected, head.as_ref())
    };
    if append.parts.iter().zip(heads).all(plain) || is_broken(Promise::VersionCheck) {
        return Ok(Verdict::New);
    }
    search(append, heads, past, recent, reach)
}

/// What a search for one part came to.
#[derive(Debug)]
pub(super) enum Finding {
    /// Nothing of it is there.
    Nothing,
    /// All of it is there.
    Whole(Found),
    /// Some of its events are there, but not all of them one after the other.
    Overlap,
    /// Its commit id is there with other events.
    IdReused,
    /// Nothing of it is there as far as was looked.
    FurtherBack,
}

/// A part, found in the log.
#[derive(Debug)]
pub(super) struct Found {
    sequence: LogSequence,
    timestamp: Timestamp,
    first_version: StreamVersion,
    positions: Vec<GlobalPosition>,
}

/// Looks for the events of `part` right after `version`, from the commit at `log_offset` backwards.
pub(super) fn find_after(
    version: StreamVersion,
    commit_id: Uuid,
    part: &StreamAppend,
    log_offset: u64,
    past: &dyn Past,
    reach: &mut Reach,
) -> Result<Finding, ReadError> {
    let count = part.events.len() as u64;
    let last = version.plus(count.max(1));
    let (mut next, mut positions) = (Some(log_offset), Vec::new());
    while let Some(offset) = next {
        if !reach.take() {
            return Ok(Finding::FurtherBack);
        }
        let commit = past.commit_at(offset)?;
        let Some(there) = part_of(&commit, part) else {
            break;
        };
        next = there.previous_offset();
        if there.first_version() > last {
            continue;
        }
        if there.first_version() <= version && there.last_version() <= version {
            break;
        }
        if commit.commit_id() == commit_id {
            return Ok(same_commit(part, &commit, &there));
        }
        let same = |event: &EventRef<'_>| {
            let at = event.version().get().checked_sub(version.get() + 1);
            let ours = at.and_then(|at| part.events.get(usize::try_from(at).ok()?));
            ours.is_some_and(|ours| same_id(ours, commit_id, event))
        };
        let matching = there.events().filter(same).map(|event| event.position());
        positions.splice(0..0, matching);
        if count > 0 && positions.len() as u64 == count {
            return Ok(Finding::Whole(Found {
                sequence: commit.sequence(),
                timestamp: commit.timestamp(),
                first_version: version.next(),
                positions,
            }));
        }
    }
    Ok(Finding::Nothing)
}

/// Compares a part with what a commit of the same id recorded in its stream.
pub(super) fn same_commit(
    part: &StreamAppend,
    commit: &RecordedCommit,
    there: &PartRef<'_>,
) -> Finding {
    let same = part.events.len() as u64 == there.event_count()
        && there.events().zip(&part.events).all(|(event, ours)| {
            let derived = ours.id.is_none() && event.explicit_id().is_none();
            if derived {
                same_content(ours, &event)
            } else {
                same_id(ours, commit.commit_id(), &event)
            }
        });
    if !same {
        return Finding::IdReused;
    }
    Finding::Whole(Found {
        sequence: commit.sequence(),
        timestamp: commit.timestamp(),
        first_version: there.first_version(),
        positions: there.events().map(|event| event.position()).collect(),
    })
}

/// What a commit recorded in the stream of `part`.
pub(super) fn part_of<'a>(commit: &'a RecordedCommit, part: &StreamAppend) -> Option<PartRef<'a>> {
    let key = part.stream.key();
    commit.parts().find(|there| there.stream_key() == key)
}

fn search(
    append: &Append,
    heads: &[Option<HeadRow>],
    past: &dyn Past,
    recent: &mut RecentCommits,
    mut reach: Reach,
) -> Result<Verdict, AppendError> {
    let (mut found, mut refusal, mut overlap) = (Vec::new(), None, None);
    let mut goes_on = false;
    let (mut wanted, mut whole) = (0, 0);
    for ((part, head), recorded) in append.parts.iter().zip(heads).zip(recorded_parts(append)) {
        let mut finding = Finding::Nothing;
        if recorded {
            wanted += 1;
            let reach = &mut reach;
            finding = find(append.commit_id, part, head.as_ref(), past, recent, reach)
                .map_err(|source| unreadable(part, source))?;
        }
        let holds = holds(part.expected, head.as_ref());
        match finding {
            Finding::IdReused => return Err(id_reused(append, part)),
            Finding::Whole(there) => {
                whole += 1;
                overlap.get_or_insert_with(|| wrong_version(part, head.as_ref()));
                found.push(Some(there));
                continue;
            }
            Finding::Nothing if holds => {}
            Finding::Nothing | Finding::Overlap | Finding::FurtherBack => {
                goes_on |= matches!(finding, Finding::FurtherBack);
                refusal.get_or_insert_with(|| mismatch(part, head.as_ref()));
            }
        }
        found.push(None);
    }
    if whole > 0 && whole == wanted {
        return Ok(Verdict::Repetition(original(heads, found)));
    }
    match refusal.or(overlap) {
        Some(error) if goes_on => Ok(Verdict::FurtherBack(error)),
        Some(error) => Err(error),
        None => Ok(Verdict::New),
    }
}

/// Looks for one part where `expected` says that it belongs.
fn find(
    commit_id: Uuid,
    part: &StreamAppend,
    head: Option<&HeadRow>,
    past: &dyn Past,
    recent: &mut RecentCommits,
    reach: &mut Reach,
) -> Result<Finding, ReadError> {
    let Some(head) = head else {
        return Ok(Finding::Nothing);
    };
    match version_named(part.expected) {
        None => recent.find(commit_id, part, head, past),
        Some(_) if holds(part.expected, Some(head)) => Ok(Finding::Nothing),
        Some(version) if too_far_back(version, head) => Ok(Finding::Nothing),
        Some(version) => find_after(version, commit_id, part, head.log_offset, past, reach),
    }
}

/// Whether so many events lie after `version` that a walk is not begun: most streams have one per commit.
fn too_far_back(version: StreamVersion, head: &HeadRow) -> bool {
    let after = head.version.get().saturating_sub(version.get());
    after > LOOK_BACK_COMMITS_MAX as u64
}

/// The version that an expectation names; `None` if it takes any.
fn version_named(expected: Expected) -> Option<StreamVersion> {
    match expected {
        Expected::Any | Expected::Exists => None,
        Expected::NoStream => Some(StreamVersion::ZERO),
        Expected::Version(version) | Expected::Decided { version, .. } => Some(version),
    }
}

fn holds(expected: Expected, head: Option<&HeadRow>) -> bool {
    let actual = version_of(head);
    match expected {
        Expected::Any => true,
        Expected::NoStream => actual == StreamVersion::ZERO,
        Expected::Exists => actual > StreamVersion::ZERO,
        Expected::Version(version) => actual == version,
        Expected::Decided { version, commit_id } => {
            actual == version && head.map(|head| head.commit_id) == commit_id
        }
    }
}

fn version_of(head: Option<&HeadRow>) -> StreamVersion {
    head.map(|head| head.version).unwrap_or_default()
}

fn same_id(ours: &NewEvent, commit_id: Uuid, there: &EventRef<'_>) -> bool {
    match (ours.id, there.explicit_id()) {
        (Some(ours), _) => ours == there.id(),
        (None, Some(explicit)) => {
            let key = there.part().stream_key();
            derived_event_id(commit_id, key, there.version()) == explicit
        }
        (None, None) => there.commit().commit_id() == commit_id,
    }
}

fn same_content(ours: &NewEvent, there: &EventRef<'_>) -> bool {
    ours.event_type == there.event_type()
        && ours.schema_version == there.schema_version()
        && ours.codec == there.codec()
        && ours.payload == there.payload()
}

/// The answer to a repetition.
fn original(heads: &[Option<HeadRow>], found: Vec<Option<Found>>) -> Appended {
    let first = found.iter().flatten().next();
    let sequence = first.map(|first| first.sequence).unwrap_or_default();
    let timestamp = first.map(|first| first.timestamp).unwrap_or_default();
    let place = |(found, head): (Option<Found>, &Option<HeadRow>)| match found {
        Some(found) => PlacedPart {
            first_version: found.first_version,
            last_version: found
                .first_version
                .plus(found.positions.len() as u64)
                .previous(),
            positions: run_or_scattered(found.positions),
        },
        None => PlacedPart {
            first_version: version_of(head.as_ref()).next(),
            last_version: version_of(head.as_ref()),
            positions: run_or_scattered(Vec::new()),
        },
    };
    Appended {
        sequence,
        timestamp,
        parts: found.into_iter().zip(heads).map(place).collect(),
        duplicate: true,
    }
}

fn run_or_scattered(positions: Vec<GlobalPosition>) -> Positions {
    let first = positions.first().copied().unwrap_or_default();
    let expected = (0..).map(|n| first.plus(n));
    match u32::try_from(positions.len()) {
        Ok(count) if positions.iter().copied().eq(expected.take(positions.len())) => {
            Positions::Run { first, count }
        }
        _ => Positions::Scattered(positions),
    }
}

fn mismatch(part: &StreamAppend, head: Option<&HeadRow>) -> AppendError {
    match part.expected {
        Expected::Decided { version, commit_id } if version == version_of(head) => {
            AppendError::Fenced {
                stream: part.stream.clone(),
                version,
                decided_on: commit_id,
                actual: head.map(|head| head.commit_id),
            }
        }
        _ => wrong_version(part, head),
    }
}

fn wrong_version(part: &StreamAppend, head: Option<&HeadRow>) -> AppendError {
    AppendError::WrongExpectedVersion {
        stream: part.stream.clone(),
        expected: part.expected,
        actual: version_of(head),
    }
}

fn id_reused(append: &Append, part: &StreamAppend) -> AppendError {
    AppendError::IdReused {
        commit_id: append.commit_id,
        stream: part.stream.clone(),
    }
}

fn unreadable(part: &StreamAppend, source: ReadError) -> AppendError {
    AppendError::Unreadable {
        stream: part.stream.clone(),
        source,
    }
}

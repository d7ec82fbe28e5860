//! `chronicler stat`: what a directory holds.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chronicler_domain::LogSequence;
use chronicler_store::Start;
use chronicler_store::journal::{JournalReader, SegmentSummary};
use serde::Serialize;
use uuid::Uuid;

use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// What `stat` prints.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    store: Uuid,
    closed: bool,
    position: u64,
    commit: u64,
    time: String,
    log_bytes: u64,
    segments: Vec<SegmentLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

#[derive(Debug, Serialize)]
struct SegmentLine {
    number: u64,
    sealed: bool,
    file_bytes: u64,
    frame_bytes: Option<u64>,
    first_commit: Option<u64>,
    first_position: Option<u64>,
}

/// Everything counted, by category and by event type within it.
#[derive(Debug, Default, Serialize)]
struct Counts {
    commits: u64,
    commits_without_events: u64,
    events: u64,
    categories: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Says what a directory holds.
pub(crate) fn stat(dir: &Path, counts: bool, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let reader = JournalReader::open(dir)?;
    let head = reader.head();
    let report = Report {
        dir: dir.display().to_string(),
        store: reader.store_id(),
        closed: reader.is_closed(),
        position: head.position.get(),
        commit: head.sequence.get(),
        time: head.timestamp.to_string(),
        log_bytes: reader.log_bytes(),
        segments: reader.segments().iter().map(SegmentLine::from).collect(),
        counts: counts.then(|| count(&reader)).transpose()?,
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

fn count(reader: &JournalReader) -> Result<Counts, ToolError> {
    let bar = bar("count", reader.log_bytes());
    let mut counts = Counts::default();
    let mut commits = reader.commits(Start::Sequence(LogSequence::ZERO));
    while let Some(commit) = commits.next().transpose()? {
        bar.set_position(commits.log_offset());
        counts.commits += 1;
        counts.events += u64::from(commit.event_count());
        counts.commits_without_events += u64::from(commit.event_count() == 0);
        for event in commit.events() {
            let (category, event_type) = (event.part().category(), event.event_type());
            let found = counts.categories.get_mut(category);
            match found.and_then(|types| types.get_mut(event_type)) {
                Some(count) => *count += 1,
                None => {
                    let types = counts.categories.entry(category.to_owned()).or_default();
                    types.insert(event_type.to_owned(), 1);
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(counts)
}

impl From<&SegmentSummary> for SegmentLine {
    fn from(segment: &SegmentSummary) -> Self {
        Self {
            number: segment.number,
            sealed: segment.sealed,
            file_bytes: segment.file_bytes,
            frame_bytes: segment.frame_bytes,
            first_commit: segment.first_sequence.map(|sequence| sequence.get()),
            first_position: segment.first_position.map(|position| position.get()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.closed {
            "closed"
        } else {
            "open, or ended without being closed"
        };
        writeln!(f, "{}", self.dir)?;
        writeln!(f, "  store     {}", self.store)?;
        writeln!(f, "  state     {state}")?;
        writeln!(
            f,
            "  end       position {}, commit {}, {}",
            self.position, self.commit, self.time
        )?;
        write!(f, "  log       {} bytes of commits", self.log_bytes)?;
        let or_unknown =
            |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        for segment in &self.segments {
            let state = if segment.sealed { "sealed" } else { "open" };
            write!(
                f,
                "\n  segment {:>4}  {state:<6}  {:>12} bytes of commits, from commit {}, position {}",
                segment.number,
                or_unknown(segment.frame_bytes),
                or_unknown(segment.first_commit),
                or_unknown(segment.first_position)
            )?;
        }
        let Some(counts) = &self.counts else {
            return Ok(());
        };
        write!(
            f,
            "\n  commits   {} ({} without events)\n  events    {}",
            counts.commits, counts.commits_without_events, counts.events
        )?;
        for (category, types) in &counts.categories {
            for (event_type, count) in types {
                write!(f, "\n  {count:>12}  {category} {event_type}")?;
            }
        }
        Ok(())
    }
}

//! `chronicler streams`: which streams there are, and how far they have come.

use std::collections::BTreeMap;
use std::fmt;

use chronicler_domain::{LogSequence, Timestamp};
use chronicler_store::journal::JournalReader;
use chronicler_store::{PartRef, RecordedCommit, Start};
use serde::Serialize;

use crate::cli::StreamsArguments;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;
use crate::stream_name;

/// One stream.
#[derive(Debug, Serialize)]
struct StreamLine {
    stream: String,
    tenant: String,
    category: String,
    id: String,
    version: u64,
    last_commit: u64,
    first_time: String,
    last_time: String,
}

/// What is kept of each stream while the log is read: the memory this takes grows with the number of streams.
#[derive(Debug)]
struct Found {
    version: u64,
    last_commit: u64,
    first_at: Timestamp,
    last_at: Timestamp,
}

/// Lists the streams, by tenant, category and id.
pub(crate) fn streams(
    arguments: &StreamsArguments,
    out: &mut Output<'_>,
) -> Result<Exit, ToolError> {
    let reader = JournalReader::open(&arguments.dir)?;
    let bar = bar("read", reader.log_bytes());
    let mut all = BTreeMap::new();
    let mut commits = reader.commits(Start::Sequence(LogSequence::ZERO));
    while let Some(commit) = commits.next().transpose()? {
        bar.set_position(commits.log_offset());
        for part in commit.parts().filter(|part| is_wanted(arguments, part)) {
            note(&mut all, &commit, &part);
        }
    }
    bar.finish_and_clear();
    for (key, found) in &all {
        let line = StreamLine::new(key, found);
        out.item(&line, &line)?;
    }
    Ok(Exit::Done)
}

fn is_wanted(arguments: &StreamsArguments, part: &PartRef<'_>) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
    let prefix = arguments.prefix.as_deref().unwrap_or_default();
    is(&arguments.category, part.category())
        && is(&arguments.tenant, part.tenant())
        && part.id().starts_with(prefix)
}

fn note(all: &mut BTreeMap<String, Found>, commit: &RecordedCommit, part: &PartRef<'_>) {
    let (version, last_commit) = (part.last_version().get(), commit.sequence().get());
    let at = commit.timestamp();
    match all.get_mut(part.stream_key()) {
        Some(found) => {
            (found.version, found.last_commit, found.last_at) = (version, last_commit, at);
        }
        None => {
            let found = Found {
                version,
                last_commit,
                first_at: at,
                last_at: at,
            };
            all.insert(part.stream_key().to_owned(), found);
        }
    }
}

impl StreamLine {
    fn new(key: &str, found: &Found) -> Self {
        let mut names = key.split('\0').map(str::to_owned);
        let mut name = || names.next().unwrap_or_default();
        Self {
            stream: stream_name::show(key),
            tenant: name(),
            category: name(),
            id: name(),
            version: found.version,
            last_commit: found.last_commit,
            first_time: found.first_at.to_string(),
            last_time: found.last_at.to_string(),
        }
    }
}

impl fmt::Display for StreamLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}  version {}, commit {}, {} to {}",
            self.stream, self.version, self.last_commit, self.first_time, self.last_time
        )
    }
}

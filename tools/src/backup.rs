//! `chronicler backup`: the log, copied beside the application that writes it.

use std::fmt;
use std::path::Path;

use chronicler_store::journal::{BackupReport, JournalReader};
use serde::Serialize;
use uuid::Uuid;

use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// What `backup` prints.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    backup: String,
    store: Uuid,
    position: u64,
    commit: u64,
    time: String,
    segments: u64,
    copied_segments: u64,
    copied_bytes: u64,
    /// The last commit that the backup held before.
    commit_before: u64,
}

/// Takes or renews a backup.
pub(crate) fn backup(dir: &Path, dest: &Path, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let reader = JournalReader::open(dir)?;
    if is_within(dest, dir) {
        let (dir, dest) = (dir.display(), dest.display());
        return Err(ToolError::Refused(format!(
            "{dest} lies within {dir}: what destroys the one destroys the other"
        )));
    }
    let bar = bar("backup", reader.log_bytes());
    let taken = reader.back_up(dest, &|progress| bar.set_position(progress.bytes));
    bar.finish_and_clear();
    let report = Report::new(dir, dest, &taken?);
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

/// Whether a folder, which may not be there yet, lies within another.
fn is_within(folder: &Path, of: &Path) -> bool {
    let Ok(of) = of.canonicalize() else {
        return false;
    };
    let Ok(folder) = std::path::absolute(folder) else {
        return false;
    };
    // The part of it that is there, with its links followed.
    let there = folder.ancestors().find_map(|part| part.canonicalize().ok());
    there.is_some_and(|there| there.starts_with(of))
}

impl Report {
    fn new(dir: &Path, dest: &Path, taken: &BackupReport) -> Self {
        Self {
            dir: dir.display().to_string(),
            backup: dest.display().to_string(),
            store: taken.store_id,
            position: taken.head.position.get(),
            commit: taken.head.sequence.get(),
            time: taken.head.timestamp.to_string(),
            segments: taken.segments,
            copied_segments: taken.copied,
            copied_bytes: taken.copied_bytes,
            commit_before: taken.since.sequence.get(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.dir, self.backup)?;
        writeln!(f, "  store     {}", self.store)?;
        writeln!(
            f,
            "  end       position {}, commit {}, {} (before: commit {})",
            self.position, self.commit, self.time, self.commit_before
        )?;
        write!(
            f,
            "  copied    {} of {} segments, {} bytes",
            self.copied_segments, self.segments, self.copied_bytes
        )
    }
}

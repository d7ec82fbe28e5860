//! `chronicler restore`: from a backup to a data directory.

use std::fmt;
use std::path::Path;

use chronicler_store::journal;
use serde::Serialize;
use uuid::Uuid;

use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// What `restore` prints.
#[derive(Debug, Serialize)]
struct Report {
    backup: String,
    dir: String,
    store: Uuid,
    position: u64,
    commit: u64,
    time: String,
    segments: u64,
    log_bytes: u64,
}

/// Makes a data directory of a backup.
pub(crate) fn restore(backup: &Path, dir: &Path, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let bar = bar("restore", 0);
    let restored = journal::restore(backup, dir, &|progress| {
        bar.set_length(progress.bytes_of);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let restored = restored?;
    let report = Report {
        backup: backup.display().to_string(),
        dir: dir.display().to_string(),
        store: restored.store_id,
        position: restored.head.position.get(),
        commit: restored.head.sequence.get(),
        time: restored.head.timestamp.to_string(),
        segments: restored.segments,
        log_bytes: restored.log_bytes,
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.backup, self.dir)?;
        writeln!(f, "  store     {}", self.store)?;
        writeln!(
            f,
            "  end       position {}, commit {}, {}",
            self.position, self.commit, self.time
        )?;
        writeln!(
            f,
            "  restored  {} segments, {} bytes of commits",
            self.segments, self.log_bytes
        )?;
        write!(
            f,
            "  index     built by the next start of the application, or by `chronicler rebuild-index`"
        )
    }
}

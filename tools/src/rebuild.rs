//! `chronicler rebuild-index`: sled, built again from the journal.

use std::fmt;
use std::path::Path;

use chronicler_store::journal::{JournalOptions, rebuild_index};
use serde::Serialize;

use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::count;

/// What `rebuild-index` prints.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    set_aside: Vec<String>,
    commits: u64,
}

/// Sets sled aside and opens the store, which builds the index again.
pub(crate) fn rebuild(dir: &Path, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let (aside, opened) = replaying(|options| rebuild_index(dir, options))?;
    let commits = opened.replayed;
    let report = Report {
        dir: dir.display().to_string(),
        set_aside: aside
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        commits,
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

/// Opens a store with options that show how far the index has been built.
pub(crate) fn replaying<T, E>(open: impl FnOnce(JournalOptions) -> Result<T, E>) -> Result<T, E> {
    let bar = count("index");
    let told = bar.clone();
    let options = JournalOptions::default().on_replay(move |progress| {
        told.set_length(progress.of.get());
        told.set_position(progress.at.get());
    });
    let opened = open(options);
    bar.finish_and_clear();
    opened
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dir)?;
        for path in &self.set_aside {
            writeln!(f, "  set aside {path}")?;
        }
        writeln!(f, "  index     built again from {} commits", self.commits)?;
        write!(
            f,
            "  views     built again by the next start of the application"
        )
    }
}

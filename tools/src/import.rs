//! `chronicler import`: a data directory from JSON lines, with the numbers that they name.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use chronicler_store::journal::{JournalImport, JournalOptions, MaintenanceError};
use serde::Serialize;
use uuid::Uuid;

use crate::commit_line::CommitLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// The longest line: more than twice the longest commit that a store can be set to take, in hexadecimal digits.
const LINE_BYTES_MAX: u64 = 4 << 30;

/// What `import` prints.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    store: Uuid,
    commits: u64,
    position: u64,
    time: String,
}

/// Makes a data directory of a file, or of standard input.
pub(crate) fn import(
    dir: &Path,
    file: Option<&Path>,
    out: &mut Output<'_>,
) -> Result<Exit, ToolError> {
    let name = file.map_or_else(|| "standard input".to_owned(), |f| f.display().to_string());
    let failed = |source: io::Error| ToolError::File {
        doing: "reading",
        path: name.clone().into(),
        source,
    };
    let (mut from, bytes): (Box<dyn BufRead>, u64) = match file {
        None => (Box::new(io::stdin().lock()), 0),
        Some(path) => {
            let file = File::open(path).map_err(failed)?;
            let bytes = file.metadata().map_err(failed)?.len();
            (Box::new(BufReader::with_capacity(BLOCK_BYTES, file)), bytes)
        }
    };
    let mut import = JournalImport::begin(dir, &JournalOptions::default())?;
    let bar = bar("import", bytes);
    let (mut line, mut read) = (Vec::new(), 0);
    for number in 1_u64.. {
        line.clear();
        let mut limited = from.by_ref().take(LINE_BYTES_MAX);
        let got = limited.read_until(b'\n', &mut line).map_err(failed)?;
        if got == 0 {
            break;
        }
        read += got as u64;
        bar.set_position(read);
        let refused = |reason: String| {
            let reason = format!("{name}, line {number}: {reason}; nothing was imported");
            ToolError::Refused(reason)
        };
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Err(refused(
                "it has no line end: the file is cut short".to_owned(),
            ));
        }
        let parsed: CommitLine =
            serde_json::from_slice(&line).map_err(|error| refused(error.to_string()))?;
        let commit = parsed.into_commit().map_err(refused)?;
        import.push(&commit).map_err(|error| match error {
            MaintenanceError::NotReproducible { reason } => refused(reason),
            other => other.into(),
        })?;
    }
    let store = import.store_id();
    let head = import.finish()?;
    bar.finish_and_clear();
    let report = Report {
        dir: dir.display().to_string(),
        store,
        commits: head.sequence.get(),
        position: head.position.get(),
        time: head.timestamp.to_string(),
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dir)?;
        writeln!(f, "  store     {} (new)", self.store)?;
        write!(
            f,
            "  imported  {} commits, up to position {}, {}",
            self.commits, self.position, self.time
        )
    }
}

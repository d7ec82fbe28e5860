//! `chronicler export`: the whole log as JSON lines, one commit a line.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chronicler_domain::LogSequence;
use chronicler_store::Start;
use chronicler_store::journal::JournalReader;
use serde::Serialize;
use uuid::Uuid;

use crate::commit_line::CommitLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// How much is written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// What `export` prints when it wrote a file.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    file: String,
    store: Uuid,
    commits: u64,
    position: u64,
}

/// Writes the log to a file, or prints it.
pub(crate) fn export(
    dir: &Path,
    file: Option<&Path>,
    out: &mut Output<'_>,
) -> Result<Exit, ToolError> {
    let reader = JournalReader::open(dir)?;
    let Some(file) = file else {
        let line = |line: &[u8]| out.raw(line);
        return each_line(&reader, line).map(|()| Exit::Done);
    };
    if file.exists() {
        let reason = format!("{} is there already: name another file", file.display());
        return Err(ToolError::Refused(reason));
    }
    write(&reader, file)?;
    let report = Report {
        dir: dir.display().to_string(),
        file: file.display().to_string(),
        store: reader.store_id(),
        commits: reader.head().sequence.get(),
        position: reader.head().position.get(),
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

/// Writes beside the file and renames: under its name it is whole, and there after a crash.
fn write(reader: &JournalReader, file: &Path) -> Result<(), ToolError> {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |source: io::Error| ToolError::File {
        doing: "writing",
        path: new.clone(),
        source,
    };
    let begun = File::create_new(&new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ToolError::Refused(format!(
            "{} is there already: remove it if an export that was cut short has left it, or name another file",
            new.display()
        )),
        _ => failed(error),
    })?;
    let mut to = BufWriter::with_capacity(BLOCK_BYTES, begun);
    let written = each_line(reader, |line| to.write_all(line).map_err(failed));
    let done = written.and_then(|()| {
        let file = to
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    });
    let renamed = done.and_then(|()| {
        fs::rename(&new, file)
            .and_then(|()| sync_name(file))
            .map_err(failed)
    });
    renamed.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Makes the name of a file durable.
fn sync_name(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn each_line(
    reader: &JournalReader,
    mut write: impl FnMut(&[u8]) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    let bar = bar("export", reader.log_bytes());
    let mut commits = reader.commits(Start::Sequence(LogSequence::ZERO));
    let mut line = Vec::new();
    while let Some(commit) = commits.next().transpose()? {
        bar.set_position(commits.log_offset());
        line.clear();
        serde_json::to_writer(&mut line, &CommitLine::new(&commit))
            .map_err(|error| ToolError::Output(error.into()))?;
        line.push(b'\n');
        write(&line)?;
    }
    bar.finish_and_clear();
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.dir, self.file)?;
        writeln!(f, "  store     {}", self.store)?;
        write!(
            f,
            "  exported  {} commits, up to position {}",
            self.commits, self.position
        )
    }
}

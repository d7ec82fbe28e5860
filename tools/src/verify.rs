//! `chronicler verify`: is everything as it was written?

use std::fmt;
use std::path::Path;
use std::time::Instant;

use chronicler_store::journal::{JournalReader, Verification};
use serde::Serialize;
use uuid::Uuid;

use crate::damage::DamageLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;

/// What `verify` prints.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    whole: bool,
    store: Uuid,
    closed: bool,
    segments: u64,
    unsealed: u64,
    commits: u64,
    events: u64,
    bytes: u64,
    seconds: f64,
    megabytes_per_second: f64,
    position: u64,
    commit: u64,
    time: String,
    damage: Vec<DamageLine>,
}

/// Checks a directory.
pub(crate) fn verify(dir: &Path, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let begun = Instant::now();
    let reader = JournalReader::open(dir)?;
    let bar = bar("verify", 0);
    let found = reader.verify(&|progress| {
        bar.set_length(progress.bytes_of);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let report = Report::new(dir, &found, begun.elapsed().as_secs_f64());
    out.item(&report, &report)?;
    Ok(if found.is_whole() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

impl Report {
    fn new(dir: &Path, found: &Verification, seconds: f64) -> Self {
        Self {
            dir: dir.display().to_string(),
            whole: found.is_whole(),
            store: found.store_id,
            closed: found.closed,
            segments: found.segments,
            unsealed: found.unsealed,
            commits: found.commits,
            events: found.events,
            bytes: found.bytes,
            seconds,
            megabytes_per_second: found.bytes as f64 / 1e6 / seconds.max(1e-9),
            position: found.head.position.get(),
            commit: found.head.sequence.get(),
            time: found.head.timestamp.to_string(),
            damage: found.damage.iter().map(DamageLine::from).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.whole { "whole" } else { "DAMAGED" };
        writeln!(f, "{}: {verdict}", self.dir)?;
        for damage in &self.damage {
            writeln!(f, "{damage}")?;
        }
        let state = if self.closed {
            "closed"
        } else {
            "open, or ended without being closed"
        };
        writeln!(f, "  store     {}", self.store)?;
        writeln!(f, "  state     {state}")?;
        writeln!(
            f,
            "  end       position {}, commit {}, {}",
            self.position, self.commit, self.time
        )?;
        writeln!(
            f,
            "  segments  {} ({} not sealed yet)",
            self.segments, self.unsealed
        )?;
        writeln!(f, "  commits   {}", self.commits)?;
        writeln!(f, "  events    {}", self.events)?;
        write!(
            f,
            "  bytes     {} in {:.3} s, {:.0} MB/s",
            self.bytes, self.seconds, self.megabytes_per_second
        )
    }
}

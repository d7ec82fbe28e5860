//! `chronicler tail`: the newest events, and what follows them.

use std::thread;
use std::time::Duration;

use chronicler_store::Start;
use chronicler_store::journal::{Commits, JournalReader};

use crate::cli::TailArguments;
use crate::event_line::EventLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::payload::Payloads;

/// How often the head marker is looked at: one small read, and soon enough for a person.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Prints the newest events; with `follow` goes on as long as `goes_on` says so, asked before each look.
pub(crate) fn tail(
    arguments: &TailArguments,
    out: &mut Output<'_>,
    payloads: &dyn Payloads,
    mut goes_on: impl FnMut() -> bool,
) -> Result<Exit, ToolError> {
    let mut reader = JournalReader::open(&arguments.dir)?;
    let head = reader.head().position;
    let first = head.get().saturating_sub(arguments.lines) + 1;
    let mut commits = reader.commits(Start::Position(first.into()));
    print(&mut commits, first, out, payloads)?;
    while arguments.follow && goes_on() {
        thread::sleep(LOOK_EVERY);
        if let Some(now) = reader.refreshed()? {
            reader = now;
            commits = reader.commits_after(&commits);
            print(&mut commits, first, out, payloads)?;
        }
    }
    Ok(Exit::Done)
}

fn print(
    commits: &mut Commits,
    first: u64,
    out: &mut Output<'_>,
    payloads: &dyn Payloads,
) -> Result<(), ToolError> {
    for commit in commits {
        let commit = commit?;
        let metadata = commit.metadata();
        for event in commit
            .events()
            .filter(|event| event.position().get() >= first)
        {
            let line = EventLine::new(&event, &metadata, payloads);
            out.item(&line, &line)?;
        }
    }
    out.flush()
}

//! `chronicler events`: what happened, oldest first.

use chronicler_domain::GlobalPosition;
use chronicler_store::journal::JournalReader;
use chronicler_store::{EventRef, ReadError, Start};

use crate::cli::EventsArguments;
use crate::event_line::EventLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::payload::Payloads;
use crate::progress::bar;

/// Prints the events that were asked for.
pub(crate) fn events(
    arguments: &EventsArguments,
    out: &mut Output<'_>,
    payloads: &dyn Payloads,
) -> Result<Exit, ToolError> {
    let reader = JournalReader::open(&arguments.dir)?;
    let mut left = arguments.limit;
    let from = GlobalPosition::new(arguments.from.unwrap_or(0));
    let to = GlobalPosition::new(arguments.to.unwrap_or(u64::MAX));
    let head = reader.head().position;
    if from > head.next() {
        let position = from;
        return Err(ReadError::BeyondHead { position, head }.into());
    }
    let mut commits = match (&arguments.stream, arguments.from, arguments.since) {
        (Some(stream), _, _) => reader.commits_of(stream)?,
        (None, None, Some(since)) => reader.commits(Start::Time(since)),
        (None, _, _) => reader.commits(Start::Position(from)),
    };
    let bar = bar("read", reader.log_bytes());
    while left > 0
        && let Some(commit) = commits.next().transpose()?
    {
        bar.set_position(commits.log_offset());
        if commit.first_position() > to {
            break;
        }
        let in_time = arguments
            .since
            .is_none_or(|since| commit.timestamp() >= since);
        if commit.event_count() == 0 || !in_time {
            continue;
        }
        let metadata = commit.metadata();
        let correlated = arguments
            .correlation
            .is_none_or(|id| id == metadata.correlation_id);
        if !correlated {
            continue;
        }
        let within = |event: &EventRef<'_>| (from..=to).contains(&event.position());
        let wanted = commit
            .events()
            .filter(|event| within(event) && is_wanted(arguments, event));
        for event in wanted.take(left) {
            let line = EventLine::new(&event, &metadata, payloads);
            out.item(&line, &line)?;
            left -= 1;
        }
    }
    bar.finish_and_clear();
    Ok(Exit::Done)
}

fn is_wanted(arguments: &EventsArguments, event: &EventRef<'_>) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
    let stream = arguments.stream.as_ref();
    stream.is_none_or(|stream| stream.key() == event.part().stream_key())
        && is(&arguments.category, event.part().category())
        && is(&arguments.event_type, event.event_type())
}

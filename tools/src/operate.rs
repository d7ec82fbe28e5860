//! `chronicler status` and the verbs that change something: asked of the application that has the directory open, and
//! else carried out in the directory.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use chronicler::operator::{
    AskError, OperatorRequest, OperatorVerb, ParkedLine, Status, ask_telling,
};
use chronicler::{App, StartError};
use chronicler_store::OpenError;
use serde_json::Value;

use crate::cli::Reason;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::stream_name::{on_a_line, printable};

/// Asks the running application, and at a terminal says so when it keeps one waiting.
pub(crate) fn ask(dir: &Path, request: &OperatorRequest) -> Result<Value, AskError> {
    let somebody_looks = io::stderr().is_terminal();
    ask_telling(dir, request, |waited| {
        if somebody_looks {
            eprintln!(
                "no answer for {} s: the application is busy, or stopped by a signal. Ctrl-C ends the waiting; what was asked may be done all the same",
                waited.as_secs()
            );
        }
    })
}

/// Asks the running application something that changes nothing.
fn look(dir: &Path, verb: OperatorVerb) -> Result<Value, ToolError> {
    let request = OperatorRequest {
        verb,
        by: String::new(),
        why: String::new(),
    };
    match ask(dir, &request) {
        Ok(answer) => Ok(answer),
        Err(AskError::NobodyListens(error)) => {
            let dir = dir.display();
            Err(ToolError::Refused(format!(
                "no application listens in {dir} ({error}); `chronicler stat {dir}` says what lies there"
            )))
        }
        Err(error) => Err(refused(error)),
    }
}

fn unreadable(error: serde_json::Error) -> ToolError {
    ToolError::Refused(format!("the answer cannot be read: {error}"))
}

/// Says how a running application is.
pub(crate) fn status(dir: &Path, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let answer = look(dir, OperatorVerb::Status)?;
    let status: Status = serde_json::from_value(answer).map_err(unreadable)?;
    out.item(&status, Lines(&status))?;
    Ok(match status.read_only {
        None => Exit::Done,
        Some(_) => Exit::Damaged,
    })
}

/// Lists what a consumer of a running application has parked.
pub(crate) fn parked(
    dir: &Path,
    consumer: String,
    out: &mut Output<'_>,
) -> Result<Exit, ToolError> {
    let answer = look(dir, OperatorVerb::Parked { consumer })?;
    let groups: Vec<ParkedLine> = serde_json::from_value(answer).map_err(unreadable)?;
    for group in &groups {
        out.item(group, Group(group))?;
    }
    Ok(Exit::Done)
}

/// Has something done by the running application; where none runs, by one that this makes of the directory.
pub(crate) fn change(
    dir: &Path,
    verb: OperatorVerb,
    reason: Reason,
    out: &mut Output<'_>,
) -> Result<Exit, ToolError> {
    let Reason { why, by } = reason;
    let request = OperatorRequest { verb, by, why };
    let answer = match ask(dir, &request) {
        Err(AskError::NobodyListens(_)) => in_the_directory(dir, &request)?,
        Err(error) => return Err(refused(error)),
        Ok(answer) => answer,
    };
    out.item(&answer, Words(&answer))?;
    Ok(Exit::Done)
}

/// Carries a request out by an application that this makes of the directory, and that defines nothing.
pub(crate) fn in_the_directory(dir: &Path, request: &OperatorRequest) -> Result<Value, ToolError> {
    if let OperatorVerb::RebuildView { projection } = &request.verb {
        return Err(ToolError::Refused(format!(
            "no application runs in {}: only one that defines {projection} can build its view",
            dir.display()
        )));
    }
    // A directory that is not there is not begun.
    chronicler_store::journal::JournalReader::open(dir)?;
    let failed = |error: std::io::Error| ToolError::Refused(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(failed)?.block_on(async {
        // Nothing is registered: no command is decided, no view folded, no saga goes on.
        let app = App::open(dir).operator_socket(None).start().await;
        let app = app.map_err(|error| match error {
            StartError::Open(OpenError::Locked { path, holder }) => ToolError::Refused(format!(
                "{holder} has {} open and does not listen for operators: it is still starting, or has no socket",
                path.display()
            )),
            StartError::Open(error) => error.into(),
            error => ToolError::Refused(error.to_string()),
        })?;
        let done = app.operate(request).await;
        app.stop().await;
        Ok(done?)
    })
}

pub(crate) fn refused(error: AskError) -> ToolError {
    match error {
        AskError::Refused(error) => error.into(),
        error => ToolError::NoAnswer(error),
    }
}

/// An answer as words: `stream account/a, was_quarantined true`.
pub(crate) struct Words<'a>(pub(crate) &'a Value);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.as_object().into_iter().flatten();
        for (number, (name, value)) in fields.enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            match value.as_str() {
                Some(text) => write!(f, "{separator}{} {text}", name.replace('_', " "))?,
                None => write!(f, "{separator}{} {value}", name.replace('_', " "))?,
            }
        }
        Ok(())
    }
}

struct Group<'a>(&'a ParkedLine);

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.0;
        write!(
            f,
            "group {}: {} parked and {} held since {}, tried {} times, last at {}: {}",
            group.group,
            group.events,
            group.held,
            group.since,
            group.tries,
            group.last,
            on_a_line(&group.reason)
        )?;
        for key in &group.keys {
            write!(f, "\n  {}", printable(key))?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a Status);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(
            f,
            "process {}, position {}, commit {}, ",
            status.process, status.position, status.commit
        )?;
        match &status.read_only {
            None => write!(f, "the log takes writes")?,
            Some(reason) => write!(f, "the log takes NO MORE WRITES: {}", on_a_line(reason))?,
        }
        for projection in &status.projections {
            write!(
                f,
                "\nprojection {}: {}, at {}, {} behind, {} parked",
                printable(&projection.name),
                on_a_line(&projection.status),
                projection.position,
                projection.lag,
                projection.parked
            )?;
            if let Some(unhealthy) = &projection.unhealthy {
                write!(f, ", DOES NOT MOVE: {}", on_a_line(unhealthy))?;
            }
        }
        for subscription in &status.subscriptions {
            write!(
                f,
                "\nsubscription {}: done up to {}",
                printable(&subscription.name),
                subscription.position
            )?;
        }
        for follower in &status.followers {
            write!(
                f,
                "\nfollower {}: at {}, {} behind, {} parked",
                printable(&follower.name),
                follower.position,
                follower.behind,
                follower.parked
            )?;
            if let Some(oldest) = &follower.oldest {
                write!(f, ", on what happened at {oldest}")?;
            }
            if follower.full {
                write!(f, ", READS NO FURTHER: as many are parked as may be")?;
            }
        }
        for unregistered in &status.unregistered {
            write!(f, "\nNOT REGISTERED {unregistered}")?;
        }
        for instance in &status.quarantined {
            write!(
                f,
                "\nquarantined {}: {}",
                printable(&instance.stream),
                on_a_line(&instance.reason)
            )?;
        }
        for instance in &status.failing {
            write!(
                f,
                "\nfailing {}: tried {} times since {}: {}",
                printable(&instance.stream),
                instance.attempts,
                instance.since,
                on_a_line(&instance.reason)
            )?;
        }
        for worker in &status.workers {
            let fate = if worker.given_up { ", GIVEN UP" } else { "" };
            write!(
                f,
                "\nworker {}{fate}: failed {} times since {}: {}",
                printable(&worker.name),
                worker.failures,
                worker.since,
                on_a_line(&worker.reason)
            )?;
        }
        Ok(())
    }
}

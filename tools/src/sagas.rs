//! `chronicler saga`: what sagas are doing, and what an operator can have done with one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chronicler::operator::{
    AskError, OperatorError, OperatorRequest, OperatorVerb, SagaDetail, SagaLine,
};
use chronicler::runtime::{Clock, SystemClock};
use chronicler::sagas::{Answer, OpenSaga, SagaVerb};
use chronicler_domain::{LogSequence, StreamId, Timestamp};
use chronicler_store::journal::JournalReader;
use chronicler_store::{FactKind, RecordRef, Start};
use clap::{ArgGroup, Args, Subcommand};

use crate::cli::Reason;
use crate::exit::{Exit, ToolError};
use crate::operate::{Words, ask, in_the_directory, refused};
use crate::output::Output;
use crate::progress::bar;
use crate::saga_line::{Line, Whole};

/// The statuses of open sagas.
const STATUSES: [&str; 8] = [
    "waiting",
    "running",
    "retrying",
    "parked",
    "paused",
    "compensating",
    "compensation-stuck",
    "quarantined",
];

/// What to do with sagas.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum SagaCommand {
    /// Lists the open sagas; of a running application, or else of the directory
    List(ListArguments),
    /// Shows one saga, whole: its effects, timers, and of one that a running application defines what remains and what happened to it
    Show {
        /// Which
        #[command(flatten)]
        one: One,
        /// Prints only its path through its definition, as a Mermaid diagram
        #[arg(long)]
        mermaid: bool,
    },
    /// Has parked effects and stuck undos tried again, and what waits for its next attempt at once
    Retry(Changed),
    /// Runs the undos of everything that was done; refused after the pivot
    Cancel(Changed),
    /// Lets it go from quarantine, and takes up the inputs that waited
    Release(Changed),
    /// Lets inputs wait, and begins no further attempt
    Pause(Changed),
    /// Takes up what waited since it was paused
    Resume(Changed),
    /// Ends it as it is: nothing more is done, and nothing undone
    Terminate(Changed),
    /// Has it go by the newest version of its definition
    Migrate(Changed),
    /// Gives up the stuck undo of an effect; the others are run
    Abandon(Keyed),
    /// Goes on without an effect that waits, as if it had given this
    Skip {
        /// Which effect of which saga
        #[command(flatten)]
        keyed: Keyed,
        /// What it goes on with in the place of the reply, as JSON
        #[arg(long, default_value = "null")]
        output: String,
    },
    /// Says how an effect ended that waits for a person, or that its stuck undo was done
    Settle(SettleArguments),
    /// Changes what is sent for a parked effect or a stuck undo, and has it tried again
    Edit {
        /// Which effect of which saga
        #[command(flatten)]
        keyed: Keyed,
        /// The command as JSON; for a call its request as the service takes it, as text or as 0x and digits
        #[arg(long)]
        payload: String,
    },
    /// Says something to it, under the name that it waits for
    Signal {
        /// Which name to which saga
        #[command(flatten)]
        keyed: Keyed,
        /// What is said, as JSON
        #[arg(long, default_value = "null")]
        payload: String,
    },
    /// Moves a timer that is armed
    MoveTimer {
        /// Which timer of which saga
        #[command(flatten)]
        keyed: Keyed,
        /// When it is due, as 2026-01-31T12:00:00Z
        #[arg(long)]
        due: Timestamp,
    },
    /// Disarms a timer
    CancelTimer(Keyed),
    /// Begins another saga with what this one, which has ended, did before an effect was decided
    Fork {
        /// Before which effect of which saga
        #[command(flatten)]
        keyed: Keyed,
        /// The id of the other
        #[arg(long)]
        id: String,
    },
}

/// Which open sagas to list.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// The data directory
    pub dir: PathBuf,
    /// Only those of this name
    #[arg(long)]
    pub saga: Option<String>,
    /// Only those in this status
    #[arg(long, value_parser = STATUSES)]
    pub status: Option<String>,
    /// Only those that go by this version of their definition
    #[arg(long = "definition")]
    pub version: Option<u32>,
    /// Only those that began longer ago, as 90s, 15m, 12h or 7d
    #[arg(long, value_parser = age)]
    pub older_than: Option<Duration>,
    /// Only those that wait for this
    #[arg(long)]
    pub waits_for: Option<String>,
    /// Only those that a person should look at: parked, paused, stuck, quarantined, escalated or not registered
    #[arg(long)]
    pub attention: bool,
}

/// One saga.
#[derive(Clone, Debug, Args)]
pub struct One {
    /// The data directory
    pub dir: PathBuf,
    /// The instance: saga:name/id, or tenant:saga:name/id
    pub stream: StreamId,
}

/// One saga, and who changes it and why.
#[derive(Clone, Debug, Args)]
pub struct Changed {
    /// Which
    #[command(flatten)]
    pub one: One,
    /// Who and why
    #[command(flatten)]
    pub reason: Reason,
}

/// Something of one saga, by its key.
#[derive(Clone, Debug, Args)]
pub struct Keyed {
    /// Which
    #[command(flatten)]
    pub one: One,
    /// The key of the effect or timer, or the name of the signal
    pub key: String,
    /// Who and why
    #[command(flatten)]
    pub reason: Reason,
}

/// How an effect ended.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("outcome").required(true).args(["done", "rejected", "unknown"])))]
pub struct SettleArguments {
    /// Which effect of which saga
    #[command(flatten)]
    pub keyed: Keyed,
    /// It was done, with this reply as JSON
    #[arg(long, value_name = "REPLY")]
    pub done: Option<String>,
    /// It was refused, for this reason as JSON
    #[arg(long, value_name = "REASON")]
    pub rejected: Option<String>,
    /// It may have been done; only for calls
    #[arg(long, value_name = "WORDS")]
    pub unknown: Option<String>,
}

/// An age as `90s`, `15m`, `12h` or `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no age: say 90s, 15m, 12h or 7d");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// Carries a command out.
pub(crate) fn perform(command: SagaCommand, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    use SagaCommand::{
        Abandon, Cancel, CancelTimer, Edit, Fork, List, Migrate, MoveTimer, Pause, Release, Resume,
        Retry, Settle, Show, Signal, Skip, Terminate,
    };
    let on = |Changed { one, reason }, verb| Ok((one, verb, reason));
    let about = |Keyed { one, key, reason }, verb: &dyn Fn(String) -> SagaVerb| {
        Ok((one, verb(key), reason))
    };
    let wanted: Result<(One, SagaVerb, Reason), ToolError> = match command {
        List(arguments) => return list(&arguments, out),
        Show { one, mermaid } => return show(&one, mermaid, out),
        Retry(changed) => on(changed, SagaVerb::RetryNow),
        Cancel(changed) => on(changed, SagaVerb::Cancel),
        Release(changed) => on(changed, SagaVerb::Release),
        Pause(changed) => on(changed, SagaVerb::Pause),
        Resume(changed) => on(changed, SagaVerb::Resume),
        Terminate(changed) => on(changed, SagaVerb::Terminate),
        Migrate(changed) => on(changed, SagaVerb::Migrate),
        Abandon(keyed) => about(keyed, &|key| SagaVerb::Abandon { key }),
        Skip { keyed, output } => {
            let output = json("--output", output)?;
            about(keyed, &|key| SagaVerb::Skip {
                key,
                output: output.clone(),
            })
        }
        Settle(SettleArguments {
            keyed,
            done,
            rejected,
            unknown,
        }) => {
            let outcome = match (done, rejected) {
                (Some(reply), _) => Answer::Done(json("--done", reply)?),
                (None, Some(reason)) => Answer::Rejected(json("--rejected", reason)?),
                (None, None) => Answer::Unknown(unknown.unwrap_or_default()),
            };
            about(keyed, &|key| SagaVerb::Settle {
                key,
                outcome: outcome.clone(),
            })
        }
        Edit { keyed, payload } => about(keyed, &|key| SagaVerb::Edit {
            key,
            payload: payload.clone(),
        }),
        Signal { keyed, payload } => {
            let payload = json("--payload", payload)?;
            about(keyed, &|name| SagaVerb::Signal {
                name,
                payload: payload.clone(),
            })
        }
        MoveTimer { keyed, due } => about(keyed, &|key| SagaVerb::MoveTimer { key, due }),
        CancelTimer(keyed) => about(keyed, &|key| SagaVerb::CancelTimer { key }),
        Fork { keyed, id } => about(keyed, &|before| SagaVerb::Fork {
            before,
            id: id.clone(),
        }),
    };
    let (One { dir, stream }, saga_verb, reason) = wanted?;
    let verb = OperatorVerb::ChangeSaga {
        stream: stream.to_string(),
        change: saga_verb,
    };
    let Reason { why, by } = reason;
    let request = OperatorRequest { verb, by, why };
    let answer = match ask(&dir, &request) {
        // What takes none of the saga's code is done in the directory.
        Err(AskError::NobodyListens(_)) => in_the_directory(&dir, &request)?,
        answer => answer.map_err(refused)?,
    };
    out.item(&answer, Words(&answer))?;
    Ok(Exit::Done)
}

fn json(argument: &str, text: String) -> Result<String, ToolError> {
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ToolError::Refused(format!(
            "{argument} {text:?} is no JSON ({error}); a text stands in quotes, as '\"text\"'"
        ))),
    }
}

/// Asks for something that changes nothing.
fn look<T: serde::de::DeserializeOwned>(dir: &Path, verb: OperatorVerb) -> Result<T, AskError> {
    let request = OperatorRequest {
        verb,
        by: String::new(),
        why: String::new(),
    };
    let unreadable = |error: serde_json::Error| {
        let failed = format!("the answer cannot be read: {error}");
        AskError::Refused(OperatorError::Failed(failed))
    };
    serde_json::from_value(ask(dir, &request)?).map_err(unreadable)
}

/// The open sagas that a directory holds, without its lock and whether or not an application has it open.
fn lying_in(dir: &Path) -> Result<Vec<SagaLine>, ToolError> {
    let reader = JournalReader::open(dir)?;
    let bar = bar("sagas", reader.log_bytes());
    let mut open = BTreeMap::new();
    let mut commits = reader.commits(Start::Sequence(LogSequence::ZERO));
    while let Some(commit) = commits.next().transpose()? {
        bar.set_position(commits.log_offset());
        for record in commit.records() {
            if let RecordRef::Fact { kind, key, value } = record
                && kind == FactKind::OPEN_SAGA
            {
                match value {
                    Some(value) => {
                        let listed = OpenSaga::read(key, value, commit.sequence());
                        open.insert(key.to_vec(), listed);
                    }
                    None => drop(open.remove(key)),
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(open.into_values().flatten().map(SagaLine::from).collect())
}

fn list(wanted: &ListArguments, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let sagas: Vec<SagaLine> = match look(&wanted.dir, OperatorVerb::Sagas) {
        Ok(sagas) => sagas,
        Err(AskError::NobodyListens(_)) => lying_in(&wanted.dir)?,
        Err(error) => return Err(refused(error)),
    };
    let now = SystemClock.now();
    let is_wanted = |saga: &&SagaLine| {
        let stream: Option<StreamId> = saga.stream.parse().ok();
        let name = stream.and_then(|stream| {
            let name = stream.category().strip_prefix("saga:")?;
            Some(name.to_owned())
        });
        let status = wanted
            .status
            .as_ref()
            .map(|status| status.replace('-', " "));
        wanted
            .saga
            .as_ref()
            .is_none_or(|saga| name.as_ref() == Some(saga))
            && status.is_none_or(|status| status == saga.status)
            && wanted.version.is_none_or(|version| version == saga.version)
            && wanted
                .older_than
                .is_none_or(|age| now.since(saga.since) > age)
            && wanted
                .waits_for
                .as_ref()
                .is_none_or(|on| saga.waits_for.contains(on))
            && (!wanted.attention || saga.needs_a_person())
    };
    for saga in sagas.iter().filter(is_wanted) {
        out.item(saga, Line(saga))?;
    }
    Ok(Exit::Done)
}

fn show(one: &One, mermaid: bool, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let stream = one.stream.to_string();
    let verb = OperatorVerb::Saga { stream };
    let detail: SagaDetail = match look(&one.dir, verb.clone()) {
        Err(AskError::NobodyListens(_)) => {
            let (by, why) = (String::new(), String::new());
            let shown = in_the_directory(&one.dir, &OperatorRequest { verb, by, why })?;
            serde_json::from_value(shown).map_err(|error| ToolError::Refused(error.to_string()))?
        }
        detail => detail.map_err(refused)?,
    };
    match (mermaid, &detail.diagram) {
        (false, _) => out.item(&detail, Whole(&detail))?,
        (true, Some(diagram)) => out.raw(diagram.as_bytes())?,
        (true, None) => {
            let why = "it is no saga of steps, and has no diagram";
            return Err(ToolError::Refused(why.to_owned()));
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_number_and_a_unit() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "s", "7", "7w", "-1s", "7ä"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}

//! The history of an instance, in words.

use chronicler_domain::{GlobalPosition, Tenant, Timestamp};
use chronicler_store::EventRef;
use chronicler_store::codec::EventDecoder;
use uuid::Uuid;

use crate::definition::answer::Answer;
use crate::instance::action::{Action, Way};
use crate::instance::entry::{Entry, OWN_PREFIX};
use crate::instance::id::printed;

/// One entry of an instance's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryLine {
    /// When its commit was accepted.
    pub timestamp: Timestamp,
    /// Its place in the log.
    pub position: GlobalPosition,
    /// Its type: `$` begins those of the executor, the others are the saga's own.
    pub event_type: String,
    /// What it says, for those of the executor; empty for the saga's own.
    pub says: String,
    /// What caused its commit: an event, an effect, or a request.
    pub cause: Option<Uuid>,
}

impl HistoryLine {
    pub(crate) fn of(event: &EventRef<'_>, tenant: &Tenant, decoder: &EventDecoder<Entry>) -> Self {
        let event_type = event.event_type().to_owned();
        let says = match event_type.starts_with(OWN_PREFIX) {
            false => String::new(),
            true => match decoder.decode(event) {
                Ok(entries) => entries
                    .into_iter()
                    .map(|entry| says(&entry, tenant))
                    .collect::<Vec<_>>()
                    .join("; "),
                Err(error) => format!("unreadable: {error}"),
            },
        };
        Self {
            timestamp: event.timestamp(),
            position: event.position(),
            event_type,
            says,
            cause: event.commit().metadata().causation_id,
        }
    }
}

fn named(Action { effect, way }: Action) -> String {
    match way {
        Way::Do => format!("effect {effect}"),
        Way::Undo => format!("the undo of effect {effect}"),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Done(_) | Answer::Rejected(_) => answer.word().to_owned(),
        Answer::Unknown(reason) => format!("unknown: {reason}"),
    }
}

fn says(entry: &Entry, tenant: &Tenant) -> String {
    match entry {
        Entry::Started { saga_version } => format!("version {saga_version} of the definition"),
        Entry::Consumed { position } => format!("the event at position {position}"),
        Entry::Parts { places, of } => {
            let places: Vec<_> = places.iter().map(|place| (place + 1).to_string()).collect();
            format!("{} of the {of} that it is read as", places.join(", "))
        }
        Entry::Decided(spec) => format!("{:?}: {}", spec.key, spec.request.describe_in(tenant)),
        Entry::Answered { effect, answer } => format!("effect {effect} {}", answered(answer)),
        Entry::Retrying {
            action,
            attempt,
            next,
            reason,
        } => {
            let what = named(*action);
            match *next {
                Timestamp::EPOCH => format!("{what}: {reason}"),
                next => format!("{what}, {attempt} attempts failed, next at {next}: {reason}"),
            }
        }
        Entry::Parked { effect, reason } => format!("effect {effect}: {reason}"),
        Entry::Unparked { action, by } => format!("{} by {by}", named(*action)),
        Entry::Settled { action, by, reason } => format!("{} by {by}: {reason}", named(*action)),
        Entry::Armed { key, due } => format!("timer {key:?} for {due}"),
        Entry::Disarmed { key } | Entry::Fired { key } | Entry::Dropped { key } => {
            format!("timer {key:?}")
        }
        Entry::UndoDecided { effect, undo } => {
            format!("effect {effect} by {}", undo.if_done.describe_in(tenant))
        }
        Entry::Pivoting { effect } => format!("effect {effect}"),
        Entry::Pivoted | Entry::Closing | Entry::Unstalled | Entry::Resumed | Entry::EarlyTaken => {
            String::new()
        }
        Entry::Compensating { reason, by } => match by {
            Some(by) => format!("by {by}: {reason}"),
            None => reason.clone(),
        },
        Entry::FoundDone { effect }
        | Entry::Undone { effect }
        | Entry::Skipped { effect }
        | Entry::Abandoned { effect } => {
            format!("effect {effect}")
        }
        Entry::UndoStuck { effect, reason, .. } => format!("effect {effect}: {reason}"),
        Entry::Quarantined { reason } | Entry::Paused { reason } => reason.clone(),
        Entry::NotTaken { action, .. } => {
            format!("{}: its service did not take it", named(*action))
        }
        Entry::Stalled(_) => "an input waits".to_owned(),
        Entry::CameEarly(_) => "before what begins it: it waits for that".to_owned(),
        Entry::Released { by } => format!("by {by}"),
        Entry::Ended(ending) | Entry::Concluded(ending) => match ending.reason() {
            Some(reason) => format!("{}: {reason}", ending.word()),
            None => ending.word().to_owned(),
        },
        Entry::Terms { effect, .. } => format!("effect {effect}"),
        Entry::Together { first } => format!("effects from {first} on"),
        Entry::Held { action, reason } => format!("{}: {reason}", named(*action)),
        Entry::Escalated { reason } => reason.clone().unwrap_or_else(|| "no more".to_owned()),
        Entry::Operated {
            verb,
            about,
            by,
            reason,
        } => format!("{verb} {about} by {by}: {reason}"),
        Entry::Edited { action, .. } => named(*action),
        Entry::Child { parent, .. } => format!("of {}", printed(&parent.stream)),
        Entry::Occupies(place) => format!(
            "one of at most {} children at {:?} that may be alive",
            place.limit, place.resource
        ),
        Entry::AwaitsRoom { effect, reason } => format!("effect {effect}: {reason}"),
        Entry::Begun { effect } => format!("the child of effect {effect}"),
        Entry::Reported { parent, ending } => {
            format!("{} to {}", ending.word(), printed(&parent.stream))
        }
        Entry::SignalRefused { name, reason } => format!("{name:?}: {reason}"),
        Entry::ForkedTo { id } => format!("to {id}"),
        Entry::Forked { from, before } => format!("from {}, before {before:?}", printed(from)),
        Entry::Migrated { saga_version } => format!("to version {saga_version}"),
        Entry::Outcomes { answers } if answers.is_empty() => "what became of several".to_owned(),
        Entry::Outcomes { answers } => format!("the answers to {} effects", answers.len()),
        Entry::ContinuedAsNew { saga_version } => {
            format!("under version {saga_version} of the definition")
        }
    }
}

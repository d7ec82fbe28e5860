//! Sagas as an operator sees them.

use chronicler_domain::{StreamId, Tenant, Timestamp};
use chronicler_runtime::EffectDispatcher;
use chronicler_sagas::{
    EffectState, EffectView, HistoryLine, OpenSaga, OpenStatus, OperateError, Request, SagaDetails,
    SagaStatus, SagaVerb, UndoState, list_open,
};
use chronicler_store::codec::CodecId;
use chronicler_store::hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::verb::OperatorError;
use crate::app::App;

/// One open saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SagaLine {
    /// The instance: `saga:name/id`, or `tenant:saga:name/id`.
    pub stream: String,
    /// Its status in a word or two.
    pub status: String,
    /// The version of the definition that it goes by.
    pub version: u32,
    /// When it began.
    pub since: Timestamp,
    /// What it waits for, if it waits.
    pub waits_for: Vec<String>,
    /// When the first of its timers is due, if it waits.
    pub until: Option<Timestamp>,
    /// Why a person should look at it.
    pub escalated: Option<String>,
    /// Whether the application that was asked defines it: one that nothing defines does not go on. `true` where no
    /// application was asked.
    #[serde(default = "is_registered")]
    pub registered: bool,
}

impl SagaLine {
    /// Whether a person should look at it: it goes no further by itself, was escalated, or nothing defines it.
    pub fn needs_a_person(&self) -> bool {
        let status = OpenStatus::of_word(&self.status);
        let stands = status.is_some_and(OpenStatus::needs_a_person);
        stands || self.escalated.is_some() || !self.registered
    }
}

/// Those of an application that does not say so.
fn is_registered() -> bool {
    true
}

/// One effect of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EffectLine {
    /// Its key.
    pub key: String,
    /// Where it goes.
    pub target: String,
    /// Where it is.
    pub state: String,
    /// Where its undo is.
    pub undo: String,
    /// What is sent for it, in the form in which the verb `edit` takes another: a command as JSON, what goes to a service as
    /// text, or as `0x` and its bytes in hexadecimal digits. `None` where that form is not known: of a command whose
    /// aggregate is not registered or that cannot be JSON, and of what a child begins with.
    #[serde(default)]
    pub sends: Option<String>,
    /// The same for its undo.
    #[serde(default)]
    pub undo_sends: Option<String>,
}

/// One thing that happened to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HappenedLine {
    /// When.
    pub at: Timestamp,
    /// Its place in the log.
    pub position: u64,
    /// What: `$` begins the entries of the executor, the others are the saga's own.
    pub what: String,
    /// What it says.
    pub says: String,
    /// What caused it.
    pub cause: Option<String>,
}

/// One saga, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SagaDetail {
    /// The instance.
    pub stream: String,
    /// Its status in a word or two.
    pub status: String,
    /// More about its status.
    pub detail: String,
    /// The version of the definition that it goes by.
    pub version: Option<u32>,
    /// When it began.
    pub since: Timestamp,
    /// When it last took an input.
    pub moved: Timestamp,
    /// Whether it only goes forward.
    pub pivoted: bool,
    /// Why a person should look at it.
    pub escalated: Option<String>,
    /// The instance that began it.
    pub parent: Option<String>,
    /// Inputs that wait until it is released or resumed.
    pub stalled: usize,
    /// Its effects, in the order in which they were decided.
    pub effects: Vec<EffectLine>,
    /// Its timers and when they are due.
    pub timers: Vec<(String, Timestamp)>,
    /// The steps that are ahead.
    pub remaining: Vec<String>,
    /// Its path through its definition, as a Mermaid diagram.
    pub diagram: Option<String>,
    /// Everything that happened to it.
    pub history: Vec<HappenedLine>,
}

impl From<OpenSaga> for SagaLine {
    fn from(saga: OpenSaga) -> Self {
        Self {
            stream: saga.stream.to_string(),
            status: saga.status.word().to_owned(),
            version: saga.version,
            since: saga.since,
            waits_for: saga.on,
            until: saga.until,
            escalated: saga.escalated,
            registered: true,
        }
    }
}

/// All open sagas, also of types that are not registered.
pub(super) async fn list(app: &App) -> Result<Value, OperatorError> {
    let listed = list_open(app.store().as_ref()).await.map_err(failed)?;
    let effects = app.runtime().effects();
    let line = |saga: OpenSaga| SagaLine {
        registered: effects.hosts(saga.stream.category()),
        ..saga.into()
    };
    let lines: Vec<_> = listed.into_iter().map(line).collect();
    serde_json::to_value(lines).map_err(failed)
}

/// One saga, whole.
pub(super) async fn show(app: &App, stream: &StreamId) -> Result<Value, OperatorError> {
    let shown = app.sagas().show(stream).await.map_err(failed)?;
    let shown = shown.ok_or_else(|| not_defined(stream))?;
    if shown.status == SagaStatus::Unknown {
        return Err(OperatorError::NotFound(format!(
            "{stream} was never started"
        )));
    }
    serde_json::to_value(detail(stream, shown, app.runtime().effects())).map_err(failed)
}

/// Has something done with one saga.
pub(super) async fn change(
    app: &App,
    stream: &StreamId,
    verb: SagaVerb,
    by: &str,
    why: &str,
) -> Result<Value, OperatorError> {
    let name = verb.name();
    let other = match &verb {
        SagaVerb::Fork { id, .. } => Some(id.clone()),
        _ => None,
    };
    let done = app.sagas().operate(stream, verb.by(by, why)).await;
    let status = done.map_err(refused)?;
    let status = status.ok_or_else(|| not_defined(stream))?;
    let status = match &status {
        SagaStatus::Ended { how } => how.word(),
        other => other.word(),
    };
    // Of a fork it is the other that goes on.
    Ok(match other {
        Some(id) => {
            json!({ "stream": stream.to_string(), "done": name, "to": id, "its_status": status })
        }
        None => json!({ "stream": stream.to_string(), "done": name, "status": status }),
    })
}

fn not_defined(stream: &StreamId) -> OperatorError {
    OperatorError::Refused(format!(
        "{stream} is no saga that this application defines: without its code it can be shown, terminated and paused, and its timers moved and cancelled; the rest takes a running application that defines it"
    ))
}

fn refused(error: OperateError) -> OperatorError {
    match error.is_refusal() {
        true => OperatorError::Refused(error.to_string()),
        false => failed(error),
    }
}

fn failed(error: impl ToString) -> OperatorError {
    OperatorError::Failed(error.to_string())
}

fn detail(stream: &StreamId, shown: SagaDetails, targets: &EffectDispatcher) -> SagaDetail {
    let (status, detail) = words(&shown.status);
    let has_ended = matches!(shown.status, SagaStatus::Ended { .. });
    let tenant = Tenant::new(stream.tenant()).unwrap_or_default();
    SagaDetail {
        stream: stream.to_string(),
        status,
        detail,
        version: shown.version,
        since: shown.started_at,
        moved: shown.moved_at,
        pivoted: shown.pivoted,
        escalated: shown.escalated,
        parent: shown.parent,
        stalled: shown.stalled,
        effects: shown
            .effects
            .iter()
            .map(|view| effect(view, &tenant, targets))
            .collect(),
        timers: shown.timers,
        remaining: match has_ended {
            true => Vec::new(),
            false => shown.remaining,
        },
        diagram: shown.diagram,
        history: shown.history.into_iter().map(happened).collect(),
    }
}

/// A status in a word or two, and what there is to say about it.
fn words(status: &SagaStatus) -> (String, String) {
    let detail = match status {
        SagaStatus::Unknown | SagaStatus::Running => String::new(),
        SagaStatus::Waiting { on, since, until } => {
            let on = on.join(", ");
            match until {
                Some(until) => format!("for {on} since {since}, until {until}"),
                None => format!("for {on} since {since}"),
            }
        }
        SagaStatus::Retrying { key, next, .. } if *next == Timestamp::MAX => {
            format!("{key}: its service takes no requests, or its target is in quarantine")
        }
        SagaStatus::Retrying { key, attempt, next } if *next == Timestamp::EPOCH => {
            format!("{key}: {attempt} attempts failed, and another is under way")
        }
        SagaStatus::Retrying { key, attempt, next } => {
            format!("{key}: {attempt} attempts failed, next at {next}")
        }
        SagaStatus::Parked { key, reason } => format!("{key}: {reason}"),
        SagaStatus::CompensationStuck { stuck } => stuck
            .iter()
            .map(|(key, reason)| format!("{key}: {reason}"))
            .collect::<Vec<_>>()
            .join("; "),
        SagaStatus::Compensating { reason }
        | SagaStatus::Quarantined { reason }
        | SagaStatus::Paused { reason } => reason.clone(),
        SagaStatus::Ended { how } => {
            let reason = how.reason().unwrap_or_default().to_owned();
            return (how.word().to_owned(), reason);
        }
        _ => String::new(),
    };
    (status.word().to_owned(), detail)
}

fn effect(effect: &EffectView, tenant: &Tenant, targets: &EffectDispatcher) -> EffectLine {
    let attempts = |attempt: u32, next: Timestamp| match (attempt, next) {
        (_, Timestamp::MAX) if effect.spec.request.is_call() => "waits for its service".to_owned(),
        (_, Timestamp::MAX) => "waits for the release of its target".to_owned(),
        (0, _) => "under way".to_owned(),
        (failed, next) => format!("{failed} attempts failed, next at {next}"),
    };
    let state = match &effect.state {
        _ if effect.skipped => "skipped".to_owned(),
        EffectState::Pending { attempt, next } => attempts(*attempt, *next),
        EffectState::Parked { reason } => format!("parked: {reason}"),
        EffectState::Done => "done".to_owned(),
        EffectState::Rejected => "rejected".to_owned(),
        EffectState::Unknown => "unknown".to_owned(),
        EffectState::Awaited => "its child is under way".to_owned(),
    };
    let undo = match &effect.undo {
        UndoState::Idle => String::new(),
        UndoState::Pending { attempt, next } => attempts(*attempt, *next),
        UndoState::Undone => "undone".to_owned(),
        UndoState::Stuck { reason, .. } => format!("stuck: {reason}"),
        UndoState::Abandoned => "given up".to_owned(),
    };
    EffectLine {
        key: effect.spec.key.clone(),
        target: effect.spec.request.describe_in(tenant),
        state,
        undo,
        sends: sent(&effect.spec.request, targets),
        undo_sends: effect.undo_request().and_then(|undo| sent(undo, targets)),
    }
}

fn happened(line: HistoryLine) -> HappenedLine {
    HappenedLine {
        at: line.timestamp,
        position: line.position.get(),
        what: line.event_type,
        says: line.says,
        cause: line.cause.map(|cause| cause.to_string()),
    }
}

/// What a request sends, for people.
fn sent(request: &Request, targets: &EffectDispatcher) -> Option<String> {
    match request {
        Request::Command {
            category,
            codec,
            command,
            ..
        } => targets.command_json(category, CodecId::new(*codec), command),
        Request::Call { request, .. } => Some(as_a_service_takes_it(request)),
        Request::Start { codec, start, .. } if CodecId::new(*codec) == CodecId::JSON => {
            String::from_utf8(start.clone()).ok()
        }
        Request::Start { .. } | Request::Nothing => None,
    }
}

/// Bytes as text where they are one that can be told from digits; else as digits.
fn as_a_service_takes_it(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) && !text.starts_with("0x") => text.to_owned(),
        _ => format!("0x{}", hex::encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_is_sent_is_shown_as_it_is_edited() {
        let shown = |bytes: &[u8]| as_a_service_takes_it(bytes);
        assert_eq!(shown(b"{\"cents\":5}"), "{\"cents\":5}");
        assert_eq!(
            shown(b"0x17"),
            "0x30783137",
            "or it would be taken for digits"
        );
        assert_eq!(shown(&[0, 255]), "0x00ff");
        assert_eq!(shown(b"a\nb"), "0x610a62");
    }
}

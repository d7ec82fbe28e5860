//! What consumers have parked: lists it, has it tried again, or leaves it out.

use std::collections::BTreeSet;

use chronicler_domain::{GlobalPosition, StreamId};
use chronicler_projections::ParkedError;
use chronicler_runtime::{FollowerError, FollowerHandle, ParkedEvent, Selection, group_parked};
use serde_json::{Value, json};

use super::verb::{FollowerLine, OperatorError, ParkedLine, WhichParked};
use crate::app::App;

/// Keys of a group that are shown.
const KEYS_SHOWN_MAX: usize = 10;

pub(super) async fn list(app: &App, consumer: &str) -> Result<Value, OperatorError> {
    let parked = parked(app, consumer).await?;
    let lines: Vec<_> = group_parked(&parked)
        .into_iter()
        .map(|group| {
            let of_group =
                |event: &&ParkedEvent| event.has_failed() && event.failure() == group.fingerprint;
            let keys: BTreeSet<_> = parked
                .iter()
                .filter(of_group)
                .map(|event| &event.key)
                .collect();
            let keys = keys.into_iter().take(KEYS_SHOWN_MAX);
            ParkedLine {
                group: format!("{:016x}", group.fingerprint),
                reason: group.reason.to_string(),
                events: group.events,
                held: group.held,
                keys: keys.map(|key| shown(key)).collect(),
                tries: group.tries,
                since: group.since.to_string(),
                last: group.last.to_string(),
            }
        })
        .collect();
    serde_json::to_value(lines).map_err(|error| OperatorError::Failed(error.to_string()))
}

async fn parked(app: &App, consumer: &str) -> Result<Vec<ParkedEvent>, OperatorError> {
    let parked = match find(app, consumer)? {
        Consumer::Follower(follower) => follower.parked().await,
        Consumer::Projection => app.projections().parked(consumer).await,
    };
    parked.map_err(|error| OperatorError::Failed(error.to_string()))
}

pub(super) async fn retry(
    app: &App,
    consumer: &str,
    which: Selection,
) -> Result<Value, OperatorError> {
    let keys = match find(app, consumer)? {
        Consumer::Follower(follower) => follower.retry(which).await.map_err(refused)?,
        Consumer::Projection => {
            let retried = app.projections().retry_parked(consumer, which).await;
            retried.map_err(refused_by_projection)?
        }
    };
    Ok(json!({ "consumer": consumer, "keys": keys }))
}

pub(super) async fn leave_out(
    app: &App,
    consumer: &str,
    which: Selection,
) -> Result<Value, OperatorError> {
    let events = match find(app, consumer)? {
        Consumer::Follower(follower) => follower.drop_parked(which).await.map_err(refused)?,
        Consumer::Projection => {
            let dropped = app.projections().drop_parked(consumer, which).await;
            dropped.map_err(refused_by_projection)?
        }
    };
    Ok(json!({ "consumer": consumer, "events": events }))
}

/// What is chosen, if that makes sense.
pub(super) async fn selection(
    app: &App,
    consumer: &str,
    which: &WhichParked,
) -> Result<Selection, OperatorError> {
    match (&which.group, &which.key, which.position) {
        (None, None, None) => Ok(Selection::All),
        (Some(group), None, None) => u64::from_str_radix(group, 16)
            .map(Selection::Group)
            .map_err(|_| {
                OperatorError::Invalid(format!(
                    "{group:?} is no group: take the name as `parked` lists it"
                ))
            }),
        (None, Some(key), None) => {
            // A consumer that keeps order by something else than streams may have keys that read as one.
            let is_its_own = parked(app, consumer)
                .await?
                .iter()
                .any(|event| *event.key == **key);
            let stream = key.parse::<StreamId>();
            let stream = stream.ok().filter(|_| !is_its_own);
            let key = stream.map_or_else(|| key.as_str().into(), |stream| stream.key().into());
            Ok(Selection::Key(key))
        }
        (None, None, Some(position)) => Ok(Selection::Event(GlobalPosition::new(position))),
        _ => Err(OperatorError::Invalid(
            "give one of group, key and position, or none for everything".to_owned(),
        )),
    }
}

pub(super) fn lines(app: &App) -> Vec<FollowerLine> {
    let head = app.head().position.get();
    let line = |follower: &FollowerHandle| {
        let status = follower.status();
        let position = status.through.get();
        FollowerLine {
            name: follower.name().to_owned(),
            position,
            behind: head.saturating_sub(position),
            oldest: status.oldest.map(|at| at.to_string()),
            parked: status.parked as u64,
            full: status.is_full,
        }
    };
    app.sagas().followers().map(line).collect()
}

/// Who has parked something.
enum Consumer<'a> {
    Follower(&'a FollowerHandle),
    Projection,
}

fn find<'a>(app: &'a App, consumer: &str) -> Result<Consumer<'a>, OperatorError> {
    if app.projections().info(consumer).is_some() {
        return Ok(Consumer::Projection);
    }
    let found = app
        .sagas()
        .followers()
        .find(|follower| follower.name() == consumer);
    found.map(Consumer::Follower).ok_or_else(|| {
        OperatorError::NotFound(format!(
            "there is no consumer {consumer:?}: `status` lists them"
        ))
    })
}

fn refused(error: FollowerError) -> OperatorError {
    match error {
        FollowerError::NotRunning { .. } => OperatorError::Refused(error.to_string()),
        error => OperatorError::Failed(error.to_string()),
    }
}

fn refused_by_projection(error: ParkedError) -> OperatorError {
    match error {
        ParkedError::NotRunning { .. } | ParkedError::NoRoom { .. } => {
            OperatorError::Refused(error.to_string())
        }
        error => OperatorError::Failed(error.to_string()),
    }
}

/// A key as people read it.
fn shown(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.to_owned(), |stream| stream.to_string())
}

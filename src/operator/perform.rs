//! Carries a verb out on a running application.

use bytes::Bytes;
use chronicler_domain::{CATEGORY_BYTES_MAX, ID_BYTES_MAX, StreamId, TENANT_BYTES_MAX};
use chronicler_projections::RebuildError;
use chronicler_runtime::{Runtime, Selection, SubscribeError, WorkerStatus};
use chronicler_sagas::SagaVerb;
use chronicler_store::codec::{PayloadCodec, encode};
use chronicler_store::{Append, AppendError, FactKind, Health, SideRecord};
use serde_json::{Value, json};

use super::verb::{
    FailingLine, OperatorError, OperatorRequest, OperatorVerb, ProjectionLine, QuarantineLine,
    Status, SubscriptionLine, WorkerLine,
};
use super::{parked, sagas};
use crate::app::App;

/// The longest name and reason, in bytes.
const TEXT_MAX: usize = 1_000;

/// The longest stream: tenant, category and id at their longest, with each of their bytes escaped, and two separators.
const STREAM_MAX: usize = 3 * (TENANT_BYTES_MAX + CATEGORY_BYTES_MAX + ID_BYTES_MAX) + 2;

/// A change that makes sense: its texts within their limits, its stream one that can be.
enum Change<'a> {
    Release(StreamId),
    RebuildView(&'a str),
    ForgetSubscription(&'a str),
    RetryParked(&'a str, Selection),
    DropParked(&'a str, Selection),
    Saga(StreamId, SagaVerb),
}

impl App {
    /// Carries an operator's verb out, and journals who wanted it and why before it does.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the verb carried out or not; doing it again does no harm.
    pub async fn operate(&self, request: &OperatorRequest) -> Result<Value, OperatorError> {
        perform(self, request).await
    }
}

pub(super) async fn perform(app: &App, request: &OperatorRequest) -> Result<Value, OperatorError> {
    let change = match &request.verb {
        OperatorVerb::Status => {
            let status = status(app).await?;
            return serde_json::to_value(status)
                .map_err(|error| OperatorError::Failed(error.to_string()));
        }
        OperatorVerb::Sagas => return sagas::list(app).await,
        OperatorVerb::Saga { stream } => return sagas::show(app, &parse(stream)?).await,
        OperatorVerb::ChangeSaga { stream, change } => Change::Saga(parse(stream)?, change.clone()),
        OperatorVerb::Release { stream } => Change::Release(parse(stream)?),
        OperatorVerb::RebuildView { projection } => {
            Change::RebuildView(limited("the projection", projection)?)
        }
        OperatorVerb::Parked { consumer } => return parked::list(app, consumer).await,
        OperatorVerb::RetryParked { consumer, which } => Change::RetryParked(
            limited("the consumer", consumer)?,
            parked::selection(app, consumer, which).await?,
        ),
        OperatorVerb::DropParked { consumer, which } => Change::DropParked(
            limited("the consumer", consumer)?,
            parked::selection(app, consumer, which).await?,
        ),
        OperatorVerb::ForgetSubscription { subscription } => {
            Change::ForgetSubscription(limited("the subscription", subscription)?)
        }
    };
    let request = &OperatorRequest {
        verb: request.verb.clone(),
        by: limited("who asks", request.by.trim())?.to_owned(),
        why: limited("the reason", request.why.trim())?.to_owned(),
    };
    // What makes no sense is not journaled.
    journal(app.runtime(), request).await?;
    match change {
        Change::Release(stream) => release(app, &stream, &request.by).await,
        Change::Saga(stream, verb) => {
            sagas::change(app, &stream, verb, &request.by, &request.why).await
        }
        Change::RebuildView(projection) => {
            let rebuilt = app.projections().rebuild(projection).await?;
            Ok(json!({ "projection": projection, "position": rebuilt.position.get() }))
        }
        Change::RetryParked(consumer, which) => parked::retry(app, consumer, which).await,
        Change::DropParked(consumer, which) => parked::leave_out(app, consumer, which).await,
        Change::ForgetSubscription(subscription) => {
            let was_known = match app.runtime().forget_subscription(subscription).await {
                Ok(()) => true,
                Err(SubscribeError::Unknown(_)) => false,
                Err(error) => return Err(error.into()),
            };
            Ok(json!({ "subscription": subscription, "was_known": was_known }))
        }
    }
}

/// An instance can be set aside by the runtime, and one of a saga by the saga's own code; it is let go from both.
async fn release(app: &App, stream: &StreamId, by: &str) -> Result<Value, OperatorError> {
    let released = app.sagas().release(stream, by).await;
    let by_saga = released.map_err(|error| OperatorError::Failed(error.to_string()))?;
    let by_runtime = app.runtime().release(stream).await?;
    let by_saga = match by_saga {
        Some(released) => released,
        None => {
            let key = Bytes::copy_from_slice(stream.key().as_bytes());
            let open = app.store().fact(FactKind::OPEN_SAGA, key).await;
            if open.map_err(SubscribeError::from)?.is_some() && !by_runtime {
                return Err(OperatorError::Refused(format!(
                    "{stream} is an instance of a saga, and only a running application that defines the saga can release it"
                )));
            }
            false
        }
    };
    Ok(json!({ "stream": stream.to_string(), "was_quarantined": by_runtime || by_saga }))
}

fn parse(stream: &str) -> Result<StreamId, OperatorError> {
    let parsed = within("the stream", stream, STREAM_MAX)?.parse();
    parsed.map_err(|error| OperatorError::Invalid(format!("{stream:?}: {error}")))
}

/// A text that is journaled, if it is not too long for that.
fn limited<'a>(what: &str, text: &'a str) -> Result<&'a str, OperatorError> {
    within(what, text, TEXT_MAX)
}

fn within<'a>(what: &str, text: &'a str, bytes_max: usize) -> Result<&'a str, OperatorError> {
    let bytes = text.len();
    if (1..=bytes_max).contains(&bytes) {
        return Ok(text);
    }
    Err(OperatorError::Invalid(format!(
        "{what} has 1 to {bytes_max} bytes, not {bytes}: it is journaled with what was done"
    )))
}

/// Writes down who wants what and why, before it is done: what was done without that could not be explained later.
async fn journal(runtime: &Runtime, request: &OperatorRequest) -> Result<(), OperatorError> {
    let (id, now) = (runtime.new_id(), runtime.clock().now());
    let value = encode(PayloadCodec::Json, request);
    let value = value.map_err(|error| OperatorError::Failed(error.to_string()))?;
    let mut key = now.as_micros().to_be_bytes().to_vec();
    key.extend_from_slice(id.as_bytes());
    let append = Append::new(id, now).record(SideRecord::Fact {
        kind: FactKind::OPERATOR_VERB,
        key: key.into(),
        value: Some(value),
    });
    runtime.store().append(append).await?;
    tracing::info!(verb = ?request.verb, by = request.by, why = request.why, "operator verb");
    Ok(())
}

async fn status(app: &App) -> Result<Status, OperatorError> {
    let runtime = app.runtime();
    let head = app.head();
    let read_only = match app.health() {
        Health::Healthy => None,
        Health::ReadOnly(reason) => Some(reason.to_string()),
    };
    let projections = app.projections().list().into_iter();
    let projections = projections.map(|info| ProjectionLine {
        name: info.name.to_string(),
        status: info.status.to_string(),
        position: info.position.get(),
        lag: info.lag_events,
        parked: info.parked_events,
        lag_ms: info.lag.map(|lag| lag.as_millis() as u64),
        unhealthy: info.unhealthy.map(|unhealthy| unhealthy.to_string()),
    });
    let subscriptions = runtime.durable_subscriptions().await?.into_iter();
    let subscriptions = subscriptions.map(|(name, position)| SubscriptionLine {
        name,
        position: position.get(),
    });
    let sagas = app.sagas().quarantined().await;
    let sagas = sagas.map_err(SubscribeError::from)?;
    let is_listed = |stream: &StreamId| sagas.iter().any(|saga| saga.stream == *stream);
    let instances = runtime.quarantined().into_iter();
    let instances: Vec<_> = instances.filter(|one| !is_listed(&one.stream)).collect();
    let instances = instances.into_iter().map(|instance| QuarantineLine {
        stream: instance.stream.to_string(),
        reason: instance.reason.to_string(),
    });
    let sagas = sagas.into_iter().map(|saga| QuarantineLine {
        stream: saga.stream.to_string(),
        reason: saga.reason,
    });
    let failing = runtime.failing().into_iter().map(|instance| FailingLine {
        stream: instance.stream.to_string(),
        reason: instance.reason.to_string(),
        attempts: instance.attempts,
        since: instance.since.to_string(),
    });
    let workers = runtime.workers().list().into_iter().filter_map(|worker| {
        let trouble = worker.trouble?;
        Some(WorkerLine {
            name: worker.name,
            reason: trouble.reason,
            failures: trouble.failures,
            since: trouble.since.to_string(),
            given_up: matches!(worker.status, WorkerStatus::Failed { .. }),
        })
    });
    Ok(Status {
        process: std::process::id(),
        read_only,
        position: head.position.get(),
        commit: head.sequence.get(),
        projections: projections.collect(),
        subscriptions: subscriptions.collect(),
        followers: parked::lines(app),
        quarantined: instances.chain(sagas).collect(),
        unregistered: app.unregistered().await.map_err(SubscribeError::from)?,
        failing: failing.collect(),
        workers: workers.collect(),
    })
}

impl From<AppendError> for OperatorError {
    fn from(error: AppendError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<RebuildError> for OperatorError {
    fn from(error: RebuildError) -> Self {
        match &error {
            RebuildError::Unknown { .. } => Self::NotFound(error.to_string()),
            RebuildError::NotRunning { .. }
            | RebuildError::AlreadyRunning { .. }
            | RebuildError::Cancelled { .. }
            // The view answers as before; asked again it fails again.
            | RebuildError::Failed { .. } => Self::Refused(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<SubscribeError> for OperatorError {
    fn from(error: SubscribeError) -> Self {
        match &error {
            SubscribeError::Name(_) => Self::Invalid(error.to_string()),
            SubscribeError::InUse(_) => Self::Refused(error.to_string()),
            SubscribeError::Unknown(_) => Self::NotFound(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_a_rebuild_that_failed_was_not_done_and_is_not_to_be_asked_for_again() {
        let failed = RebuildError::Failed {
            name: "orders".into(),
            reason: "an event cannot be folded".into(),
        };
        assert!(matches!(failed.into(), OperatorError::Refused(_)));
    }
}

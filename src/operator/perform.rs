//! Carries a verb out on a running application.

use chronicler_domain::StreamId;
use chronicler_projections::RebuildError;
use chronicler_runtime::{Runtime, SubscribeError};
use chronicler_store::codec::{PayloadCodec, encode};
use chronicler_store::{Append, AppendError, FactKind, Health, SideRecord};
use serde_json::{Value, json};

use super::verb::{
    OperatorError, OperatorRequest, OperatorVerb, ProjectionLine, QuarantineLine, Status,
    SubscriptionLine,
};
use crate::app::App;

/// The longest name and reason, in bytes.
const TEXT_MAX: usize = 1_000;

pub(crate) async fn perform(app: &App, request: &OperatorRequest) -> Result<Value, OperatorError> {
    if request.verb.changes() {
        check(request)?;
        journal(app.runtime(), request).await?;
    }
    match &request.verb {
        OperatorVerb::Status => {
            let status = status(app).await?;
            serde_json::to_value(status).map_err(|error| OperatorError::Failed(error.to_string()))
        }
        OperatorVerb::Release { stream } => {
            let stream: StreamId = stream
                .parse()
                .map_err(|error| OperatorError::Invalid(format!("{stream:?}: {error}")))?;
            let released = app.runtime().release(&stream).await?;
            Ok(json!({ "stream": stream.to_string(), "was_quarantined": released }))
        }
        OperatorVerb::RebuildView { projection } => {
            let rebuilt = app.projections().rebuild(projection).await?;
            Ok(json!({ "projection": projection, "position": rebuilt.position.get() }))
        }
        OperatorVerb::ForgetSubscription { subscription } => {
            match app.runtime().forget_subscription(subscription).await {
                Ok(()) => Ok(json!({ "subscription": subscription, "was_known": true })),
                Err(SubscribeError::Unknown(_)) => {
                    Ok(json!({ "subscription": subscription, "was_known": false }))
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn check(request: &OperatorRequest) -> Result<(), OperatorError> {
    for (what, text) in [("who asks", &request.by), ("the reason", &request.why)] {
        let bytes = text.trim().len();
        if bytes == 0 || bytes > TEXT_MAX {
            return Err(OperatorError::Invalid(format!(
                "{what} has 1 to {TEXT_MAX} bytes, not {bytes}: it is journaled with what was done"
            )));
        }
    }
    Ok(())
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
    });
    let subscriptions = runtime.durable_subscriptions().await?.into_iter();
    let subscriptions = subscriptions.map(|(name, position)| SubscriptionLine {
        name,
        position: position.get(),
    });
    let quarantined = runtime.quarantined().into_iter();
    let quarantined = quarantined.map(|instance| QuarantineLine {
        stream: instance.stream.to_string(),
        reason: instance.reason.to_string(),
    });
    Ok(Status {
        process: std::process::id(),
        read_only,
        position: head.position.get(),
        commit: head.sequence.get(),
        projections: projections.collect(),
        subscriptions: subscriptions.collect(),
        quarantined: quarantined.collect(),
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
            RebuildError::NotRunning { .. } => Self::Refused(error.to_string()),
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

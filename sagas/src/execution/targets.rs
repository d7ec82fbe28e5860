//! Targets of an attempt: an aggregate, a service, the executor of a child.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{AggregateId, LogSequence};
use chronicler_runtime::{DispatchError, EffectCommand, SendOptions};
use chronicler_store::codec::CodecId;
use chronicler_store::{OutcomeResult, panic_text};
use futures::FutureExt;
use uuid::Uuid;

use crate::definition::answer::Answer;
use crate::definition::effect::Request;
use crate::definition::external::CallResult;
use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::execution::asking::Patience;
use crate::execution::child::{ChildAnswer, ChildHost};
use crate::execution::executor::Executor;
use crate::instance::entry::Parent;
use crate::instance::id::InstanceId;
use crate::instance::occupancy::Occupancy;
use crate::instance::status::Ending;
use crate::instance::work::{ChildTask, Task};

/// What an attempt led to.
pub(super) enum AttemptResult {
    Answered(Answer),
    /// The child goes its way.
    Begun,
    /// The child had ended before.
    Ended(Ending),
    /// Its service takes no requests.
    Unavailable(String),
    /// Its target cannot take it at present: a trouble of the machinery that may pass, and is no reason to give up.
    Delayed(String),
    /// Its target is in quarantine.
    SetAside(String),
    /// It was not done, or nobody can say whether; the machinery's reasons.
    Failed(String),
}

impl AttemptResult {
    /// An attempt that its target did not answer.
    fn unanswered(error: &DispatchError) -> Self {
        let reason = error.reason();
        match reason {
            DispatchError::Quarantined { .. } => Self::SetAside(reason.to_string()),
            _ if error.is_retryable() => Self::Delayed(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl<S: Saga> Executor<S> {
    pub(super) async fn command(
        &self,
        instance: &InstanceId,
        task: &Task,
        effect_id: Uuid,
        decided_at: LogSequence,
    ) -> AttemptResult {
        let Request::Command { codec, command, .. } = &task.request else {
            return AttemptResult::Failed("it is not a command".to_owned());
        };
        let Some(target) = task.request.target(&instance.tenant) else {
            return AttemptResult::Failed(format!("{} is no target", task.request.describe()));
        };
        let effect = EffectCommand {
            target,
            codec: CodecId::new(*codec),
            command: Bytes::copy_from_slice(command),
            effect_id,
            decided_at,
            metadata: task.metadata.clone(),
            deadline: None,
        };
        let begun = self.runtime.clock().monotonic();
        let mut quick = 0;
        loop {
            match self.runtime.effects().dispatch(effect.clone()).await {
                Ok(outcome) => {
                    let payload = Payload::new(outcome.codec, outcome.payload.to_vec());
                    return AttemptResult::Answered(match outcome.result {
                        OutcomeResult::Reply => Answer::Done(payload),
                        OutcomeResult::Rejection => Answer::Rejected(payload),
                    });
                }
                Err(error) if self.is_asked_again(&error, Patience::MOMENT, begun) => {
                    quick += 1;
                    self.pause(quick).await;
                }
                Err(error) => return AttemptResult::unanswered(&error),
            }
        }
    }

    pub(super) async fn call(
        &self,
        service: &str,
        request: &[u8],
        key: Uuid,
        patience: Duration,
    ) -> AttemptResult {
        let Some(found) = self.shared.services.get(service) else {
            return AttemptResult::Failed(format!("no service {service:?} is registered"));
        };
        let clock = self.runtime.clock();
        let (called, request) = (Arc::clone(found), request.to_vec());
        let call = AssertUnwindSafe(async move { called.call(key, request).await }).catch_unwind();
        let result = tokio::select! {
            biased;
            result = call => result.unwrap_or_else(|panic| {
                CallResult::Unknown(format!("the call panicked: {}", panic_text(panic.as_ref())))
            }),
            () = clock.sleep(patience) => {
                CallResult::Unknown(format!("no answer in {} s", patience.as_secs_f64()))
            }
        };
        let encoded = |bytes| Payload::new(CodecId::BINCODE, bytes);
        AttemptResult::Answered(match result {
            CallResult::Done(reply) => Answer::Done(encoded(reply)),
            CallResult::Rejected(reason) => Answer::Rejected(encoded(reason)),
            CallResult::Unknown(reason) => Answer::Unknown(reason),
            CallResult::Unavailable(reason) => return AttemptResult::Unavailable(reason),
        })
    }

    fn host_of(&self, saga: &str) -> Option<Arc<dyn ChildHost>> {
        let hosts = self.shared.hosts.read();
        hosts.get(saga).and_then(|host| host.upgrade())
    }

    /// Whether the child of an attempt has begun, as far as it can be looked at.
    pub(super) async fn has_begun(&self, instance: &InstanceId, task: &Task) -> bool {
        let Request::Start { saga, .. } = &task.request else {
            return false;
        };
        let child = task.request.target(&instance.tenant);
        let child = child.as_ref().and_then(InstanceId::of);
        match (child, self.host_of(saga)) {
            (Some(child), Some(host)) => host.has_begun(child).await.unwrap_or_default(),
            _ => false,
        }
    }

    /// Begins a child, or has it end.
    pub(super) async fn child(
        &self,
        instance: &InstanceId,
        task: &Task,
        parent: Parent,
        occupies: Option<Occupancy>,
        options: &SendOptions,
    ) -> AttemptResult {
        let Request::Start {
            saga,
            id,
            codec,
            start,
        } = &task.request
        else {
            return AttemptResult::Failed("it is no child".to_owned());
        };
        if !self.children.contains(saga) {
            return AttemptResult::Failed(format!(
                "saga {} does not say in its routes that {saga} can be its child",
                S::NAME
            ));
        }
        let Some(host) = self.host_of(saga) else {
            return AttemptResult::Failed(format!("no saga {saga:?} is registered"));
        };
        let id = match AggregateId::new(id) {
            Ok(id) => id,
            Err(error) => return AttemptResult::Failed(error.to_string()),
        };
        let child = InstanceId {
            tenant: instance.tenant.clone(),
            id,
        };
        let began = match task.child {
            ChildTask::Cancel => host.end_child(child, parent, false).await,
            ChildTask::Forgo => host.end_child(child, parent, true).await,
            ChildTask::Begin { .. } | ChildTask::Nothing => {
                let beginning = Payload::new(CodecId::new(*codec), start.clone());
                // It lies deeper than who begins it: children that begin children end somewhere.
                let depth = task.metadata.causation_depth.saturating_sub(1);
                let causation = options.causation.map(|(cause, _)| (cause, depth));
                let options = SendOptions {
                    causation,
                    ..options.clone()
                };
                host.begin_child(child, parent, beginning, occupies, options)
                    .await
            }
        };
        match began {
            Ok(ChildAnswer::GoesOn) => AttemptResult::Begun,
            Ok(ChildAnswer::Ended(ending)) => AttemptResult::Ended(ending),
            Ok(ChildAnswer::Refused(reason)) => AttemptResult::Answered(Answer::rejected(&reason)),
            Err(error) => AttemptResult::unanswered(&error),
        }
    }
}

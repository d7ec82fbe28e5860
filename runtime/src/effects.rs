//! Effects: commands that a saga decided, carried out exactly once at a target named by its stream.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{AggregateId, Context, LogSequence, Metadata, StreamId, Tenant, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{Outcome, OutcomeResult};
use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::contain::Contained;
use crate::dedup::Identity;
use crate::dispatch::EntityHandle;
use crate::entity::Entity;
use crate::envelope::Body;
use crate::error::{DispatchError, SendError};

/// A command as a saga decided it: bytes, and where they go.
#[derive(Clone, Debug)]
pub struct EffectCommand {
    /// The instance that is to decide it.
    pub target: StreamId,
    /// How the command is encoded.
    pub codec: CodecId,
    /// The command.
    pub command: Bytes,
    /// Its id: the same for every attempt. The target remembers the outcome under it.
    pub effect_id: Uuid,
    /// The commit that decided it: how far back the target must remember.
    pub decided_at: LogSequence,
    /// What the target's commit will carry.
    pub metadata: Metadata,
    /// After this the caller no longer waits.
    pub deadline: Option<Timestamp>,
}

/// What the target answered, for good: it answers the same however often it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectOutcome {
    /// Accepted or rejected.
    pub result: OutcomeResult,
    /// How the payload is encoded.
    pub codec: CodecId,
    /// The type of the payload.
    pub type_name: String,
    /// The reply or rejection.
    pub payload: Bytes,
}

/// Carries effects out at whatever aggregate the runtime hosts.
#[derive(Clone, Default)]
pub struct EffectDispatcher {
    targets: Arc<HashMap<String, Arc<dyn EffectTarget>>>,
}

impl EffectDispatcher {
    pub(crate) fn new(targets: HashMap<String, Arc<dyn EffectTarget>>) -> Self {
        Self {
            targets: Arc::new(targets),
        }
    }

    /// Whether a category is hosted here.
    pub fn hosts(&self, category: &str) -> bool {
        self.targets.contains_key(category)
    }

    /// A command that a category takes, for people: as JSON. `None` if the category is not hosted here, or this is none
    /// of its commands.
    pub fn command_json(&self, category: &str, codec: CodecId, command: &[u8]) -> Option<String> {
        self.targets.get(category)?.command_json(codec, command)
    }

    /// Carries an effect out, or finds that it was. Either way the outcome is durable when it is answered.
    ///
    /// # Errors
    /// [`DispatchError`] when the machinery failed; the same effect may be dispatched again.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the effect back.
    pub async fn dispatch(&self, effect: EffectCommand) -> Result<EffectOutcome, DispatchError> {
        let Some(target) = self.targets.get(effect.target.category()) else {
            let category = effect.target.category().to_owned();
            let error = DispatchError::NotRegistered { category };
            return Err(error.unless_sent_before(Some(effect.effect_id)));
        };
        target.dispatch(effect).await
    }
}

/// A category, as the dispatcher sees it.
pub(crate) trait EffectTarget: Send + Sync + 'static {
    fn dispatch(
        &self,
        effect: EffectCommand,
    ) -> BoxFuture<'_, Result<EffectOutcome, DispatchError>>;

    fn command_json(&self, codec: CodecId, command: &[u8]) -> Option<String>;
}

impl<E: Entity> EffectTarget for EntityHandle<E> {
    fn dispatch(
        &self,
        effect: EffectCommand,
    ) -> BoxFuture<'_, Result<EffectOutcome, DispatchError>> {
        async move {
            let stream = effect.target;
            let tenant = match stream.tenant() {
                "" => Tenant::default(),
                name => Tenant::new(name)?,
            };
            // A stream key holds a checked id; checking again costs little and keeps the types honest.
            AggregateId::new(stream.id())?;
            let now = self.now();
            let mut ctx = Context::new(now, effect.effect_id)
                .with_tenant(tenant)
                .with_metadata(effect.metadata);
            let within = effect.deadline.map(|deadline| deadline.since(now));
            if let Some(deadline) = effect.deadline {
                ctx = ctx.with_deadline(deadline);
            }
            let body = Body::Encoded {
                codec: effect.codec,
                bytes: effect.command,
            };
            let identity = Some(Identity::Effect {
                decided_at: effect.decided_at,
            });
            let answered = self
                .deliver(stream.clone(), body, ctx, within, identity, None)
                .await;
            let (result, outcome) = match answered {
                Ok(receipt) => (OutcomeResult::Reply, Ok(receipt.reply)),
                Err(SendError::Rejected(rejection)) => (OutcomeResult::Rejection, Err(rejection)),
                Err(SendError::Failed(error)) => return Err(error),
            };
            let encoded = Contained::new(Arc::clone(self.entity())).encode(outcome.as_ref());
            let encoded = encoded.map_err(|source| DispatchError::AnswerUnreadable {
                stream,
                id: effect.effect_id,
                outcome: if outcome.is_ok() {
                    Outcome::Applied
                } else {
                    Outcome::NotApplied
                },
                source,
            })?;
            Ok(EffectOutcome {
                result,
                codec: encoded.codec,
                type_name: encoded.type_name,
                payload: encoded.payload,
            })
        }
        .boxed()
    }

    fn command_json(&self, codec: CodecId, command: &[u8]) -> Option<String> {
        Contained::new(Arc::clone(self.entity())).command_json(codec, command)
    }
}

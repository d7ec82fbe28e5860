//! An instance that begins with what another did.

use chronicler_domain::{AggregateId, StreamId, Tenant, Timestamp};
use chronicler_store::{NewEvent, StreamQuery};
use futures::StreamExt;

use crate::definition::effect::Request;
use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::definition::input::RoutedEvent;
use crate::definition::saga::Saga;
use crate::instance::effects::Effects;
use crate::instance::entry::Entry;
use crate::instance::fold::{CommitInfo, Recorded, StreamReader};
use crate::instance::id::InstanceId;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::{Fork, SagaCommand};
use crate::instance::transition::step::Step;
use crate::instance::verb::Order;
use crate::operation::error::OperateError;
use crate::operation::handle::SagaHandle;

/// What a fork may begin with, in bytes: it is one commit, and the log takes one of 16 MiB with all that is beside its
/// events.
const FORK_BYTES_MAX: usize = 15 << 20;
/// What the log writes of an event beside its name, payload and metadata, and a little more: its lengths, codec and version.
const EVENT_BYTES: usize = 16;

/// The past of an instance up to an effect, and what became of it.
struct Past {
    /// Its events up to the commit that decided the effect.
    events: Vec<Recorded<RoutedEvent>>,
    /// Its effects then.
    effects: Vec<EffectView>,
    /// When that commit was accepted.
    at: Timestamp,
    /// The instance at the end of its stream.
    end: InstanceState<()>,
}

impl<S: Saga> SagaHandle<S> {
    /// What an instance did until an effect was decided, that decision and its commit included.
    pub(crate) async fn fork_of(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        before: String,
    ) -> Result<Fork, OperateError> {
        let stream = StreamId::new(tenant, self.category(), id);
        let from = stream.key().to_owned();
        let mut past = self.past_of(stream, &before).await?;
        for (then, now) in past.effects.iter().zip(past.end.effects()) {
            if let Some(reason) = done_twice(then, now, &before) {
                return Err(OperateError::refused(reason));
            }
        }
        if !past.end.is_over() {
            return Err(OperateError::refused(
                "it has not ended: what it still does would be done twice".to_owned(),
            ));
        }
        past.events.retain(|copied| !is_of_the_other(copied));
        Ok(Fork {
            from,
            before,
            events: past.events,
            at: past.at,
        })
    }

    /// Has the other instance begin on a copy, before it is written down that the one goes on as it: an instance that is
    /// given away to one that cannot begin could go on as none.
    pub(crate) fn try_fork(
        &self,
        other: &InstanceId,
        fork: &Fork,
        order: &Order,
    ) -> Result<(), OperateError> {
        let entity = self.executor.handle.entity();
        let mut state = InstanceState::new(other.tenant.clone(), other.id.as_str().to_owned());
        let step = Step::new(entity.saga(), &mut state, fork.at);
        let begun = step.take(SagaCommand::Fork(Box::new(fork.clone()), order.clone()));
        let begun = begun.map_err(OperateError::failed)?;
        let of = |event: &NewEvent| {
            let (payload, name) = (event.payload.len(), event.event_type.len());
            payload + name + event.metadata.len() + EVENT_BYTES
        };
        let bytes: usize = begun.events.iter().map(of).sum();
        match bytes <= FORK_BYTES_MAX {
            true => Ok(()),
            false => Err(OperateError::refused(format!(
                "what it did until then is {bytes} bytes, and a fork may begin with {FORK_BYTES_MAX}: fork before an earlier effect, or begin anew"
            ))),
        }
    }

    async fn past_of(&self, stream: StreamId, before: &str) -> Result<Past, OperateError> {
        let tenant = Tenant::try_from(stream.tenant().to_owned()).unwrap_or_default();
        let mut end = InstanceState::<()>::new(tenant, stream.id().to_owned());
        end.effects = Effects::kept_all();
        let query = StreamQuery::new(stream);
        let mut commits = self.executor.runtime.store().read_stream(query);
        let (reader, entries) = (
            StreamReader::<S::Event>::new(),
            StreamReader::<S::Event>::of_entries(),
        );
        let (mut events, mut until) = (Vec::new(), None);
        while let Some(batch) = commits.next().await {
            for commit in batch.map_err(OperateError::failed)? {
                let (mut decides, is_copied) = (false, until.is_none());
                // What is not copied need not be readable.
                let reader = if is_copied { &reader } else { &entries };
                let info = CommitInfo::of(&commit);
                end.fold_commit(&info);
                for event in commit.events() {
                    let read = reader.read(&event, |recorded| {
                        decides |= matches!(
                            recorded.entry(),
                            Some(Entry::Decided(spec)) if spec.key == before
                        );
                        end.fold(&info, &recorded, |(), _| {});
                        if is_copied {
                            events.push(recorded.routed());
                        }
                    });
                    read.map_err(OperateError::failed)?;
                }
                if decides && is_copied {
                    until = Some((end.effects().to_vec(), commit.timestamp()));
                }
            }
        }
        let decided_none = || format!("it decided no effect of the key {before:?}");
        let (effects, at) = until.ok_or_else(|| OperateError::refused(decided_none()))?;
        Ok(Past {
            events,
            effects,
            at,
            end,
        })
    }
}

/// The reason why an effect would be done twice, or not at all, by who goes on from before another: `then` it was so, and
/// `now` it is so.
fn done_twice(then: &EffectView, now: &EffectView, before: &str) -> Option<String> {
    let key = &then.spec.key;
    let is_done =
        |effect: &EffectView| matches!(effect.state, EffectState::Done | EffectState::Unknown);
    // One that was ended while it was sent, or waited for a further attempt, may have been done.
    let may_be_done = |effect: &EffectView| {
        let is_open = matches!(
            effect.state,
            EffectState::Pending { .. } | EffectState::Parked { .. }
        );
        is_done(effect) || is_open
    };
    if is_done(then) {
        return (now.undo != UndoState::Idle).then(|| {
            format!("effect {key:?} was undone, or is to be: fork before that one, or begin anew")
        });
    }
    if may_be_done(now) && key != before && now.undo == UndoState::Idle {
        return Some(format!(
            "effect {key:?} was under way beside it, and was done, or may have been: it would be done twice. Fork before that one, or begin anew"
        ));
    }
    matches!(then.spec.request, Request::Start { .. }).then(|| {
        format!(
            "effect {key:?} began a child, which cannot be begun twice: fork before that one, or begin anew"
        )
    })
}

/// True for what another does not begin with: it is not a child of whoever began the first, and not paused or quarantined
/// for it.
fn is_of_the_other(copied: &Recorded<RoutedEvent>) -> bool {
    matches!(
        copied,
        Recorded::Entry(
            Entry::Child { .. }
                | Entry::Occupies(_)
                | Entry::Paused { .. }
                | Entry::Resumed
                | Entry::Quarantined { .. }
                | Entry::Released { .. }
                | Entry::Forked { .. }
                | Entry::ForkedTo { .. }
        )
    )
}

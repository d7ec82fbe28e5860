//! Sagas whose type no running application defines: an operator can look at them, and end them, without their code.
//!
//! The entries of the executor say what there is to know of an instance: effects, timers, where it stands. The events of the
//! saga itself are passed over. A verb is one commit, decided on the stream as it is, as if the instance's own type
//! had been asked; it is refused if anything else was written there since.

use chronicler_domain::{Category, Context, StreamId};
use chronicler_runtime::{Entity, Refusal, Runtime};
use chronicler_store::{Append, Expected, StreamQuery};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::Routes;
use crate::definition::saga::{CATEGORY_PREFIX, Saga};
use crate::execution::child_places::ChildPlaces;
use crate::execution::entity::SagaEntity;
use crate::instance::state::InstanceState;
use crate::instance::status::SagaStatus;
use crate::instance::transition::command::SagaCommand;
use crate::instance::verb::{Order, SagaVerb};
use crate::operation::any::SagaDetails;
use crate::operation::error::OperateError;

/// A saga of which nothing is known but what the executor writes.
pub(crate) struct Undefined;

/// No saga's event: those of the instance are passed over.
#[derive(Serialize, Deserialize)]
pub(crate) struct ForeignEvent;

impl chronicler_domain::Event for ForeignEvent {}

impl Saga for Undefined {
    const NAME: &'static str = "undefined";
    type State = ();
    type Event = ForeignEvent;

    fn routes(_: &mut Routes<Self>) {}

    fn on(&self, (): &(), _: &Input, _: &SagaContext) -> Next<Self> {
        // Never asked: the verbs below end it, or wait.
        Next::stay()
    }

    fn evolve((): &mut (), _: &ForeignEvent) {}
}

/// True for a verb that needs nothing of the saga's own code.
fn needs_no_code(verb: &SagaVerb) -> bool {
    matches!(
        verb,
        SagaVerb::Terminate
            | SagaVerb::Pause
            | SagaVerb::MoveTimer { .. }
            | SagaVerb::CancelTimer { .. }
    )
}

/// An instance as its stream says, and what an append that is decided on it expects.
struct StoredInstance {
    entity: SagaEntity<Undefined>,
    state: InstanceState<()>,
    expected: Expected,
}

async fn find(runtime: &Runtime, stream: &StreamId) -> Result<StoredInstance, OperateError> {
    let category = Category::new(stream.category()).map_err(OperateError::failed)?;
    let entity = SagaEntity::without_events(Undefined, category);
    let mut state = entity.initial(stream);
    // The head first: what is written after it is read as well, and then refuses the append.
    let head = runtime.store().stream_head(stream).await;
    let expected = match head.map_err(OperateError::failed)? {
        Some(head) => Expected::Decided {
            version: head.version,
            commit_id: Some(head.commit_id),
        },
        None => Expected::NoStream,
    };
    let mut batches = runtime
        .store()
        .read_stream(StreamQuery::new(stream.clone()));
    while let Some(batch) = batches.next().await {
        for commit in batch.map_err(OperateError::failed)? {
            for part in commit.parts() {
                if part.stream_key() == stream.key() {
                    let folded = entity.fold(&mut state, &commit, &part);
                    folded.map_err(OperateError::failed)?;
                }
            }
        }
    }
    Ok(StoredInstance {
        entity,
        state,
        expected,
    })
}

/// True for the stream of a saga, of whatever type.
pub(crate) fn is_of_a_saga(stream: &StreamId) -> bool {
    stream.category().starts_with(CATEGORY_PREFIX)
}

/// Shows an instance as far as that takes none of its code.
pub(crate) async fn show(
    runtime: &Runtime,
    stream: &StreamId,
) -> Result<SagaDetails, OperateError> {
    let StoredInstance { state, .. } = find(runtime, stream).await?;
    let status = state.status_with(Vec::new);
    Ok(SagaDetails::of(&state, status))
}

/// Carries a verb out on an instance; `None` if it needs the saga's code.
pub(crate) async fn operate(
    runtime: &Runtime,
    child_places: &ChildPlaces,
    stream: &StreamId,
    order: Order,
) -> Result<Option<SagaStatus>, OperateError> {
    if !needs_no_code(&order.verb) {
        return Ok(None);
    }
    let StoredInstance {
        entity,
        mut state,
        expected,
    } = find(runtime, stream).await?;
    let command = SagaCommand::Operate(order);
    let (id, now) = (runtime.new_id(), runtime.clock().now());
    let decided = entity.decide(&mut state, command, &Context::new(now, id));
    let draft = decided.map_err(|refusal| match refusal {
        Refusal::Rejected(refusal) | Refusal::Withdrawn(refusal) => refusal.into(),
        Refusal::Undecided(why) => OperateError::failed(why),
        Refusal::Failed(error) => OperateError::failed(error),
    })?;
    if !draft.events.is_empty() {
        let mut append = Append::new(id, now).stream(stream.clone(), expected, draft.events);
        append.records = draft.records;
        let appended = runtime.store().append(append).await;
        appended.map_err(OperateError::failed)?;
        if let Some(change) = &draft.reply.occupancy {
            child_places.change(stream, change);
        }
    }
    Ok(Some(state.status_with(Vec::new)))
}

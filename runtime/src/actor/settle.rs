//! What is done when the log has answered: the instance is durable up to there, and the sender gets its answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use chronicler_domain::{GlobalPosition, StreamId, StreamVersion};
use chronicler_store::test_points::{CrashPlace, reached};
use chronicler_store::{AppendError, AppendResult, Health};
use tracing::Span;
use uuid::Uuid;

use crate::contain;
use crate::core::{Admitted, Core};
use crate::dedup::Place;
use crate::entity::Entity;
use crate::envelope::Answer;
use crate::error::{DispatchError, SendError};
use crate::in_flight::Ticket;
use crate::instance::Instance;
use crate::receipt::Receipt;

/// What an entity decided: its answer, or its no.
pub(super) type Outcomes<E> = Result<<E as Entity>::Reply, <E as Entity>::Rejection>;

/// Whoever sent a command, and waits for its answer.
pub(super) struct Sender<E: Entity> {
    /// The command's id, if it may be sent again under it.
    id: Option<Uuid>,
    answer: Answer<E>,
    /// Given back when it is answered.
    admitted: Admitted,
}

impl<E: Entity> Sender<E> {
    pub(super) fn new(id: Option<Uuid>, answer: Answer<E>, admitted: Admitted) -> Self {
        Self {
            id,
            answer,
            admitted,
        }
    }

    /// Says why nothing was decided.
    pub(super) fn fail(self, core: &Core, error: DispatchError) {
        let error = after_look_up(core, self.id, error);
        contain::answer(self.answer, Err(error.into()));
    }
}

/// A commit on its way through the log.
pub(super) struct UnderWay<E: Entity> {
    pub(super) instance: Arc<Instance<E>>,
    pub(super) ticket: Ticket,
    pub(super) sender: Sender<E>,
    pub(super) outcome: Outcomes<E>,
    /// Where to note where it lies, if the outcome is remembered.
    pub(super) place: Option<Arc<OnceLock<Place>>>,
    /// The actor is told of the end: the instance may be passivated then.
    pub(super) rests: bool,
    pub(super) span: Span,
}

impl<E: Entity> UnderWay<E> {
    /// What the log calls, in any case.
    pub(super) fn completion(self) -> impl FnOnce(AppendResult) + Send + 'static {
        let done = Answered(Some(|result| self.settle(result)));
        move |result| done.call(result)
    }

    /// The log has answered. Called on its own thread.
    fn settle(self, result: AppendResult) {
        let Self {
            instance,
            ticket,
            sender,
            outcome,
            place,
            rests,
            span,
        } = self;
        let Sender {
            id,
            answer,
            admitted,
        } = sender;
        let _entered = span.entered();
        if let Err(error) = &result {
            tracing::warn!(%error, "append failed");
        }
        // First where it lies, then that it is durable: a duplicate that waits for it looks there.
        let position = place_of(&instance, &result, place.as_deref());
        let failed = instance.in_flight.settle(ticket, &result);
        if let (Ok(appended), Ok(reply)) = (&result, &outcome)
            && !appended.duplicate
        {
            let (entity, stream) = (&instance.entity, &instance.stream);
            entity.committed(stream, reply, appended.sequence);
        }
        let answered = settle_answer(&instance, id, result, outcome, position);
        reached(CrashPlace::Reply);
        contain::answer(answer, answered);
        reached(CrashPlace::Replied);
        // The actor sleeps, and nothing in its inbox would wake it for this.
        let untidy = || instance.untidy.load(Ordering::Acquire) && instance.in_flight.len() == 0;
        if failed || rests || untidy() {
            instance.nudge();
        }
        drop(admitted);
    }
}

/// A completion that is called in any case: a log that ends without an answer drops it, and what waits for the commit
/// would wait for ever.
struct Answered<F: FnOnce(AppendResult)>(Option<F>);

impl<F: FnOnce(AppendResult)> Answered<F> {
    fn call(mut self, result: AppendResult) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl<F: FnOnce(AppendResult)> Drop for Answered<F> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(AppendError::Lost));
        }
    }
}

/// The position that a durable commit brings its stream to, noted for whoever repeats the command.
fn place_of<E: Entity>(
    instance: &Instance<E>,
    result: &AppendResult,
    place: Option<&OnceLock<Place>>,
) -> GlobalPosition {
    let before = instance.in_flight.end().position;
    let Ok(appended) = result else { return before };
    let last = appended
        .parts
        .first()
        .and_then(|part| part.positions.last());
    let position = last.unwrap_or(before);
    if let Some(place) = place.filter(|_| !appended.duplicate) {
        let _set_once = place.set(Place {
            sequence: appended.sequence,
            position,
        });
    }
    position
}

/// What the sender is answered once the log has answered.
fn settle_answer<E: Entity>(
    instance: &Instance<E>,
    id: Option<Uuid>,
    result: AppendResult,
    outcome: Outcomes<E>,
    position: GlobalPosition,
) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
    let appended = result.map_err(|error| after_look_up(&instance.core, id, error.into()))?;
    // A repetition that the memory did not know: another decision on the same id lies there. The instance
    // recovers; sent again, the command is answered from what it then remembers.
    let part = appended.parts.first().filter(|_| !appended.duplicate);
    let part = part.ok_or_else(|| DispatchError::ActorLost {
        stream: instance.stream.clone(),
    })?;
    let reply = outcome.map_err(SendError::Rejected)?;
    Ok(Receipt {
        reply,
        first_version: part.first_version,
        version: part.last_version,
        position,
        sequence: appended.sequence,
        duplicate: false,
    })
}

/// Answers a decision without anything to commit when what it was decided on is durable.
pub(super) fn answer_when_durable<E: Entity>(
    instance: &Arc<Instance<E>>,
    outcome: Outcomes<E>,
    version: StreamVersion,
    sender: Sender<E>,
) {
    let Sender {
        id,
        answer,
        admitted,
    } = sender;
    let (stream, asked) = (instance.stream.clone(), Arc::clone(instance));
    instance.in_flight.after_all(Box::new(move |durable| {
        if let (Ok(end), Ok(reply)) = (&durable, &outcome) {
            asked.entity.committed(&stream, reply, end.sequence);
        }
        let answered = match durable {
            Err(source) => Err(after_look_up(&asked.core, id, lost(stream, source)).into()),
            Ok(end) => outcome.map_err(SendError::Rejected).map(|reply| Receipt {
                reply,
                first_version: version.next(),
                version,
                position: end.position,
                sequence: end.sequence,
                duplicate: false,
            }),
        };
        contain::answer(answer, answered);
        drop(admitted);
    }));
}

fn lost(stream: StreamId, source: AppendError) -> DispatchError {
    DispatchError::DecidedOnLost {
        stream,
        source: Box::new(source),
    }
}

/// Why a command failed that the memory does not know. After the log has stopped that proves nothing: what was being
/// written then may be there all the same when it is opened again.
pub(super) fn after_look_up(core: &Core, id: Option<Uuid>, error: DispatchError) -> DispatchError {
    let is_closed = matches!(error, DispatchError::Append(AppendError::Closed));
    if is_closed || core.store.health() != Health::Healthy {
        return error.unless_sent_before(id);
    }
    error
}

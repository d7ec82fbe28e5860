//! A command that was sent before: it gets the first answer again, from memory, or from the log after a look into it.

use std::sync::Arc;

use chronicler_domain::{LogSequence, StreamId, Timestamp};
use chronicler_store::test_points::{Promise, is_broken};
use chronicler_store::{AppendError, Outcome};
use uuid::Uuid;

use super::look_up::look_up;
use super::turn::Turn;
use crate::contain;
use crate::dedup::{Identity, Memory, Place, Remembered};
use crate::entity::Entity;
use crate::envelope::{CommandEnvelope, Searched, refuse};
use crate::error::{DispatchError, SendError};
use crate::instance::Instance;
use crate::look_ups::Asking;
use crate::receipt::Receipt;

impl<E: Entity> Turn<E> {
    /// Gives a repeated command the outcome of the first; gives the command back if it is none. A command that the log
    /// must be asked for goes there, and comes back to the inbox, unless it is late: its sender no longer waits.
    pub(super) fn unless_repeated(
        &mut self,
        mut command: Box<CommandEnvelope<E>>,
        is_late: bool,
    ) -> Option<Box<CommandEnvelope<E>>> {
        let Some(identity) = command.identity else {
            return Some(command);
        };
        if is_broken(Promise::Deduplication) {
            return Some(command);
        }
        let (id, now) = (command.ctx.command_id(), command.ctx.now());
        let memory = &self.live.as_ref()?.memory;
        let (found, searched) = match std::mem::take(&mut command.searched) {
            Searched::Found(found) => (Some(*found), LogSequence::ZERO),
            Searched::Through(searched) => (memory.find(id).cloned(), searched),
        };
        if let Some(found) = found {
            answer_from_memory(&self.instance, found, *command);
            return None;
        }
        if let Some(error) = too_old(memory, identity, now, &self.instance.stream) {
            refuse(command, error);
            return None;
        }
        let command = self.unless_looked_for(command, identity, searched, is_late)?;
        let memory = &self.live.as_ref()?.memory;
        // Only now: the id of a command that was carried out may have come out of the future when a clock was set back.
        match from_the_future(memory, identity, now) {
            Some(error) => {
                refuse(command, error);
                None
            }
            None => Some(command),
        }
    }

    /// Has the log asked for a command that may lie where the memory does not reach, up to where that was not done yet.
    /// Gives it back if there is nothing to be looked for.
    fn unless_looked_for(
        &mut self,
        mut command: Box<CommandEnvelope<E>>,
        identity: Identity,
        searched: LogSequence,
        is_late: bool,
    ) -> Option<Box<CommandEnvelope<E>>> {
        let id = command.ctx.command_id();
        let memory = &self.live.as_ref()?.memory;
        let spans = memory.sought(id, identity, searched);
        let through = memory.indexed_through();
        // The one that was away comes first, though others wait for it.
        let is_first = self.returned.is_some();
        let look_ups = &self.instance.look_ups;
        let waits = !spans.is_empty() || (!is_first && look_ups.is_away(id));
        if waits && is_late {
            let error = command.late(Outcome::Unknown);
            refuse(command, error);
            return None;
        }
        if waits && !is_first {
            // An earlier sending that is looked for can still be carried out: what this one is told holds after it.
            command = match look_ups.follow(id, command) {
                Ok(()) => return None,
                Err(command) => command,
            };
        }
        if spans.is_empty() {
            return Some(command);
        }
        let away = self.returned.take();
        let asking = Asking {
            command,
            spans,
            through,
            away: away.unwrap_or_else(|| self.instance.away(id)),
        };
        look_up(&self.instance, asking);
        None
    }
}

/// Why a command whose id is older than what is remembered is refused: nobody knows whether it was carried out.
fn too_old(
    memory: &Memory,
    identity: Identity,
    now: Timestamp,
    stream: &StreamId,
) -> Option<DispatchError> {
    let Identity::Caller { issued_at } = identity else {
        return None;
    };
    let remembered_after = memory.remembered_after(now);
    (issued_at <= remembered_after).then(|| DispatchError::CommandTooOld {
        stream: stream.clone(),
        issued_at,
        remembered_after,
    })
}

/// Why a command whose id comes out of the future is refused: it would be remembered for longer than others are.
fn from_the_future(memory: &Memory, identity: Identity, now: Timestamp) -> Option<DispatchError> {
    let Identity::Caller { issued_at } = identity else {
        return None;
    };
    let ahead_max = memory.ahead_max();
    (issued_at > now.plus(ahead_max)).then_some(DispatchError::IdFromFuture {
        issued_at,
        now,
        ahead_max,
    })
}

/// Answers a command whose id is remembered, as soon as what is remembered is durable: with that outcome, or that another
/// command has the id.
fn answer_from_memory<E: Entity>(
    instance: &Arc<Instance<E>>,
    found: Remembered,
    command: CommandEnvelope<E>,
) {
    let is_another = command.differs_from(found.command_hash);
    let CommandEnvelope {
        ctx,
        answer,
        admitted,
        ..
    } = command;
    let (asked, id) = (Arc::clone(instance), ctx.command_id());
    instance.in_flight.after_all(Box::new(move |durable| {
        // What failed may be something else that waited: where its own commit lies says whether it is durable.
        let answered = match found.place.get().copied() {
            Some(_) if is_another => {
                let stream = asked.stream.clone();
                Err(DispatchError::IdReused { stream, id }.into())
            }
            Some(place) => answer_again(&asked, &found, place, id),
            None => Err(DispatchError::FirstUnsettled {
                stream: asked.stream.clone(),
                id,
                source: Box::new(durable.err().unwrap_or(AppendError::Lost)),
            }
            .into()),
        };
        contain::answer(answer, answered);
        drop(admitted);
    }));
}

fn answer_again<E: Entity>(
    instance: &Instance<E>,
    found: &Remembered,
    place: Place,
    id: Uuid,
) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
    let entity = &instance.entity;
    let outcome = entity
        .decode_outcome(found.result(), found.codec, &found.payload)
        .map_err(|source| DispatchError::AnswerUnreadable {
            stream: instance.stream.clone(),
            id,
            outcome: found.became(),
            source,
        })?;
    let reply = outcome.map_err(SendError::Rejected)?;
    Ok(Receipt {
        reply,
        first_version: found.first_version,
        version: found.version,
        position: place.position,
        sequence: place.sequence,
        duplicate: true,
    })
}

//! The queue of one instance. Ours, not the actor's mailbox: it is bounded and outlives the actor.

use std::collections::VecDeque;

use crate::entity::Entity;
use crate::envelope::{CommandEnvelope, Envelope};

/// Places that an empty queue keeps. With the few bytes of a place they are less than the actor's own; a burst that needs
/// more asks for them a few times, and not once an envelope.
const ROOM_KEPT: usize = 32;

/// The queue itself; always under the instance's lock.
pub(crate) struct Inbox<E: Entity> {
    queue: VecDeque<Envelope<E>>,
    /// The actor has been told, or is at it.
    scheduled: bool,
    /// The actor has ended for good: whoever comes must take a new instance.
    retired: bool,
}

/// What became of a push.
pub(crate) enum Pushed<E: Entity> {
    /// It waits; the actor is at it already.
    Queued,
    /// It waits, and the actor must be told.
    Wake,
    /// The instance has been passivated: take a new one.
    Retired(Envelope<E>),
    /// So many wait, which is too many.
    Full(Envelope<E>, usize),
}

impl<E: Entity> Default for Inbox<E> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            scheduled: false,
            retired: false,
        }
    }
}

impl<E: Entity> Inbox<E> {
    /// `elsewhere` of those that wait at the instance are not in the queue.
    pub(crate) fn push(
        &mut self,
        envelope: Envelope<E>,
        elsewhere: usize,
        limit: usize,
    ) -> Pushed<E> {
        if self.retired {
            return Pushed::Retired(envelope);
        }
        let waiting = self.queue.len() + elsewhere;
        if waiting >= limit && matches!(envelope, Envelope::Command(_) | Envelope::Query(_)) {
            return Pushed::Full(envelope, waiting);
        }
        self.queue.push_back(envelope);
        if std::mem::replace(&mut self.scheduled, true) {
            Pushed::Queued
        } else {
            Pushed::Wake
        }
    }

    /// Queues commands before all others, in their order, and says whether the actor must be told. Gives them back when the
    /// instance has ended.
    pub(crate) fn push_first(
        &mut self,
        commands: Vec<Box<CommandEnvelope<E>>>,
    ) -> Result<bool, Vec<Box<CommandEnvelope<E>>>> {
        if self.retired {
            return Err(commands);
        }
        for command in commands.into_iter().rev() {
            self.queue.push_front(Envelope::Command(command));
        }
        Ok(!std::mem::replace(&mut self.scheduled, true))
    }

    /// The next envelope; `None` ends the actor's turn.
    pub(crate) fn next(&mut self) -> Option<Envelope<E>> {
        let next = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > ROOM_KEPT {
            // An instance that is left alone after a burst does not keep the room for it.
            self.queue.shrink_to(ROOM_KEPT);
        }
        self.scheduled = next.is_some();
        next
    }

    /// Whether nothing waits; if so the actor is told of what comes.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.scheduled = !self.queue.is_empty();
        !self.scheduled
    }

    /// Everything that waits, for failing it. The actor's turn goes on.
    pub(crate) fn drain(&mut self) -> Vec<Envelope<E>> {
        self.queue.drain(..).collect()
    }

    /// Ends the instance with what waits.
    pub(crate) fn end(&mut self) -> Vec<Envelope<E>> {
        self.retired = true;
        self.drain()
    }

    /// Marks the actor as told; says whether it was not.
    pub(crate) fn schedule(&mut self) -> bool {
        !self.retired && !std::mem::replace(&mut self.scheduled, true)
    }

    /// Ends the instance if nothing waits. Called by the actor within its turn.
    pub(crate) fn retire_if_empty(&mut self) -> bool {
        if self.queue.is_empty() {
            self.retired = true;
        }
        self.retired
    }
}

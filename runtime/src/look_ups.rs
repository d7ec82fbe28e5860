//! The commands of one instance that are away, to be looked for in the log, and who comes after them under the same ids.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use chronicler_domain::{LogSequence, StreamId};
use chronicler_store::ReadError;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::dedup::Span;
use crate::entity::Entity;
use crate::envelope::{Away, CommandEnvelope, Returned, Searched, refuse};
use crate::error::DispatchError;

/// A command that waits to be told whether it was carried out before.
pub(crate) struct Asking<E: Entity> {
    pub(crate) command: Box<CommandEnvelope<E>>,
    /// Where its outcome can lie.
    pub(crate) spans: Vec<Span>,
    /// Once those are searched, everything up to here is.
    pub(crate) through: LogSequence,
    pub(crate) away: Away,
}

impl<E: Entity> Asking<E> {
    pub(crate) fn id(&self) -> Uuid {
        self.away.id()
    }

    /// The command, as it comes back to the inbox.
    pub(crate) fn back(self, searched: Searched) -> Returned<E> {
        let Self { command, away, .. } = self;
        let command = Box::new(CommandEnvelope {
            searched,
            ..*command
        });
        Returned { command, away }
    }

    /// Refuses it. Only the actor may say that it is no longer away.
    pub(crate) fn fail(self, stream: &StreamId, source: &ReadError) -> Away {
        let error = DispatchError::MemoryUnreadable {
            stream: stream.clone(),
            id: self.id(),
            source: source.clone(),
        };
        refuse(self.command, error);
        self.away
    }
}

/// The commands of one instance that wait for a look into the log. One task looks for all that wait, one pass after the
/// other, so that however many come the log is read once.
pub(crate) struct LookUps<E: Entity> {
    inner: Mutex<Inner<E>>,
    /// How many ids are away, so that whoever is not concerned takes no lock.
    ids: AtomicUsize,
    /// Commands that have left the inbox and will be back.
    commands: AtomicUsize,
}

struct Inner<E: Entity> {
    waiting: Vec<Asking<E>>,
    running: bool,
    /// The ids that are away, and the later sendings that wait for each.
    away: HashMap<Uuid, Vec<Box<CommandEnvelope<E>>>, RandomState>,
}

impl<E: Entity> Default for LookUps<E> {
    fn default() -> Self {
        let inner = Inner {
            waiting: Vec::new(),
            running: false,
            away: HashMap::default(),
        };
        Self {
            inner: Mutex::new(inner),
            ids: AtomicUsize::new(0),
            commands: AtomicUsize::new(0),
        }
    }
}

impl<E: Entity> LookUps<E> {
    /// A command is away from now on. Only the actor says so, and only while none is away under its id.
    pub(crate) fn begin(&self, id: Uuid) {
        self.inner.lock().away.insert(id, Vec::new());
        self.ids.fetch_add(1, Ordering::Release);
    }

    /// Nothing is away under this id any more; the later sendings under it, in their order.
    pub(crate) fn end(&self, id: Uuid) -> Vec<Box<CommandEnvelope<E>>> {
        let followed = self.inner.lock().away.remove(&id);
        self.ids.fetch_sub(1, Ordering::Release);
        let followed = followed.unwrap_or_default();
        if !followed.is_empty() {
            self.commands.fetch_sub(followed.len(), Ordering::Relaxed);
        }
        followed
    }

    /// Says whether any command waits. The instance must not end while one does: the command comes back to its inbox.
    pub(crate) fn are_under_way(&self) -> bool {
        self.inner.lock().running
    }

    /// Commands that have left the inbox and will be back.
    pub(crate) fn commands(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }

    /// Takes one more in, and says whether a task has to begin with them.
    pub(crate) fn ask(&self, asking: Asking<E>) -> bool {
        self.commands.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.waiting.push(asking);
        !std::mem::replace(&mut inner.running, true)
    }

    /// All that wait now; `None` ends the task.
    pub(crate) fn next_pass(&self) -> Option<Vec<Asking<E>>> {
        let mut inner = self.inner.lock();
        inner.running = !inner.waiting.is_empty();
        let waiting = std::mem::take(&mut inner.waiting);
        inner.running.then_some(waiting)
    }

    /// One that was asked for is answered.
    pub(crate) fn answered(&self) {
        self.commands.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a command is away under this id.
    pub(crate) fn is_away(&self, id: Uuid) -> bool {
        self.ids.load(Ordering::Acquire) > 0 && self.inner.lock().away.contains_key(&id)
    }

    /// Has a later sending wait for the one that is away under its id; gives it back if none is.
    pub(crate) fn follow(
        &self,
        id: Uuid,
        command: Box<CommandEnvelope<E>>,
    ) -> Result<(), Box<CommandEnvelope<E>>> {
        if self.ids.load(Ordering::Acquire) == 0 {
            return Err(command);
        }
        match self.inner.lock().away.get_mut(&id) {
            Some(followed) => followed.push(command),
            None => return Err(command),
        }
        self.commands.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

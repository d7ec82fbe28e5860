//! The commands of one instance that are away, to be looked for in the log, and who comes after them under the same ids.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use chronicler_domain::LogSequence;
use chronicler_store::ReadError;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::dedup::Span;
use crate::entity::Entity;
use crate::error::DispatchError;
use crate::inbox::{CommandEnvelope, Searched};
use crate::instance::{Instance, refuse};

/// A command that waits to be told whether it was carried out before.
pub(crate) struct Asking<E: Entity> {
    pub(crate) command: Box<CommandEnvelope<E>>,
    /// Where its outcome can lie.
    pub(crate) spans: Vec<Span>,
    /// Once those are searched, everything up to here is.
    pub(crate) through: LogSequence,
    pub(crate) away: Away<E>,
}

impl<E: Entity> Asking<E> {
    pub(super) fn id(&self) -> Uuid {
        self.away.id
    }

    /// The command, as it comes back to the inbox.
    pub(super) fn back(self, searched: Searched) -> Returned<E> {
        let Self { command, away, .. } = self;
        let command = Box::new(CommandEnvelope {
            searched,
            ..*command
        });
        Returned { command, away }
    }

    /// Refuses it. Only the actor may say that it is no longer away.
    pub(super) fn fail(self, instance: &Instance<E>, source: &ReadError) -> Away<E> {
        let error = DispatchError::MemoryUnreadable {
            stream: instance.stream.clone(),
            id: self.id(),
            source: source.clone(),
        };
        refuse(self.command, error);
        self.away
    }
}

/// A command that is back in the inbox, after a look into the log.
pub(crate) struct Returned<E: Entity> {
    pub(crate) command: Box<CommandEnvelope<E>>,
    pub(crate) away: Away<E>,
}

/// Says that a command is away, until it is decided or refused. Later sendings under its id wait for that: whatever they
/// were told would else be no longer true once this one is carried out. When it is dropped, within the actor's turn, they
/// are next.
pub(crate) struct Away<E: Entity> {
    instance: Weak<Instance<E>>,
    id: Uuid,
}

impl<E: Entity> Away<E> {
    /// Only the actor says so of a command, and only while none is away under its id.
    pub(super) fn begin(instance: &Arc<Instance<E>>, id: Uuid) -> Self {
        let look_ups = &instance.look_ups;
        look_ups.inner.lock().away.insert(id, Vec::new());
        look_ups.ids.fetch_add(1, Ordering::Release);
        let instance = Arc::downgrade(instance);
        Self { instance, id }
    }
}

impl<E: Entity> Drop for Away<E> {
    fn drop(&mut self) {
        let Some(instance) = self.instance.upgrade() else {
            return;
        };
        let look_ups = &instance.look_ups;
        let followed = look_ups.inner.lock().away.remove(&self.id);
        look_ups.ids.fetch_sub(1, Ordering::Release);
        let followed = followed.unwrap_or_default();
        if !followed.is_empty() {
            look_ups
                .commands
                .fetch_sub(followed.len(), Ordering::Relaxed);
            instance.push_first(followed);
        }
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
    /// Says whether any command waits. The instance must not end while one does: the command comes back to its inbox.
    pub(crate) fn are_under_way(&self) -> bool {
        self.inner.lock().running
    }

    /// Commands that have left the inbox and will be back.
    pub(crate) fn commands(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }

    /// Takes one more in, and says whether a task has to begin with them.
    pub(super) fn ask(&self, asking: Asking<E>) -> bool {
        self.commands.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.waiting.push(asking);
        !std::mem::replace(&mut inner.running, true)
    }

    /// All that wait now; `None` ends the task.
    pub(super) fn next_pass(&self) -> Option<Vec<Asking<E>>> {
        let mut inner = self.inner.lock();
        inner.running = !inner.waiting.is_empty();
        let waiting = std::mem::take(&mut inner.waiting);
        inner.running.then_some(waiting)
    }

    /// One that was asked for is answered.
    pub(super) fn answered(&self) {
        self.commands.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a command is away under this id.
    pub(super) fn is_away(&self, id: Uuid) -> bool {
        self.ids.load(Ordering::Acquire) > 0 && self.inner.lock().away.contains_key(&id)
    }

    /// Has a later sending wait for the one that is away under its id; gives it back if none is.
    pub(super) fn follow(
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

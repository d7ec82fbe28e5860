//! One instance: what outlives its actor. The inbox, the commits in flight, the budget of restarts.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chronicler_domain::StreamId;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use uuid::Uuid;

use crate::contain::{Contained, let_go};
use crate::core::Core;
use crate::entity::Entity;
use crate::envelope::{Awaiting, Away, CommandEnvelope, Envelope, refuse_unseen};
use crate::error::DispatchError;
use crate::in_flight::InFlight;
use crate::inbox::{Inbox, Pushed};
use crate::look_ups::LookUps;
use crate::residents::Left;
use crate::supervision::{Fate, RestartBudget};

/// Whoever passivates what nobody uses was not told yet.
const FOR_THE_SWEEPER: u8 = 1;
/// Whoever makes room was not told yet.
const FOR_THE_HAND: u8 = 2;

/// Shared by the directory, the senders, the actor and the log's answers.
pub(crate) struct Instance<E: Entity> {
    pub(crate) stream: StreamId,
    pub(crate) entity: Contained<E>,
    pub(crate) core: Arc<Core>,
    pub(crate) in_flight: InFlight,
    pub(crate) look_ups: LookUps<E>,
    /// The actor keeps more than it is meant to, until nothing is in flight any more.
    pub(crate) untidy: AtomicBool,
    inbox: Mutex<Inbox<E>>,
    woken: Notify,
    restarts: Mutex<RestartBudget>,
    /// Who was not told yet that it was used: a bit each.
    used: AtomicU8,
    /// When the sweeper came by last and it had been used.
    unused_since: Mutex<Option<Instant>>,
    /// A predecessor may have appends that are not answered: recover only after a barrier.
    behind_barrier: AtomicBool,
    /// A snapshot of it waits to be saved.
    snapshot_waits: AtomicBool,
    home: Weak<dyn Home>,
    /// How many of its kind are alive.
    alike: Arc<AtomicUsize>,
}

/// Where an instance is found while it is alive.
pub(crate) trait Home: Send + Sync + 'static {
    /// It has ended: the next command for the stream has a new one.
    fn leave(&self, stream: &StreamId);
}

impl<E: Entity> Instance<E> {
    pub(crate) fn new(
        stream: StreamId,
        entity: Arc<E>,
        core: Arc<Core>,
        home: Weak<dyn Home>,
        alike: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            stream,
            entity: Contained::new(entity),
            core,
            in_flight: InFlight::default(),
            look_ups: LookUps::default(),
            untidy: AtomicBool::new(false),
            inbox: Mutex::default(),
            woken: Notify::new(),
            restarts: Mutex::default(),
            used: AtomicU8::new(FOR_THE_SWEEPER | FOR_THE_HAND),
            unused_since: Mutex::default(),
            behind_barrier: AtomicBool::new(false),
            snapshot_waits: AtomicBool::new(false),
            home,
            alike,
        }
    }

    /// Queues an envelope and tells the actor.
    ///
    /// # Errors
    /// The envelope back, when the instance has been passivated since or its inbox is full.
    pub(crate) fn push(self: &Arc<Self>, envelope: Envelope<E>) -> Result<(), Refused<E>> {
        self.used
            .store(FOR_THE_SWEEPER | FOR_THE_HAND, Ordering::Relaxed);
        self.ask(envelope)
    }

    /// As [`push`](Self::push), for what is no use of it.
    pub(crate) fn ask(self: &Arc<Self>, envelope: Envelope<E>) -> Result<(), Refused<E>> {
        let (away, limit) = (self.look_ups.commands(), self.core.options.inbox_max);
        let pushed = self.inbox.lock().push(envelope, away, limit);
        match pushed {
            Pushed::Queued => Ok(()),
            Pushed::Wake => {
                self.wake();
                Ok(())
            }
            Pushed::Retired(envelope) => Err(Refused::Retired(envelope)),
            Pushed::Full(envelope, waiting) => {
                let_go(envelope);
                Err(Refused::Full(waiting))
            }
        }
    }

    /// Queues what was in the inbox before and comes back. The instance does not end until then.
    pub(crate) fn push_back(self: &Arc<Self>, envelope: Envelope<E>) {
        // Retired it cannot be, and full it is for new commands only.
        drop(self.ask(envelope));
    }

    /// Queues commands before all others.
    pub(crate) fn push_first(&self, commands: Vec<Box<CommandEnvelope<E>>>) {
        let pushed = self.inbox.lock().push_first(commands);
        match pushed {
            Ok(true) => self.wake(),
            Ok(false) => {}
            Err(back) => {
                for command in back {
                    refuse_unseen(command, DispatchError::Stopped);
                }
            }
        }
    }

    pub(crate) fn next(&self) -> Option<Envelope<E>> {
        self.inbox.lock().next()
    }

    pub(crate) fn drain(&self) -> Vec<Envelope<E>> {
        self.inbox.lock().drain()
    }

    /// Tells the actor to look, though nothing may be in the inbox: something it decided has failed.
    pub(crate) fn nudge(self: &Arc<Self>) {
        let told = self.inbox.lock().schedule();
        if told {
            self.wake();
        }
    }

    /// Asks it to end if nothing waits. `left` is dropped when it has answered.
    pub(crate) fn ask_to_end(self: &Arc<Self>, left: Option<Left>) -> Result<(), Refused<E>> {
        self.ask(match left {
            Some(left) => Envelope::MakeRoom(left),
            None => Envelope::Passivate(None),
        })
    }

    /// For how long the sweeper has known that nobody used it; zero if somebody did since it came by last.
    pub(crate) fn unused_for(&self, now: Instant) -> Duration {
        let mut since = self.unused_since.lock();
        if self.takes_note_of_use(FOR_THE_SWEEPER) {
            *since = Some(now);
        }
        now.saturating_duration_since(*since.get_or_insert(now))
    }

    /// Whether somebody used it since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        self.takes_note_of_use(FOR_THE_HAND)
    }

    fn takes_note_of_use(&self, by: u8) -> bool {
        self.used.fetch_and(!by, Ordering::Relaxed) & by != 0
    }

    /// Ends the instance if nothing waits and nothing is in flight. Called by the actor within its turn.
    pub(crate) fn retire(&self) -> bool {
        if self.is_busy() || !self.inbox.lock().retire_if_empty() {
            return false;
        }
        self.core.failing.forget(&self.stream);
        if let Some(home) = self.home.upgrade() {
            home.leave(&self.stream);
        }
        true
    }

    /// Whether something of it is under way outside its actor.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.len() > 0 || self.look_ups.are_under_way()
    }

    /// Whether more of its kind are alive than are kept warm.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.alike.load(Ordering::Relaxed) > self.core.options.warm_max
    }

    /// Says that a command is away from here, until what this gives is dropped. Only the actor says so, and only while none
    /// is away under its id.
    pub(crate) fn away(self: &Arc<Self>, id: Uuid) -> Away {
        self.look_ups.begin(id);
        let instance = Arc::downgrade(self);
        Away::new(instance, id)
    }

    /// Counts a death of its actor; what is to become of it.
    pub(crate) fn actor_died(&self, now: Instant) -> Fate {
        self.restarts.lock().spend(now, &self.core.options.restart)
    }

    /// Whether a recovery must first wait for the log to answer everything submitted; asked once.
    pub(crate) fn take_barrier(&self) -> bool {
        self.behind_barrier.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn put_behind_barrier(&self) {
        self.behind_barrier.store(true, Ordering::Release);
    }

    /// A place for one more snapshot that waits to be saved: one for each instance, and so many in all.
    pub(crate) fn place_for_snapshot(self: &Arc<Self>) -> Option<SnapshotPlace<E>> {
        if self.snapshot_waits.load(Ordering::Acquire) {
            return None;
        }
        let one_of_all = Arc::clone(&self.core.snapshots).try_acquire_owned().ok()?;
        // Only its actor asks: nobody can have come between.
        self.snapshot_waits.store(true, Ordering::Release);
        Some(SnapshotPlace {
            instance: Arc::clone(self),
            _one_of_all: one_of_all,
        })
    }

    /// Ends when the actor has been told since it looked last.
    pub(crate) async fn something_waits(&self) {
        self.woken.notified().await;
    }

    /// Whether something is in the inbox; if not, the actor is told of what comes. Called by the actor within its turn.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.inbox.lock().is_empty()
    }

    /// Ends when something is in the inbox, at once if it is. Called by the actor within its turn.
    pub(crate) async fn until_wanted(&self) {
        while !self.is_wanted() {
            self.woken.notified().await;
        }
        // It may have been told of that here, and sleeps until it is told.
        self.wake();
    }

    /// Makes the actor panic, as a test of what supervision does.
    pub(crate) fn crash(self: &Arc<Self>) {
        // One that has just ended cannot crash any more.
        drop(self.ask(Envelope::Crash));
    }

    /// Fails everything that waits.
    pub(crate) fn fail_waiting(&self, error: impl Fn(StreamId) -> DispatchError) {
        for envelope in self.drain() {
            envelope.fail(error(self.stream.clone()));
        }
    }

    /// Ends it, whatever its actor is at: the runtime has.
    pub(crate) fn end(&self) {
        let waiting = self.inbox.lock().end();
        for envelope in waiting {
            envelope.fail(DispatchError::Stopped);
        }
    }

    fn wake(&self) {
        self.woken.notify_one();
    }
}

impl<E: Entity> Awaiting for Instance<E> {
    fn is_back(&self, id: Uuid) {
        let later = self.look_ups.end(id);
        if !later.is_empty() {
            self.push_first(later);
        }
    }
}

/// The place of a snapshot that waits to be saved; given back when it is dropped.
pub(crate) struct SnapshotPlace<E: Entity> {
    instance: Arc<Instance<E>>,
    _one_of_all: OwnedSemaphorePermit,
}

impl<E: Entity> Drop for SnapshotPlace<E> {
    fn drop(&mut self) {
        self.instance.snapshot_waits.store(false, Ordering::Release);
    }
}

/// Why an envelope was not queued.
pub(crate) enum Refused<E: Entity> {
    Retired(Envelope<E>),
    Full(usize),
}

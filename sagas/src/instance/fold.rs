//! The fold of an instance's stream, the same for all who read one: the runtime that recovers an instance, whoever shows
//! one that nothing defines, forks or replays one, and the test kit.

use chronicler_domain::{Event, LogSequence, Timestamp};
use chronicler_store::codec::{CodecError, EventDecoder};
use chronicler_store::{EventRef, NewEvent, RecordedCommit};
use uuid::Uuid;

use crate::definition::input::RoutedEvent;
use crate::instance::entry::{Entry, OWN_PREFIX};
use crate::instance::state::InstanceState;

/// One event of an instance's stream, read.
#[derive(Clone, Debug)]
pub(crate) enum Recorded<E> {
    /// An entry of the executor.
    Entry(Entry),
    /// An event of the saga's own.
    Own(E),
}

impl<E> Recorded<E> {
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Own(_) => None,
        }
    }
}

impl<E: Event> Recorded<E> {
    /// The same without its type.
    pub(crate) fn routed(self) -> Recorded<RoutedEvent> {
        match self {
            Self::Entry(entry) => Recorded::Entry(entry),
            Self::Own(event) => Recorded::Own(RoutedEvent::new(event)),
        }
    }
}

/// Reads the events of the streams of one saga type.
pub(crate) struct StreamReader<E> {
    entries: EventDecoder<Entry>,
    /// `None`: those of the saga's own are passed over.
    own: Option<EventDecoder<E>>,
}

impl<E: Event> StreamReader<E> {
    pub(crate) fn new() -> Self {
        Self {
            entries: EventDecoder::new(),
            own: Some(EventDecoder::new()),
        }
    }

    /// One that passes over the saga's own events.
    pub(crate) fn of_entries() -> Self {
        Self {
            entries: EventDecoder::new(),
            own: None,
        }
    }

    /// Reads an event of the log. `take` is given what it is read as, in order.
    ///
    /// # Errors
    /// When it cannot be decoded; `take` was then given nothing of it.
    pub(crate) fn read(
        &self,
        event: &EventRef<'_>,
        take: impl FnMut(Recorded<E>),
    ) -> Result<(), CodecError> {
        if event.event_type().starts_with(OWN_PREFIX) {
            let entries = self.entries.decode(event)?.into_iter();
            entries.map(Recorded::Entry).for_each(take);
        } else if let Some(own) = &self.own {
            let events = own.decode(event)?.into_iter();
            events.map(Recorded::Own).for_each(take);
        }
        Ok(())
    }

    /// The same for an event that is not in the log yet.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_new(
        &self,
        event: &NewEvent,
        take: impl FnMut(Recorded<E>),
    ) -> Result<(), CodecError> {
        let (codec, version) = (event.codec, event.schema_version);
        let (name, payload) = (&event.event_type, &event.payload);
        if name.starts_with(OWN_PREFIX) {
            let entries = self.entries.decode_parts(codec, name, version, payload)?;
            entries.into_iter().map(Recorded::Entry).for_each(take);
        } else if let Some(own) = &self.own {
            let events = own.decode_parts(codec, name, version, payload)?;
            events.into_iter().map(Recorded::Own).for_each(take);
        }
        Ok(())
    }
}

/// The facts of a commit beside its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitInfo {
    at: Timestamp,
    sequence: LogSequence,
    correlation_id: Uuid,
    causation_depth: u16,
}

impl CommitInfo {
    pub(crate) fn of(commit: &RecordedCommit) -> Self {
        let metadata = commit.metadata();
        Self {
            at: commit.timestamp(),
            sequence: commit.sequence(),
            correlation_id: metadata.correlation_id,
            causation_depth: metadata.causation_depth,
        }
    }
}

impl<S: Default> InstanceState<S> {
    /// A commit follows that has events of the instance.
    pub(crate) fn fold_commit(&mut self, commit: &CommitInfo) {
        if !self.is_started() {
            self.started_at = commit.at;
            self.correlation_id = commit.correlation_id;
        }
        self.causation_depth = self.causation_depth.max(commit.causation_depth);
        self.moved_at = commit.at;
    }

    /// Folds one event of that commit. `evolve` is what the saga itself makes of its own.
    pub(crate) fn fold<E>(
        &mut self,
        commit: &CommitInfo,
        event: &Recorded<E>,
        evolve: impl FnOnce(&mut S, &E),
    ) {
        self.fold_written(event, evolve);
        if let (Some(Entry::Decided(_)), Some(last)) = (event.entry(), self.effects.last_mut()) {
            last.decided_at = Some(commit.sequence);
        }
    }

    /// Folds one event that may not be in the log yet.
    pub(crate) fn fold_written<E>(&mut self, event: &Recorded<E>, evolve: impl FnOnce(&mut S, &E)) {
        match event {
            Recorded::Entry(entry) => self.apply(entry),
            Recorded::Own(event) => evolve(&mut self.user, event),
        }
    }
}

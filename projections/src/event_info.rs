//! What a handler may know of an event beside its payload, read from the log in place.

use chronicler_domain::{
    GlobalPosition, LogSequence, Metadata, StreamId, StreamVersion, Timestamp,
};
use chronicler_store::EventRef;
use uuid::Uuid;

/// What a handler may know of an event beside its payload.
///
/// Every accessor reads the log's own bytes when it is called, so what a handler does not ask for costs
/// nothing. Names come as `&str` without allocating; [`stream`](Self::stream),
/// [`event_id`](Self::event_id) and [`metadata`](Self::metadata) build a value.
#[derive(Clone, Copy, Debug)]
pub struct EventInfo<'a> {
    event: &'a EventRef<'a>,
}

impl<'a> EventInfo<'a> {
    pub(crate) fn new(event: &'a EventRef<'a>) -> Self {
        Self { event }
    }

    /// Whose data it is; empty for the default tenant.
    pub fn tenant(&self) -> &'a str {
        self.event.part().tenant()
    }

    /// The category of the aggregate it happened to.
    pub fn category(&self) -> &'a str {
        self.event.part().category()
    }

    /// The id of the aggregate it happened to.
    pub fn id(&self) -> &'a str {
        self.event.part().id()
    }

    /// The stream's whole name as one text, as [`StreamId::key`] gives it.
    pub fn stream_key(&self) -> &'a str {
        self.event.part().stream_key()
    }

    /// The stream; `None` only for a name that an older release accepted and this one refuses.
    pub fn stream(&self) -> Option<StreamId> {
        self.event.part().stream()
    }

    /// Its place in its stream.
    pub fn version(&self) -> StreamVersion {
        self.event.version()
    }

    /// Its place in the log.
    pub fn position(&self) -> GlobalPosition {
        self.event.position()
    }

    /// The number of the commit it belongs to.
    pub fn sequence(&self) -> LogSequence {
        self.event.commit().sequence()
    }

    /// When its commit was accepted. Never goes back from one event to the next.
    pub fn timestamp(&self) -> Timestamp {
        self.event.timestamp()
    }

    /// Its id.
    pub fn event_id(&self) -> Uuid {
        self.event.id()
    }

    /// The id of the command or effect that it came from.
    pub fn commit_id(&self) -> Uuid {
        self.event.commit().commit_id()
    }

    /// The stable name of its type in the log, before any upcaster.
    pub fn event_type(&self) -> &'a str {
        self.event.event_type()
    }

    /// Who caused it, and what caused that.
    pub fn metadata(&self) -> Metadata {
        self.event.commit().metadata()
    }
}

//! What a command is answered once it is durable.

use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion};

/// What a command is answered, once it and everything it was decided on is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt<R> {
    /// The aggregate's answer.
    pub reply: R,
    /// The version of the first event; without events, the version that the next one will get.
    pub first_version: StreamVersion,
    /// The version of the aggregate after the command.
    pub version: StreamVersion,
    /// The position of the command's last event; without events, that of the last event it was decided on.
    /// A view that has reached it shows what this command did.
    pub position: GlobalPosition,
    /// The commit that holds the events; without events, the last one it was decided on.
    pub sequence: LogSequence,
    /// Whether the command had been carried out before: this is the original's answer.
    pub duplicate: bool,
}

impl<R> Receipt<R> {
    /// How many events the command had.
    pub fn event_count(&self) -> u64 {
        self.version.get() + 1 - self.first_version.get().min(self.version.get() + 1)
    }
}

//! What is to go wrong in a store in memory, and when.

use std::collections::{HashMap, VecDeque};

use tokio::sync::watch;

/// What is to happen to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendFault {
    /// It is answered `Overloaded`; the next one goes through.
    Overloaded,
    /// There is no room for it: offered it is given back, and submitted answered `Overloaded`.
    NoRoom,
    /// The write fails before anything reached the disk; the store is read-only from then on.
    FailedNotWritten,
    /// The sync fails after the frame reached the disk; the store is read-only from then on, and the frame is
    /// in the [`survivor`](super::Faults::survivor).
    FailedWritten,
}

/// What is to happen to reads of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFault {
    /// They fail, as without descriptors or on a disk that is away.
    Io,
    /// They fail, as when the index can no longer be read.
    Index,
    /// Nothing ever comes.
    Hangs,
    /// What is read is damaged.
    Damaged,
    /// The next one is damaged; read again, it is whole.
    DamagedOnce,
}

/// When the process is to die: at the `write`-th write point from now, counted from 1. Commits, snapshots
/// and view writes are write points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// Which write.
    pub write: u64,
    /// Whether that write is durable: it died after the write and before the answer, else before the write.
    pub durable: bool,
}

/// What a write is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Proceed,
    DieBefore,
    DieAfter,
    Dead,
}

/// What is to go wrong.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) held: bool,
    pub(super) appends: VecDeque<Option<AppendFault>>,
    pub(super) snapshots_fail: bool,
    pub(super) reads: Option<ReadFault>,
    pub(super) reads_of: HashMap<Box<str>, ReadFault>,
    pub(super) snapshots_held: Option<watch::Sender<()>>,
    pub(super) crash: Option<CrashPoint>,
    pub(super) dead: bool,
    pub(super) writes: u64,
    pub(super) facts_read: u64,
}

impl Plan {
    /// Counts a write point and says what happens at it.
    pub(super) fn write_point(&mut self) -> Fate {
        if self.dead {
            return Fate::Dead;
        }
        self.writes += 1;
        let Some(crash) = self.crash.filter(|crash| crash.write == self.writes) else {
            return Fate::Proceed;
        };
        self.dead = true;
        if crash.durable {
            Fate::DieAfter
        } else {
            Fate::DieBefore
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether the next append is to find no room; if so that has happened now.
    pub(super) fn has_no_room(&mut self) -> bool {
        let has_none = self.appends.front() == Some(&Some(AppendFault::NoRoom));
        if has_none {
            self.appends.pop_front();
        }
        has_none
    }

    /// Facts were read.
    pub(super) fn read_facts(&mut self, count: usize) {
        self.facts_read += count as u64;
    }

    /// What is to happen to a read of a stream, or of the whole log.
    pub(super) fn read_fault(&mut self, stream_key: Option<&str>) -> Option<ReadFault> {
        let fault = stream_key.and_then(|key| self.reads_of.get(key).copied());
        if let (Some(ReadFault::DamagedOnce), Some(key)) = (fault, stream_key) {
            self.reads_of.remove(key);
        }
        fault.or(self.reads)
    }
}

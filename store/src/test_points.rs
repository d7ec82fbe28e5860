//! Where a test can make the process die, and which promises it can break to see that another test notices.
//!
//! Only with the feature `test-points`, which nothing but the tests of this repository turns on. Without it
//! [`reached`] and [`is_broken`] are nothing at all.
//!
//! - `CHRONICLER_DIE_AT=index-applied:3`: the process kills itself when it gets there for the third time.
//! - `CHRONICLER_BREAK=version-check`: the promise of that name is not kept.

/// A place in the life of a commit, and of what is derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPlace {
    /// A group of commits is about to be written to the journal.
    Write,
    /// It is written and not synced.
    Written,
    /// It is synced, and nobody knows.
    Synced,
    /// Whoever waited for it is answered.
    Answered,
    /// The head marker is synced.
    Marked,
    /// A new segment exists, and nothing is in it.
    SegmentBegun,
    /// A full segment is about to get its footer.
    Seal,
    /// Heads and facts are about to be put into sled.
    IndexApply,
    /// Rows are in sled, and what makes them count (a watermark, a checkpoint) is not.
    RowsWritten,
    /// Heads and facts are in sled.
    IndexApplied,
    /// Snapshots are about to be put into sled.
    SnapshotSave,
    /// Snapshots are in sled.
    SnapshotSaved,
    /// Rows of views and their checkpoints are about to be put into sled.
    ViewWrite,
    /// Rows of views and their checkpoints are in sled.
    ViewWritten,
    /// A sender is about to get its receipt.
    Reply,
    /// It has it.
    Replied,
    /// A saga has decided, and nothing of it is written.
    SagaCommit,
    /// What a saga decided is durable.
    SagaCommitted,
    /// An effect is about to be carried out.
    Dispatch,
    /// An effect was carried out, and its saga does not know.
    Dispatched,
}

impl CrashPlace {
    /// Each of them with its name.
    pub const ALL: [(Self, &'static str); 20] = [
        (Self::Write, "write"),
        (Self::Written, "written"),
        (Self::Synced, "synced"),
        (Self::Answered, "answered"),
        (Self::Marked, "marked"),
        (Self::SegmentBegun, "segment-begun"),
        (Self::Seal, "seal"),
        (Self::IndexApply, "index-apply"),
        (Self::RowsWritten, "rows-written"),
        (Self::IndexApplied, "index-applied"),
        (Self::SnapshotSave, "snapshot-save"),
        (Self::SnapshotSaved, "snapshot-saved"),
        (Self::ViewWrite, "view-write"),
        (Self::ViewWritten, "view-written"),
        (Self::Reply, "reply"),
        (Self::Replied, "replied"),
        (Self::SagaCommit, "saga-commit"),
        (Self::SagaCommitted, "saga-committed"),
        (Self::Dispatch, "dispatch"),
        (Self::Dispatched, "dispatched"),
    ];
}

/// What Chronicler promises, and a test can have it break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// Nothing is acknowledged before it is synced.
    SyncFirst,
    /// An append is refused only once everything that the refusal tells of is durable.
    RefuseAfterDurable,
    /// An append is refused whose stream is not where it was expected.
    VersionCheck,
    /// A command that is sent again takes effect once.
    Deduplication,
    /// A view's checkpoint never says more than its rows.
    RowsBeforeCheckpoint,
    /// An effect is carried out only after its saga's decision is durable.
    CommitBeforeDispatch,
}

impl Promise {
    /// Each of them with its name.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::SyncFirst, "sync-first"),
        (Self::RefuseAfterDurable, "refuse-after-durable"),
        (Self::VersionCheck, "version-check"),
        (Self::Deduplication, "deduplication"),
        (Self::RowsBeforeCheckpoint, "rows-before-checkpoint"),
        (Self::CommitBeforeDispatch, "commit-before-dispatch"),
    ];
}

/// The process is there. It dies if a test wants it to.
#[cfg(not(feature = "test-points"))]
#[inline(always)]
pub fn reached(_place: CrashPlace) {}

/// Whether a test has this promise broken.
#[cfg(not(feature = "test-points"))]
#[inline(always)]
pub const fn is_broken(_promise: Promise) -> bool {
    false
}

#[cfg(feature = "test-points")]
pub use armed::{is_broken, reached};

/// Whether these bytes, whose checksum was right, can be read as a snapshot. For the fuzzer.
#[cfg(feature = "test-points")]
pub fn reads_as_snapshot(key: &[u8], value: Vec<u8>) -> bool {
    crate::sled::decode_snapshot(key, value).is_some()
}

#[cfg(feature = "test-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{CrashPlace, Promise};

    struct Death {
        place: CrashPlace,
        left: AtomicU64,
    }

    static DEATH: OnceLock<Option<Death>> = OnceLock::new();
    static BROKEN: OnceLock<Option<Promise>> = OnceLock::new();

    /// The process is there. It dies if a test wants it to.
    pub fn reached(place: CrashPlace) {
        let Some(death) = DEATH.get_or_init(death) else {
            return;
        };
        if death.place == place && death.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // As sudden as SIGKILL: nothing is flushed, no destructor runs.
            std::process::abort();
        }
    }

    /// Whether a test has this promise broken.
    pub fn is_broken(promise: Promise) -> bool {
        *BROKEN.get_or_init(broken) == Some(promise)
    }

    fn death() -> Option<Death> {
        let wanted = std::env::var("CHRONICLER_DIE_AT").ok()?;
        let (name, times) = wanted.split_once(':')?;
        let (place, _) = CrashPlace::ALL.iter().find(|(_, known)| *known == name)?;
        Some(Death {
            place: *place,
            left: AtomicU64::new(times.parse().ok()?),
        })
    }

    fn broken() -> Option<Promise> {
        let wanted = std::env::var("CHRONICLER_BREAK").ok()?;
        let (promise, _) = Promise::ALL.iter().find(|(_, known)| *known == wanted)?;
        Some(*promise)
    }
}

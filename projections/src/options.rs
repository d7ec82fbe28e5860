//! How one projection runs: batches, flushes, failures, hooks.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chronicler_store::panic_text;
use uuid::Uuid;

use crate::event_info::EventInfo;
use crate::failure::FailurePolicy;
use crate::hooks::{self, Contained, ProjectionHooks};

/// The most events that are folded before a view is published. Large enough that publishing costs nothing
/// per event, small enough that a batch is folded in a few milliseconds.
pub const BATCH_EVENTS_MAX_DEFAULT: usize = 4_096;
/// Events folded into a table before its rows are written.
pub const FLUSH_EVENTS_DEFAULT: u64 = 10_000;
/// Changed rows of a table before they are written; also the most that an overlay holds, but for the rows of
/// one commit.
pub const FLUSH_ROWS_DEFAULT: usize = 16_384;
/// Bytes of changed rows (estimated from those written last) before they are written.
pub const FLUSH_BYTES_DEFAULT: usize = 16 * 1_024 * 1_024;
/// How long a table must have had nothing to do before its rows are written.
pub const FLUSH_IDLE_DEFAULT: Duration = Duration::from_millis(500);
/// Unchanged rows of a table that are kept decoded, so that folding into them again reads nothing.
pub const CACHED_ROWS_DEFAULT: usize = 65_536;
/// Events that wait set aside in one projection, those that wait for another one included, and as many that are left out.
/// Each takes some 300 bytes of memory and a fact in the log. More mean that it is the projection which is broken.
pub const PARKED_EVENTS_MAX_DEFAULT: usize = 100_000;
/// The longest key of [`order_by`](ProjectionOptions::order_by) that is kept as it is, in bytes. Of a longer one this many
/// bytes are kept: its beginning, and a name made of all of it.
pub const ORDER_KEY_BYTES_MAX: usize = 1_024;
/// The space of the names of keys that are too long.
const LONG_KEYS: Uuid = Uuid::from_u128(0x53b1_0e4d_92c7_4f6a_a81d_74e0_35fc_9b26);
/// How long `at_least` waits when it is not told otherwise.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// When the changed rows of a table are written to the store. Whichever comes first.
///
/// Rows are also written when the projection stops. A crash loses no event: what was folded since the last
/// flush is folded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushPolicy {
    /// After so many events. Default [`FLUSH_EVENTS_DEFAULT`].
    pub events: u64,
    /// After so many changed rows. Default [`FLUSH_ROWS_DEFAULT`].
    pub rows: usize,
    /// After so many bytes of changed rows, estimated. Default [`FLUSH_BYTES_DEFAULT`].
    pub bytes: usize,
    /// After so long without an event. Default [`FLUSH_IDLE_DEFAULT`].
    pub idle: Duration,
}

impl Default for FlushPolicy {
    fn default() -> Self {
        Self {
            events: FLUSH_EVENTS_DEFAULT,
            rows: FLUSH_ROWS_DEFAULT,
            bytes: FLUSH_BYTES_DEFAULT,
            idle: FLUSH_IDLE_DEFAULT,
        }
    }
}

impl FlushPolicy {
    /// The same, after so many events.
    #[must_use]
    pub fn events(self, events: u64) -> Self {
        Self { events, ..self }
    }

    /// The same, after so many changed rows.
    #[must_use]
    pub fn rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// The same, after so many bytes of changed rows.
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// The same, after so long without an event.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }
}

type KeyFn = dyn Fn(&EventInfo<'_>) -> String + Send + Sync;

/// Which events must stay in order among themselves when one of them is parked.
#[derive(Clone, Default)]
pub(crate) enum OrderKey {
    #[default]
    Stream,
    By {
        key: Arc<KeyFn>,
        /// True once a warning has said that the function panics.
        is_told: Arc<AtomicBool>,
    },
}

impl OrderKey {
    pub(crate) fn of(&self, info: &EventInfo<'_>) -> Arc<str> {
        match self {
            Self::Stream => info.stream_key().into(),
            Self::By { key, is_told } => {
                let keyed = catch_unwind(AssertUnwindSafe(|| key(info)));
                keyed.map_or_else(
                    |panic| {
                        if !is_told.swap(true, Ordering::Relaxed) {
                            let (position, panic) = (info.position(), panic_text(&*panic));
                            tracing::error!(%position, panic, "`order_by` panics: the events of such a stream stay in order among themselves");
                        }
                        info.stream_key().into()
                    },
                    bounded,
                )
            }
        }
    }
}

/// A key that is no longer than may be, and another one for another key: each event that is set aside carries its key into
/// the log, where a commit has a limit.
fn bounded(key: String) -> Arc<str> {
    if key.len() <= ORDER_KEY_BYTES_MAX {
        return key.into();
    }
    let name = Uuid::new_v5(&LONG_KEYS, key.as_bytes())
        .simple()
        .to_string();
    // A dot and the name come after it.
    let mut end = ORDER_KEY_BYTES_MAX - name.len() - 1;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    let beginning = key.get(..end).unwrap_or_default();
    format!("{beginning}.{name}").into()
}

/// How one projection runs.
#[derive(Clone)]
pub struct ProjectionOptions {
    pub(crate) failure: FailurePolicy,
    pub(crate) flush: FlushPolicy,
    pub(crate) batch_events_max: usize,
    pub(crate) cached_rows: usize,
    pub(crate) parked_events_max: usize,
    pub(crate) in_place: bool,
    pub(crate) order_key: OrderKey,
    pub(crate) hooks: Arc<dyn ProjectionHooks>,
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            failure: FailurePolicy::default(),
            flush: FlushPolicy::default(),
            batch_events_max: BATCH_EVENTS_MAX_DEFAULT,
            cached_rows: CACHED_ROWS_DEFAULT,
            parked_events_max: PARKED_EVENTS_MAX_DEFAULT,
            in_place: false,
            order_key: OrderKey::default(),
            hooks: hooks::none(),
        }
    }
}

impl ProjectionOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happens to an event that a handler cannot take. Default: [`FailurePolicy::default`].
    #[must_use]
    pub fn failure(self, failure: FailurePolicy) -> Self {
        Self { failure, ..self }
    }

    /// When a table's rows are written. Default: [`FlushPolicy::default`]. Of no effect for a view in memory.
    #[must_use]
    pub fn flush(self, flush: FlushPolicy) -> Self {
        Self { flush, ..self }
    }

    /// The most events folded before the view is published, at least 1. Default
    /// [`BATCH_EVENTS_MAX_DEFAULT`]. A commit is never split, so one with more events is a batch of its own;
    /// and a batch is never more than what the store read at once.
    #[must_use]
    pub fn batch_events_max(self, events: usize) -> Self {
        Self {
            batch_events_max: events.max(1),
            ..self
        }
    }

    /// Unchanged rows of a table kept decoded. Default [`CACHED_ROWS_DEFAULT`].
    #[must_use]
    pub fn cached_rows(self, rows: usize) -> Self {
        Self {
            cached_rows: rows,
            ..self
        }
    }

    /// The most events that may wait set aside, and the most that may be left out for good. A commit with several events
    /// can exceed the limit. At the limit the projection reads nothing more, and its status is
    /// [`Full`](crate::ProjectionStatus::Full), until `retry_parked` takes some events up or `drop_parked` leaves some of
    /// the waiting ones out. A rebuild that reaches the limit fails, and so does a drop that would leave out as many as
    /// may be. The least is 1, and 0 counts as 1: the projection then stops at the first event that it sets aside.
    /// Default [`PARKED_EVENTS_MAX_DEFAULT`].
    #[must_use]
    pub fn parked_events_max(self, events: usize) -> Self {
        Self {
            parked_events_max: events.max(1),
            ..self
        }
    }

    /// Whether the handlers of a table run on the worker's own thread instead of one that may block. For
    /// simulations on one thread that must give the same run again; over a store whose reads wait for the same
    /// thread it never ends. Default: they do not.
    #[must_use]
    pub fn in_place(self, in_place: bool) -> Self {
        Self { in_place, ..self }
    }

    /// Which events stay in order among themselves when one of them is parked: those with the same key.
    /// Default: those of the same stream, which is also what holds for an event at which `key` panics. Keys longer than
    /// [`ORDER_KEY_BYTES_MAX`] are kept and shown shortened; different ones stay different.
    #[must_use]
    pub fn order_by(self, key: impl Fn(&EventInfo<'_>) -> String + Send + Sync + 'static) -> Self {
        Self {
            order_key: OrderKey::By {
                key: Arc::new(key),
                is_told: Arc::default(),
            },
            ..self
        }
    }

    /// What is called at the turning points of its life. Default: nothing.
    #[must_use]
    pub fn hooks(self, hooks: Arc<dyn ProjectionHooks>) -> Self {
        Self {
            hooks: Arc::new(Contained(hooks)),
            ..self
        }
    }
}

impl fmt::Debug for ProjectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionOptions")
            .field("failure", &self.failure)
            .field("flush", &self.flush)
            .field("batch_events_max", &self.batch_events_max)
            .field("cached_rows", &self.cached_rows)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_a_key_has_a_limit_and_long_ones_stay_different() {
        let short = "k".repeat(ORDER_KEY_BYTES_MAX);
        assert_eq!(*bounded(short.clone()), short);
        let (one, other) = ("ö".repeat(100_000), format!("{}!", "ö".repeat(100_000)));
        let (kept, of_other) = (bounded(one.clone()), bounded(other));
        assert!(kept.len() <= ORDER_KEY_BYTES_MAX && of_other.len() <= ORDER_KEY_BYTES_MAX);
        assert_eq!(kept, bounded(one));
        assert_ne!(kept, of_other);
    }
}

//! What a follower and its handles share: what it follows, where it is, and what is asked of it.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::{AppendError, Filter};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::parked::Selection;
use crate::backoff::Backoff;
use crate::core::Core;

/// What a follower follows, under which name, and its limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerSpec {
    /// Names its cursor and what it has parked; without NUL. Two followers of one name would overwrite each other's cursor.
    pub name: String,
    /// Which events.
    pub filter: Filter,
    /// Keys whose events are being taken at a time; half of them at most for what is parked and tried again. One that takes
    /// so long that it is parked is not counted any more. Default 1,024.
    pub lanes_max: usize,
    /// Events that were read and are neither taken nor parked yet; beyond it nothing more is read. Default 16,384.
    pub outstanding_max: usize,
    /// Events that may be parked; beyond it nothing more is read until some are taken up or dropped. Each takes some 300
    /// bytes of memory. Default 100,000.
    pub parked_max: usize,
    /// How long what may pass waits for its next try. Default 100 ms, doubled to 30 s.
    pub retry: Backoff,
}

impl FollowerSpec {
    /// Follows what passes a filter, with the default limits.
    pub fn new(name: impl Into<String>, filter: Filter) -> Self {
        Self {
            name: name.into(),
            filter,
            lanes_max: 1_024,
            outstanding_max: 16_384,
            parked_max: 100_000,
            retry: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
        }
    }
}

/// Where a follower is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// Everything up to here was taken or is parked.
    pub through: GlobalPosition,
    /// Events that were read and are neither taken nor parked.
    pub outstanding: usize,
    /// When the first of those happened, in the log's time: how far it lags. `None`: there is none.
    pub oldest: Option<Timestamp>,
    /// Events that are parked, those that wait for them included.
    pub parked: usize,
    /// Whether some of those are tried again without a person.
    pub is_retrying: bool,
    /// Whether as many are parked as may be, so that nothing more is read.
    pub is_full: bool,
}

/// What a follower and its handles share.
pub(super) struct Shared {
    pub(super) spec: FollowerSpec,
    pub(super) core: Arc<Core>,
    pub(super) status: Mutex<FollowerStatus>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) given: tokio::sync::Mutex<mpsc::Receiver<Order>>,
}

/// What is asked of a follower.
pub(super) struct Order {
    pub(super) verb: Verb,
    pub(super) selection: Selection,
    pub(super) answer: oneshot::Sender<Result<usize, AppendError>>,
}

#[derive(Clone, Copy)]
pub(super) enum Verb {
    Retry,
    Drop,
}

//! A log on a simulated disk, driven step by step so that a seed gives the same operations again.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use chronicler_domain::LogSequence;
use futures::future::join_all;
use tokio::sync::oneshot;

use super::support::{MapIndex, open_with};
use super::workload::Expectations;
use crate::append::{Append, AppendResult};
use crate::error::{AppendError, OpenError, Outcome};
use crate::journal::disk::simulated::{Random, SimulatedDisk};
use crate::journal::log::JournalLog;
use crate::journal::open::OpenReport;
use crate::journal::options::{Durability, JournalOptions};
use crate::log::{EventLog, Health};

/// So that the log rolls from one segment to the next again and again.
pub(super) const SMALL_SEGMENT_BYTES: u64 = 64 << 10;
/// So that it hardly ever does.
pub(super) const LARGE_SEGMENT_BYTES: u64 = 1 << 20;
/// Longer than any test: the marker is synced at open and close only.
const NEVER: Duration = Duration::from_secs(86_400);

/// A log that is opened, written to and lost again and again.
pub(super) struct Session<'a> {
    /// Where the lock lies; everything else is on the disk.
    pub data: &'a Path,
    pub disk: SimulatedDisk,
    pub index: MapIndex,
    pub expected: Expectations,
    pub random: Random,
    pub durability: Durability,
    pub segment_bytes: u64,
    /// The commit up to which the marker was durable when the log was looked at last.
    pub marked: LogSequence,
    lost_power: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(data: &'a Path, seed: u64) -> Self {
        Self {
            data,
            disk: SimulatedDisk::new(seed),
            index: MapIndex::default(),
            expected: Expectations::default(),
            random: Random::new(seed),
            durability: Durability::Fsync,
            segment_bytes: SMALL_SEGMENT_BYTES,
            marked: LogSequence::ZERO,
            lost_power: false,
        }
    }

    /// Opens the log; a marker that moves with every batch, or hardly ever.
    pub(super) fn open(&mut self) -> Result<(JournalLog, OpenReport), OpenError> {
        let mut options = JournalOptions::default()
            .segment_bytes(self.segment_bytes)
            .durability(self.durability);
        let often = self.random.one_in(2);
        options.marker_sync_every = if often { Duration::ZERO } else { NEVER };
        let index_follows = often && self.random.one_in(2);
        options.index_idle = if index_follows { Duration::ZERO } else { NEVER };
        options.layout_pause = Duration::ZERO;
        let storage = Arc::new(self.disk.clone());
        let opened = open_with(self.data, options, storage, &self.index)?;
        if std::mem::take(&mut self.lost_power) && self.durability == Durability::Os {
            let end = opened.0.head().sequence;
            assert!(
                end >= self.marked,
                "{end} of {} that were marked",
                self.marked
            );
            self.expected.lose_tail(end);
        }
        self.marked = opened.0.shared().marked();
        Ok(opened)
    }

    /// The power goes.
    pub(super) fn cut_power(&mut self) {
        let seed = self.random.next();
        self.disk = self.disk.cut(seed);
        self.lost_power = true;
    }

    /// Hands in some commits that become one batch, and waits for the answers. False if one was
    /// refused: writes have stopped, or the log could not grow.
    pub(super) async fn write(&mut self, log: &JournalLog) -> bool {
        let mut appends = Vec::new();
        for _ in 0..1 + self.random.below(5) {
            let earlier = self
                .random
                .one_in(10)
                .then(|| self.expected.earlier(&mut self.random));
            let append = match earlier.flatten() {
                Some(earlier) => earlier,
                None => self.expected.next(&mut self.random),
            };
            appends.push(append);
        }
        let mut goes_on = true;
        for (append, answer) in batch(log, appends).await {
            match answer {
                Ok(appended) => self.expected.acknowledged(append.commit_id, appended),
                Err(error) => {
                    goes_on = false;
                    let unknown = matches!(error, AppendError::Failed { .. });
                    let cannot_grow = matches!(error, AppendError::CannotGrow { .. });
                    assert_eq!(error.is_retryable(), cannot_grow);
                    let refused = cannot_grow || matches!(error, AppendError::ReadOnly { .. });
                    assert!(unknown || refused, "{error}");
                    assert_eq!(error.outcome() == Outcome::Unknown, unknown);
                    self.expected.failed(append.commit_id, error.outcome());
                }
            }
        }
        self.marked = log.shared().marked();
        goes_on
    }

    /// Waits until the follower has sealed what is full, so that its operations come in a fixed order.
    pub(super) fn wait_for_seals(&self, log: &JournalLog) {
        let waits = || {
            let segments = log.shared().catalogue.segments();
            let full = segments.split_last().map(|(_, full)| full.to_vec());
            let mut full = full.unwrap_or_default().into_iter();
            full.any(|segment| segment.unsealed_sparse.lock().is_some())
        };
        while !self.disk.is_off() && log.health() == Health::Healthy && waits() {
            std::thread::yield_now();
        }
    }
}

/// Hands in commits while the writer is held up, so that it takes them all at once, and waits for the answers.
pub(super) async fn batch(log: &JournalLog, appends: Vec<Append>) -> Vec<(Append, AppendResult)> {
    let answers = hand_in(log, appends.clone()).await;
    let answers = join_all(answers).await;
    let answers = answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(AppendError::Lost)));
    appends.into_iter().zip(answers).collect()
}

/// Hands in commits while the writer is held up, so that it takes them all at once.
pub(super) async fn hand_in(
    log: &dyn EventLog,
    appends: Vec<Append>,
) -> Vec<oneshot::Receiver<AppendResult>> {
    let (held, is_held) = oneshot::channel();
    let (let_go, may_go) = mpsc::sync_channel::<()>(1);
    log.barrier(Box::new(move || {
        held.send(()).unwrap();
        may_go.recv().unwrap();
    }));
    is_held.await.unwrap();
    let answers = appends.into_iter().map(|append| {
        let (answer, answered) = oneshot::channel();
        log.submit(append, Box::new(move |result| drop(answer.send(result))));
        answered
    });
    let answers: Vec<_> = answers.collect();
    let_go.send(()).unwrap();
    answers
}

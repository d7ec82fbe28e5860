//! Retries that somebody asked for, and waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::ParkedError;
use crate::ledger::Ledger;

/// Retries that somebody asked for, and waits for.
#[derive(Default)]
pub(super) struct Retries(Vec<Retry>);

struct Retry {
    /// The keys whose first event was not tried yet.
    keys: BTreeSet<Arc<str>>,
    count: usize,
    answer: oneshot::Sender<Result<usize, ParkedError>>,
}

impl Retries {
    /// Adds a retry of these keys.
    pub(super) fn add(
        &mut self,
        keys: Vec<Arc<str>>,
        answer: oneshot::Sender<Result<usize, ParkedError>>,
    ) {
        self.0.push(Retry {
            count: keys.len(),
            keys: keys.into_iter().collect(),
            answer,
        });
    }

    /// Answers whoever waits until these keys were tried.
    pub(super) fn tried(&mut self, tried: &[Arc<str>], ledger: &Ledger) {
        let mut waiting = Vec::new();
        for mut retry in std::mem::take(&mut self.0) {
            for key in tried {
                retry.keys.remove(key);
            }
            // A key may have been freed otherwise.
            retry.keys.retain(|key| ledger.first(key).is_some());
            if retry.keys.is_empty() {
                drop(retry.answer.send(Ok(retry.count)));
            } else {
                waiting.push(retry);
            }
        }
        self.0 = waiting;
    }

    /// Answers everybody: all was tried.
    pub(super) fn all_tried(&mut self) {
        for retry in self.0.drain(..) {
            drop(retry.answer.send(Ok(retry.count)));
        }
    }
}

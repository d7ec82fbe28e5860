//! Who waits for the writer: each is answered exactly once, whatever happens, and cannot harm it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::append::{AppendResult, Completion};
use crate::error::AppendError;

/// Who waits for an append. Dropped unanswered, the outcome is [`AppendError::Lost`].
pub(crate) struct Answer(Option<Completion>);

/// Who waits for everything before it to be answered. Dropped, it passes.
pub(crate) struct Barrier(Option<Box<dyn FnOnce() + Send>>);

impl Answer {
    pub(crate) fn new(done: Completion) -> Self {
        Self(Some(done))
    }

    /// Takes it back from the queue that does not take it.
    pub(crate) fn into_inner(mut self) -> Option<Completion> {
        self.0.take()
    }

    /// Answers.
    pub(crate) fn give(mut self, result: AppendResult) {
        if let Some(done) = self.0.take() {
            contained(|| done(result));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            contained(|| done(Err(AppendError::Lost)));
        }
    }
}

impl Barrier {
    pub(crate) fn new(done: Box<dyn FnOnce() + Send>) -> Self {
        Self(Some(done))
    }

    /// Takes it back from the queue that does not take it.
    pub(crate) fn into_inner(mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.0.take()
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            contained(done);
        }
    }
}

/// A completion is somebody else's code: its panic must not end the thread that everybody waits for.
fn contained(done: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(done)).is_err() {
        tracing::error!("the completion of an append panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn whoever_is_dropped_is_answered_and_a_panic_stays_where_it_is() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = |heard: &Arc<Mutex<Vec<String>>>| {
            let heard = heard.clone();
            Answer::new(Box::new(move |result| {
                heard.lock().push(format!("{:?}", result.unwrap_err()));
            }))
        };
        drop(hears(&heard));
        hears(&heard).give(Err(AppendError::Closed));
        assert_eq!(*heard.lock(), ["Lost", "Closed"]);
        Answer::new(Box::new(|_| panic!("on purpose"))).give(Err(AppendError::Closed));
        let passed = heard.clone();
        drop(Barrier::new(Box::new(move || passed.lock().clear())));
        assert!(heard.lock().is_empty());
    }
}

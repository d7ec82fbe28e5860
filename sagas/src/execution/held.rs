//! A count of the attempts that wait for services that take no requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many attempts wait for services that take no requests.
#[derive(Default)]
pub(crate) struct HeldAttempts {
    count: AtomicUsize,
    more: Notify,
}

/// One of them.
pub(crate) struct Holding<'a>(&'a HeldAttempts);

impl HeldAttempts {
    /// One more, until this is dropped.
    pub(crate) fn hold(&self) -> Holding<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
        Holding(self)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends when there is one more than when it was asked last.
    ///
    /// # Cancel safety
    /// A change that nobody saw is told the next time.
    pub(crate) async fn changed(&self) {
        self.more.notified().await;
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

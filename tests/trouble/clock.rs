//! A clock that is set, forwards and backwards, as that of a machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::runtime::{Clock, SystemClock};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The clock of the machine, so many milliseconds ahead. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct SetClock {
    ahead: Arc<AtomicI64>,
}

impl SetClock {
    pub(crate) fn set(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::SeqCst) * 1_000;
        Timestamp::from_micros(SystemClock.now().as_micros().saturating_add_signed(ahead))
    }

    /// As the system's does it: whoever sleeps does not notice that the clock is set.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        const SLEEP_MAX: Duration = Duration::from_secs(60);
        let clock = self.clone();
        async move {
            loop {
                let left = at.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(SLEEP_MAX)).await;
            }
        }
        .boxed()
    }
}

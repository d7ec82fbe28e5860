//! The one place that reads the wall clock, and the clock that a test turns by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chronicler_domain::Timestamp;
use futures::future::BoxFuture;
use futures::{FutureExt, future};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What time it is. Everything in a runtime asks the same one.
pub trait Clock: Send + Sync + 'static {
    /// The present time. It may jump; whoever needs order has positions.
    fn now(&self) -> Timestamp;

    /// Ends when it is `at` or later.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        /// The longest single sleep: the wall clock may be set meanwhile, and is then looked at again.
        const SLEEP_MAX: Duration = Duration::from_secs(60);
        let clock = *self;
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

/// A clock that stands still until it is moved. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use chronicler_runtime::{Clock, ManualClock};
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(before), Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    inner: Arc<Mutex<Hands>>,
}

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next: u64,
}

impl Default for ManualClock {
    /// 2024-01-01T00:00:00Z.
    fn default() -> Self {
        Self::new(Timestamp::from_millis(1_704_067_200_000))
    }
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        let hands = Hands {
            now,
            sleepers: BTreeMap::new(),
            next: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(hands)),
        }
    }

    /// Moves it on and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.inner.lock();
        hands.now = hands.now.plus(by);
        let now = hands.now;
        let later = hands.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut hands.sleepers, later);
        drop(hands);
        for sleeper in due.into_values() {
            // Whoever no longer sleeps need not be woken.
            let _no_longer_sleeps = sleeper.send(());
        }
    }

    /// Sets it, backwards too; nobody wakes by that.
    pub fn set(&self, now: Timestamp) {
        self.inner.lock().now = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.inner.lock().now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut hands = self.inner.lock();
        if at <= hands.now {
            return future::ready(()).boxed();
        }
        hands.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        let (wake, woken) = oneshot::channel();
        let next = hands.next;
        hands.next += 1;
        hands.sleepers.insert((at, next), wake);
        async move { drop(woken.await) }.boxed()
    }
}

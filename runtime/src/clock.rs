//! The one place that reads clocks: dates by the wall clock, waits by the monotonic one, and a clock turned by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chronicler_domain::Timestamp;
use futures::future::BoxFuture;
use futures::{FutureExt, future};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What time it is. Everything in a runtime asks the same one.
///
/// There are two clocks in it. The *wall clock* gives dates: when an event was recorded, when a timer in the log is due.
/// Somebody may set it, in both directions. The *monotonic clock* measures how long something takes: every deadline,
/// backoff, idle time and budget. Nobody sets it, and it stands still while the machine is suspended.
/// `docs/adr/0017-monotonic-time.md` says which wait goes by which, and what follows from a wall clock that jumps.
///
/// An implementation that only corrects the wall clock writes [`now`](Self::now) and [`sleep_until`](Self::sleep_until).
/// One that does not go by itself, for tests, must give [`monotonic`](Self::monotonic) and [`sleep`](Self::sleep) too,
/// and all four must move together: a runtime measures with one and waits with the other.
pub trait Clock: Send + Sync + 'static {
    /// The present date, by the wall clock. It may jump; whoever needs order has positions.
    fn now(&self) -> Timestamp;

    /// Ends when the wall clock shows `at` or later. For waits on a date; a wait for a while is [`sleep`](Self::sleep).
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// The present point on the monotonic clock. By default that of the operating system, or of tokio where a test has
    /// paused its time.
    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Ends when the monotonic clock has gone on by `duration`. By default a sleep of tokio.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// When a wait that begins now is over. One of more years than an instant may reach is cut to thirty.
pub(crate) fn after(clock: &dyn Clock, wait: Duration) -> Instant {
    later(clock.monotonic(), wait)
}

/// When a wait is over that began then; see [`after`].
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    now.checked_add(wait).unwrap_or_else(|| now + FAR)
}

/// The clocks of the operating system.
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
        /// The longest single sleep: the wall clock may be set in between, and is then looked at again.
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
/// let (date, begun) = (clock.now(), clock.monotonic());
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(date), Duration::from_secs(60));
/// // Somebody corrects the wall clock by an hour: no time has gone by.
/// clock.set(clock.now().minus(Duration::from_secs(3_600)));
/// assert_eq!(clock.monotonic() - begun, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    inner: Arc<Mutex<Hands>>,
}

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    /// Where the monotonic clock began, and how far it has gone on since.
    begun: Instant,
    gone: Duration,
    until_dates: Sleepers<Timestamp>,
    for_a_while: Sleepers<Duration>,
}

/// Who sleeps, by when they wake.
#[derive(Debug)]
struct Sleepers<T> {
    all: BTreeMap<(T, u64), oneshot::Sender<()>>,
    next: u64,
}

impl<T: Ord + Copy> Sleepers<T> {
    fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            next: 0,
        }
    }

    fn sleep(&mut self, until: T) -> BoxFuture<'static, ()> {
        self.all.retain(|_, sleeper| !sleeper.is_closed());
        let (wake, woken) = oneshot::channel();
        self.all.insert((until, self.next), wake);
        self.next += 1;
        async move { drop(woken.await) }.boxed()
    }

    /// Those whose time has come.
    fn due(&mut self, now: T) -> Vec<oneshot::Sender<()>> {
        let later = self.all.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.all, later)
            .into_values()
            .collect()
    }
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
            begun: Instant::now(),
            gone: Duration::ZERO,
            until_dates: Sleepers::new(),
            for_a_while: Sleepers::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(hands)),
        }
    }

    /// Moves both clocks on and wakes whoever slept until then: time goes by.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.inner.lock();
        let now = hands.now.plus(by);
        hands.gone = hands.gone.saturating_add(by);
        let gone = hands.gone;
        let mut due = hands.for_a_while.due(gone);
        due.extend(hands.shows(now));
        drop(hands);
        wake(due);
    }

    /// Sets the wall clock alone, forwards or backwards, as somebody who corrects it does: no time goes by, and nobody
    /// wakes but who waits for a date that it now shows.
    pub fn set(&self, now: Timestamp) {
        let due = self.inner.lock().shows(now);
        wake(due);
    }
}

impl Hands {
    fn shows(&mut self, now: Timestamp) -> Vec<oneshot::Sender<()>> {
        self.now = now;
        self.until_dates.due(now)
    }
}

fn wake(sleepers: Vec<oneshot::Sender<()>>) {
    for sleeper in sleepers {
        // Whoever no longer sleeps need not be woken.
        let _no_longer_sleeps = sleeper.send(());
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
        hands.until_dates.sleep(at)
    }

    fn monotonic(&self) -> Instant {
        let hands = self.inner.lock();
        // As far as an instant reaches: nobody turns a clock further than that.
        hands.begun.checked_add(hands.gone).unwrap_or(hands.begun)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut hands = self.inner.lock();
        if duration.is_zero() {
            return future::ready(()).boxed();
        }
        let until = hands.gone.saturating_add(duration);
        hands.for_a_while.sleep(until)
    }
}

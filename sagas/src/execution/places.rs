//! Places for decisions whose effects are at work: so many at a time, and whoever only waits has none.

use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::execution::quiet::{Quiet, UnderWay};

/// The places of one saga type.
pub(crate) struct Places(Arc<Semaphore>);

/// The place of one decision. The decision has it while any of its effects is at work, and gets in line for one again when
/// the first of them has waited long enough.
pub(crate) struct Seat {
    places: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// Held by who gets in line for all of them.
    returning: tokio::sync::Mutex<()>,
}

struct Taken {
    /// Effects that are at work; the place is there as long as there is one.
    at_work: usize,
    place: Option<OwnedSemaphorePermit>,
    /// Effects that are at work, or will be without anything else having to happen first.
    awake: usize,
    /// While there are any of those.
    under_way: Option<UnderWay>,
    quiet: Option<Arc<Quiet>>,
}

/// One effect of a decision, or what else it has to do: at work until it waits, or this is dropped.
pub(crate) struct AtWork<'a> {
    seat: &'a Seat,
    is_at_work: bool,
    is_awake: bool,
}

impl Places {
    /// So many; at least one.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            count.clamp(1, Semaphore::MAX_PERMITS),
        )))
    }

    /// Waits for a place, in line with those that come back.
    ///
    /// # Cancel safety
    /// A wait that is dropped holds nothing, and loses its turn.
    pub(crate) async fn take(&self) -> Seat {
        // They are never closed.
        let place = Arc::clone(&self.0).acquire_owned().await.ok();
        self.seat(place)
    }

    /// A place, if there is one that nobody waits for.
    pub(crate) fn take_now(&self) -> Option<Seat> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(self.seat(Some(place)))
    }

    fn seat(&self, place: Option<OwnedSemaphorePermit>) -> Seat {
        Seat {
            places: Arc::clone(&self.0),
            taken: Mutex::new(Taken {
                at_work: 0,
                place,
                awake: 0,
                under_way: None,
                quiet: None,
            }),
            returning: tokio::sync::Mutex::default(),
        }
    }
}

impl Seat {
    /// One more that is at work. To be called before any of them waits.
    pub(crate) fn at_work(&self) -> AtWork<'_> {
        let mut taken = self.taken.lock();
        taken.at_work += 1;
        taken.awake += 1;
        AtWork {
            seat: self,
            is_at_work: true,
            is_awake: true,
        }
    }

    /// The decision is under way as long as any of its effects is, and does not rest.
    pub(crate) fn is_under_way(&self, under_way: UnderWay) {
        let mut taken = self.taken.lock();
        taken.quiet = Some(under_way.quiet());
        taken.under_way = Some(under_way);
    }
}

impl AtWork<'_> {
    /// Waits for something; others may have the place until then. Who comes back waits for a place again.
    pub(crate) async fn aside<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        if let Some(done) = wait.as_mut().now_or_never() {
            return done;
        }
        self.leave();
        let done = wait.await;
        self.come_back().await;
        done
    }

    /// Waits for something that may never come: nothing is under way until then.
    pub(crate) async fn rest<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.leave();
        self.fall_asleep();
        let done = wait.await;
        self.wake_up();
        self.come_back().await;
        done
    }

    fn fall_asleep(&mut self) {
        if std::mem::take(&mut self.is_awake) {
            let mut taken = self.seat.taken.lock();
            taken.awake -= 1;
            if taken.awake == 0 {
                taken.under_way = None;
            }
        }
    }

    fn wake_up(&mut self) {
        let mut taken = self.seat.taken.lock();
        taken.awake += 1;
        if taken.under_way.is_none() {
            taken.under_way = taken.quiet.as_ref().map(Quiet::begin);
        }
        self.is_awake = true;
    }

    /// Is not at work any more.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.is_at_work) {
            let mut taken = self.seat.taken.lock();
            taken.at_work -= 1;
            if taken.at_work == 0 {
                taken.place = None;
            }
        }
    }

    /// Gets in line for a place again, and says whether it had to wait for it.
    pub(crate) async fn come_back(&mut self) -> bool {
        let mut coming = pin!(self.be_at_work());
        let had_to_wait = coming.as_mut().now_or_never().is_none();
        if had_to_wait {
            coming.await;
        }
        had_to_wait
    }

    async fn be_at_work(&mut self) {
        let _in_line = self.seat.returning.lock().await;
        let has_place = {
            let mut taken = self.seat.taken.lock();
            let has_place = taken.place.is_some();
            taken.at_work += usize::from(has_place);
            has_place
        };
        if !has_place {
            let place = Arc::clone(&self.seat.places).acquire_owned().await.ok();
            let mut taken = self.seat.taken.lock();
            taken.at_work += 1;
            taken.place = place;
        }
        self.is_at_work = true;
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.leave();
        self.fall_asleep();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn who_waits_has_no_place_and_waits_for_one_when_it_comes_back() {
        let places = Places::new(1);
        let take = || places.take().now_or_never();
        let first = take().unwrap();
        let (mut one, mut other) = (first.at_work(), first.at_work());
        assert_eq!(one.aside(async { 7 }).now_or_never(), Some(7));
        let (tell, told) = oneshot::channel::<()>();
        let mut one_waits = Box::pin(one.aside(told));
        assert!(one_waits.as_mut().now_or_never().is_none());
        assert!(take().is_none(), "the other is still at work");
        let (tell_other, told_other) = oneshot::channel::<()>();
        let mut other_waits = Box::pin(other.aside(told_other));
        assert!(other_waits.as_mut().now_or_never().is_none());
        let second = take().unwrap();
        let works = second.at_work();
        // Both may go on, and have to wait for the one place of theirs.
        tell.send(()).unwrap();
        tell_other.send(()).unwrap();
        assert!(one_waits.as_mut().now_or_never().is_none());
        assert!(other_waits.as_mut().now_or_never().is_none());
        drop(works);
        assert!(other_waits.as_mut().now_or_never().is_none(), "in order");
        assert!(one_waits.now_or_never().is_some());
        assert!(other_waits.now_or_never().is_some());
        assert!(take().is_none());
        drop(one);
        assert!(take().is_none());
        drop(other);
        assert!(take().is_some());
    }

    #[test]
    fn who_rests_has_no_place_and_is_not_under_way() {
        let (places, quiet) = (Places::new(1), Quiet::new());
        let seat = places.take_now().unwrap();
        let (mut one, other) = (seat.at_work(), seat.at_work());
        seat.is_under_way(quiet.begin());
        let (tell, told) = oneshot::channel::<()>();
        let mut one_rests = Box::pin(one.rest(told));
        assert!(one_rests.as_mut().now_or_never().is_none());
        assert_eq!(quiet.under_way(), 1, "the other is");
        drop(other);
        assert_eq!(quiet.under_way(), 0);
        assert!(places.take_now().is_some());
        tell.send(()).unwrap();
        assert!(one_rests.now_or_never().is_some());
        assert_eq!(quiet.under_way(), 1);
        drop(one);
        assert_eq!(quiet.under_way(), 0);
    }

    #[test]
    fn a_wait_that_is_dropped_keeps_nothing() {
        let places = Places::new(1);
        let seat = places.take().now_or_never().unwrap();
        let mut one = seat.at_work();
        let never = std::future::pending::<()>();
        assert!(one.aside(never).now_or_never().is_none());
        drop(one);
        assert!(places.take().now_or_never().is_some());
    }
}

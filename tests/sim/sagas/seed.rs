//! What the seed of a run decides: the same answer to the same question, wherever it is asked.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::resume_unwind;

use super::app::BEGUN_BY_EVENTS;
use crate::chance::Chance;

/// What the code of one life is: a bad release has places that panic.
#[derive(Clone, Copy, Default)]
struct Release {
    seed: u64,
    number: u64,
    is_bad: bool,
}

thread_local! {
    /// Definitions are types, and a run stays on its thread: so they find out what its seed decides.
    static RELEASE: Cell<Release> = Cell::default();
    /// The sagas of which events could not be routed when they came.
    static LATE: RefCell<BTreeSet<String>> = RefCell::default();
}

/// A run begins.
pub(crate) fn begin(seed: u64) {
    RELEASE.set(Release {
        seed,
        ..Release::default()
    });
    LATE.take();
}

/// The next life begins, under code that may be bad.
pub(crate) fn release(is_bad: bool) {
    let before = RELEASE.get();
    RELEASE.set(Release {
        number: before.number + 1,
        is_bad,
        ..before
    });
}

/// The code is mended.
pub(crate) fn mend() {
    RELEASE.set(Release {
        is_bad: false,
        ..RELEASE.get()
    });
}

/// Numbers that depend on the seed and on what they are about, and on nothing else.
pub(crate) fn chance(about: impl Hash) -> Chance {
    let mut hasher = DefaultHasher::new();
    (RELEASE.get().seed, about).hash(&mut hasher);
    Chance::new(hasher.finish())
}

/// Whether the code of this life has the later of two definitions. There are four lives at most, and the last.
pub(crate) fn is_renewed() -> bool {
    RELEASE.get().number > chance("renewed").below(5)
}

/// Whether the code of this life is broken at a place.
pub(crate) fn is_broken(place: &str, about: impl Hash) -> bool {
    let release = RELEASE.get();
    release.is_bad && chance((release.number, place, about)).one_in(9)
}

/// Panics if it is, without a word on the screen.
pub(crate) fn pass(place: &'static str, about: impl Hash) {
    if is_broken(place, about) {
        resume_unwind(Box::new(place));
    }
}

/// The same for the routes of a saga, which then hears of events late.
pub(crate) fn pass_route(saga: &str, position: u64) {
    // Of half of all releases, and of one saga.
    let broken = chance((RELEASE.get().number, "routes")).below(2 * BEGUN_BY_EVENTS.len() as u64);
    let is_its = BEGUN_BY_EVENTS.get(broken as usize) == Some(&saga);
    if is_its && is_broken("route", position) {
        LATE.with_borrow_mut(|late| late.insert(saga.to_owned()));
        resume_unwind(Box::new("the route is broken"));
    }
}

/// Whether events of a saga could not be routed when they came.
pub(crate) fn was_late(saga: &str) -> bool {
    LATE.with_borrow(|late| late.contains(saga))
}

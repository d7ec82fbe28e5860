//! What a follower needs of whoever takes events from it.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::EventRef;
use futures::future::BoxFuture;

/// Why a consumer did not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass: what is needed is away or busy. The follower tries again without a person, for as long as it takes,
    /// with ever longer waits.
    Passing(String),
    /// It does not pass while the code and the event stay as they are: a panic, an event that cannot be read. The event waits
    /// for a person, or for the next start.
    Lasting(String),
}

/// What a consumer makes of an event, for one key.
#[derive(Clone, Debug)]
pub struct Planned<I> {
    /// Events of one key are taken in order, and a trouble with one holds back the later ones of its key only.
    pub key: Arc<str>,
    /// What is taken.
    pub item: I,
}

/// Whom an event concerns.
#[derive(Clone, Debug)]
pub struct Plan<I> {
    /// One item for each key: those of one key belong together in one.
    pub items: Vec<Planned<I>>,
    /// That it also concerns somebody who cannot be: a key that names the case, and the reason. The event is parked under that
    /// key, the items are brought, and later events of its stream are not held back.
    pub failed: Option<(Arc<str>, String)>,
}

impl<I> Plan<I> {
    /// Nobody.
    pub fn nobody() -> Self {
        Self::of(Vec::new())
    }

    /// Those of these items.
    pub fn of(items: Vec<Planned<I>>) -> Self {
        Self {
            items,
            failed: None,
        }
    }
}

/// Takes events from a follower.
///
/// Every event comes at least once, and in order within its key: a crash between the taking and the record of that has it
/// come again. Nothing in it may block.
pub trait Consumer: Send + Sync + 'static {
    /// What an event becomes for one key.
    type Item: Send + Sync + 'static;

    /// Says whom an event concerns; nobody is fine. `is_late`: the event could not be planned when it came, so that later
    /// ones, and this one itself, may have been taken since.
    ///
    /// # Errors
    /// Why that cannot be said. The event is parked under its stream.
    fn plan(&self, event: &EventRef<'_>, is_late: bool) -> Result<Plan<Self::Item>, String>;

    /// What is kept of an item while it is parked, beside the place of its event. At most some hundred bytes.
    fn keep(&self, item: &Self::Item) -> Vec<u8>;

    /// An item again, from its event and what was kept.
    ///
    /// # Errors
    /// Why that cannot be done at present; it stays parked.
    fn restore(&self, event: &EventRef<'_>, kept: &[u8]) -> Result<Self::Item, String>;

    /// Takes an item. What may pass in a moment it tries again by itself: each trouble that it reports costs a commit.
    ///
    /// # Cancel safety
    /// Dropped at a stop: the item comes again at the next start.
    fn take<'a>(
        &'a self,
        key: &'a Arc<str>,
        item: &'a Self::Item,
    ) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Whether there is any sense in trying what is parked under a key. Default: yes.
    fn can_take(&self, key: &str) -> bool {
        _ = key;
        true
    }

    /// Told that everything up to a position was taken or is parked; `is_busy` while something is on its way to be tried
    /// again without a person.
    fn progressed(&self, through: GlobalPosition, is_busy: bool) {
        _ = (through, is_busy);
    }
}

//! What readers of a view in memory get: the whole view at one position.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use parking_lot::RwLock;

use crate::error::{ViewError, WaitError};
use crate::options::WAIT_DEFAULT;
use crate::progress::Progress;

/// The copy of the view that answers, and where it stands. Set as a whole.
pub(crate) struct Published<P> {
    current: RwLock<Shown<P>>,
}

/// What answers.
struct Shown<P> {
    view: Arc<P>,
    position: GlobalPosition,
    /// Its number; a rebuild has the next one.
    generation: u64,
    /// What was taken up into it, and the log may not have forgotten.
    taken: Vec<GlobalPosition>,
}

impl<P> Published<P> {
    /// A view that shows nothing yet, of a projection of this shape. Its number is one of that shape: what a view of another
    /// `VERSION` has set aside is kept under another name.
    pub(crate) fn new(initial: Arc<P>, fingerprint: u64) -> Self {
        Self {
            current: RwLock::new(Shown {
                view: initial,
                position: GlobalPosition::ZERO,
                // The lower numbers are for the rebuilds of one process.
                generation: fingerprint & !u64::from(u32::MAX),
                taken: Vec::new(),
            }),
        }
    }

    pub(crate) fn get(&self) -> (Arc<P>, GlobalPosition) {
        let shown = self.current.read();
        (shown.view.clone(), shown.position)
    }

    pub(super) fn generation(&self) -> u64 {
        self.current.read().generation
    }

    pub(super) fn taken(&self) -> Vec<GlobalPosition> {
        self.current.read().taken.clone()
    }

    /// Puts another copy in place and gives the one that was there.
    pub(super) fn replace(&self, view: Arc<P>, position: GlobalPosition) -> Arc<P> {
        let mut shown = self.current.write();
        shown.position = position;
        std::mem::replace(&mut shown.view, view)
    }

    /// Puts a copy in place into which these events were taken up.
    pub(super) fn replace_with_taken(&self, view: Arc<P>, taken: &[GlobalPosition]) {
        let mut shown = self.current.write();
        shown.view = view;
        shown.taken.extend_from_slice(taken);
    }

    pub(super) fn clear_taken(&self) {
        self.current.write().taken.clear();
    }

    /// Puts another view in the place of the one that was there.
    pub(super) fn take_over(&self, view: Arc<P>, position: GlobalPosition, generation: u64) {
        *self.current.write() = Shown {
            view,
            position,
            generation,
            taken: Vec::new(),
        };
    }

    /// Moves on without a change: nothing up to `position` concerns the view.
    pub(super) fn move_on(&self, position: GlobalPosition) {
        self.current.write().position = position;
    }
}

/// A view in memory. Cheap to clone.
pub struct MemoryView<P> {
    published: Arc<Published<P>>,
    progress: Arc<Progress>,
}

impl<P> MemoryView<P> {
    pub(crate) fn new(published: Arc<Published<P>>, progress: Arc<Progress>) -> Self {
        Self {
            published,
            progress,
        }
    }

    /// The view as it stands. Never waits for the fold, and the fold never waits for it.
    ///
    /// # Errors
    /// [`ViewError::Rebuilding`] until the view has reached the head found at open.
    pub fn read(&self) -> Result<ViewRef<P>, ViewError> {
        self.progress.answers()?;
        let (view, position) = self.published.get();
        Ok(ViewRef { view, position })
    }

    /// The view once it shows everything up to `position`, waiting at most [`WAIT_DEFAULT`].
    ///
    /// # Errors
    /// [`WaitError`]; a position beyond the log's end is an error at once.
    ///
    /// # Cancel safety
    /// Dropping the future only ends the wait.
    pub async fn at_least(&self, position: GlobalPosition) -> Result<ViewRef<P>, WaitError> {
        self.at_least_within(position, WAIT_DEFAULT).await
    }

    /// The same, waiting at most `within` as the runtime's clock measures it.
    ///
    /// # Errors
    /// As [`at_least`](Self::at_least).
    ///
    /// # Cancel safety
    /// Dropping the future only ends the wait.
    pub async fn at_least_within(
        &self,
        position: GlobalPosition,
        within: Duration,
    ) -> Result<ViewRef<P>, WaitError> {
        self.progress.reach(position, within).await?;
        Ok(self.read()?)
    }
}

impl<P> Clone for MemoryView<P> {
    fn clone(&self) -> Self {
        Self {
            published: self.published.clone(),
            progress: self.progress.clone(),
        }
    }
}

impl<P> fmt::Debug for MemoryView<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryView({:?})", self.progress.name)
    }
}

/// The whole view at one position; it does not change while it is held.
///
/// Holding one for long costs memory: the fold then has to make another copy of the view.
pub struct ViewRef<P> {
    view: Arc<P>,
    position: GlobalPosition,
}

impl<P> ViewRef<P> {
    /// The last position it shows.
    pub fn position(&self) -> GlobalPosition {
        self.position
    }
}

impl<P> Clone for ViewRef<P> {
    fn clone(&self) -> Self {
        Self {
            view: self.view.clone(),
            position: self.position,
        }
    }
}

impl<P> Deref for ViewRef<P> {
    type Target = P;
    fn deref(&self) -> &P {
        &self.view
    }
}

impl<P> fmt::Debug for ViewRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewRef")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

//! A value as accepted and as durable: what the writer compares with, and what readers see.

use chronicler_domain::LogSequence;

/// A value with the commit that set it.
pub(crate) trait Sequenced: Clone {
    fn sequence(&self) -> LogSequence;
}

/// The newest accepted value, and the newest durable one behind it if that is another.
#[derive(Clone, Debug)]
pub(crate) struct Versions<T> {
    newest: T,
    /// Apart, since most entries have none. Kept for the next one once there was one.
    durable: Option<Box<T>>,
}

impl<T: Sequenced> Versions<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::after(None, value)
    }

    /// A value with the durable one before it.
    pub(crate) fn after(durable: Option<T>, newest: T) -> Self {
        Self {
            newest,
            durable: durable.map(Box::new),
        }
    }

    /// The value as accepted, staged commits included.
    pub(crate) fn newest(&self) -> &T {
        &self.newest
    }

    /// The value as of what is durable; `None` if that is older than anything known here.
    pub(crate) fn durable(&self, durable: LogSequence) -> Option<&T> {
        if self.newest.sequence() <= durable {
            Some(&self.newest)
        } else {
            self.durable.as_deref()
        }
    }

    /// Accepts a newer value.
    pub(crate) fn set(&mut self, value: T, durable: LogSequence) {
        if self.newest.sequence() <= durable {
            let before = std::mem::replace(&mut self.newest, value);
            match &mut self.durable {
                Some(durable) => **durable = before,
                None => self.durable = Some(Box::new(before)),
            }
        } else {
            self.newest = value;
        }
    }

    /// Forgets the value before the newest if that is durable: nobody asks for it any more.
    pub(crate) fn settle(&mut self, durable: LogSequence) {
        if self.newest.sequence() <= durable {
            self.durable = None;
        }
    }
}

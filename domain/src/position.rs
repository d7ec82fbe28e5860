//! Positions and versions as newtypes, so that one can never be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Before the first one.
            pub const ZERO: Self = Self(0);
            /// The largest one that can be expressed.
            pub const MAX: Self = Self(u64::MAX);

            /// Wraps a plain number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this (saturating: the end of `u64` is not reachable by counting).
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before this; the one before zero is zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }

            /// This one moved on by `count` (saturating).
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    };
}

counter! {
    /// Where an event stands among all events of the log: 1, 2, 3 …, gapless, given at commit.
    ///
    /// Zero means "before the first event".
    GlobalPosition
}

counter! {
    /// Where an event stands within its stream: 1, 2, 3 …, gapless. Zero means "no events yet".
    StreamVersion
}

counter! {
    /// The number of a commit in the log: 1, 2, 3 …, gapless.
    ///
    /// Commits without events (a rejection, a cursor) count here and not in [`GlobalPosition`].
    LogSequence
}

/// The version of the shape of an event type's payload: 1, 2, 3 …, raised by its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(u32);

impl SchemaVersion {
    /// The version that every type starts with.
    pub const FIRST: Self = Self(1);

    /// Wraps a plain number.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The plain number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The version after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

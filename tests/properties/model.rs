//! A log as one would write it on paper: what any store must be the same as.

use std::collections::BTreeMap;

use chronicler::domain::StreamVersion;
use chronicler::store::Expected;

/// An event: in which stream, its version there, and what it says. Its position is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) stream: u8,
    pub(crate) version: u64,
    pub(crate) says: u64,
}

/// What is said about a stream before something is appended to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expecting {
    Any,
    NoStream,
    Exists,
    /// The version that it has, and so much off.
    At(i8),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<Written>,
    pub(crate) facts: BTreeMap<u8, u64>,
    pub(crate) commits: u64,
}

impl Model {
    pub(crate) fn version(&self, stream: u8) -> u64 {
        let of_stream = |event: &&Written| event.stream == stream;
        self.events.iter().filter(of_stream).count() as u64
    }

    /// What the store is told.
    pub(crate) fn expected(&self, stream: u8, expecting: Expecting) -> Expected {
        let version = self.version(stream);
        match expecting {
            Expecting::Any => Expected::Any,
            Expecting::NoStream => Expected::NoStream,
            Expecting::Exists => Expected::Exists,
            Expecting::At(off) => Expected::Version(StreamVersion::new(
                version.saturating_add_signed(off.into()),
            )),
        }
    }

    fn holds(&self, stream: u8, expected: Expected) -> bool {
        let version = self.version(stream);
        match expected {
            Expected::NoStream => version == 0,
            Expected::Exists => version > 0,
            Expected::Version(wanted) => version == wanted.get(),
            _ => true,
        }
    }

    /// Appends to several streams, all or nothing; whether it is accepted. `says` counts all events ever asked for.
    pub(crate) fn append(&mut self, parts: &[(u8, Expected, u8)], says: &mut u64) -> bool {
        let accepted = parts
            .iter()
            .all(|(stream, expected, _)| self.holds(*stream, *expected));
        for (stream, _, count) in parts {
            for _ in 0..*count {
                *says += 1;
                if accepted {
                    let (stream, version) = (*stream, self.version(*stream) + 1);
                    self.events.push(Written {
                        stream,
                        version,
                        says: *says,
                    });
                }
            }
        }
        accepted
    }
}

//! A run of outcomes that lie one after the other in a stream: what is known of it without reading it.

use std::time::Duration;

use chronicler_domain::{LogSequence, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::identity::Identity;
use super::outcome::Remembered;

/// Commits of a stream among which an outcome may lie: from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) first: LogSequence,
    pub(crate) last: LogSequence,
}

/// What an index keeps of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: LogSequence,
    pub(crate) fingerprint: u32,
    /// When a caller made the id; `None` for an effect.
    pub(crate) issued_at: Option<Timestamp>,
    /// The outcome need not be remembered when this is longer ago than ids are remembered.
    pub(crate) leaves: Timestamp,
}

impl Entry {
    /// The entry of an outcome whose place is known.
    pub(crate) fn of(id: Uuid, outcome: &Remembered, ahead_max: Duration) -> Option<Self> {
        let place = outcome.place.get()?;
        Some(Self {
            sequence: place.sequence,
            fingerprint: fingerprint(id),
            issued_at: outcome.issued_at,
            // An id of an earlier release, which took any time, does not stay for ever.
            leaves: outcome
                .issued_at
                .map_or(outcome.at, |at| at.min(outcome.at.plus(ahead_max))),
        })
    }
}

/// 32 bits of an id, whatever its maker took from chance.
pub(crate) fn fingerprint(id: Uuid) -> u32 {
    let (high, low) = id.as_u64_pair();
    let fold = |word: u64| {
        let product = u128::from(word) * 0xf39c_c060_5ced_c835;
        product as u64 ^ (product >> 64) as u64
    };
    (fold(fold(high ^ 0x9e37_79b9_7f4a_7c15) ^ low) >> 32) as u32
}

/// What a snapshot keeps of a run, and what says whether an outcome can be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The first and the last commit of it.
    pub(crate) first: LogSequence,
    pub(crate) last: LogSequence,
    pub(crate) count: u64,
    /// When the callers' ids in it were made; `earliest` is after `latest` if there are none.
    earliest: Timestamp,
    latest: Timestamp,
    /// Whether there are effects in it.
    pub(crate) effects: bool,
    pub(crate) leaves: Timestamp,
}

impl Summary {
    pub(crate) const EMPTY: Self = Self {
        first: LogSequence::ZERO,
        last: LogSequence::ZERO,
        count: 0,
        earliest: Timestamp::MAX,
        latest: Timestamp::EPOCH,
        effects: false,
        leaves: Timestamp::EPOCH,
    };

    pub(crate) fn add(&mut self, entry: &Entry) {
        if self.count == 0 {
            self.first = entry.sequence;
        }
        self.last = entry.sequence;
        self.count += 1;
        self.leaves = self.leaves.max(entry.leaves);
        match entry.issued_at {
            Some(at) => {
                self.earliest = self.earliest.min(at);
                self.latest = self.latest.max(at);
            }
            None => self.effects = true,
        }
    }

    /// Takes in a run that follows this one.
    pub(crate) fn join(&mut self, next: &Self) {
        if self.count == 0 {
            self.first = next.first;
        }
        self.last = next.last;
        self.count += next.count;
        self.earliest = self.earliest.min(next.earliest);
        self.latest = self.latest.max(next.latest);
        self.effects |= next.effects;
        self.leaves = self.leaves.max(next.leaves);
    }

    /// Whether the outcome of this id can be in it.
    pub(crate) fn can_hold(&self, identity: Identity) -> bool {
        match identity {
            Identity::Caller { issued_at } => (self.earliest..=self.latest).contains(&issued_at),
            Identity::Effect { decided_at } => self.effects && self.last > decided_at,
        }
    }

    /// Callers' ids that were made up to here may be in it; `None` if there are none.
    pub(crate) fn made_until(&self) -> Option<Timestamp> {
        (self.earliest <= self.latest).then_some(self.latest.min(self.leaves))
    }
}

/// Where the outcomes of a run lie, by fingerprint: 8 bytes each.
#[derive(Debug)]
pub(crate) struct Places {
    fingerprints: Box<[u32]>,
    /// How far after the first commit of the run.
    offsets: Box<[u32]>,
}

impl Places {
    /// What one place takes.
    pub(crate) const BYTES: usize = 8;

    /// From pairs of fingerprint and offset, in any order.
    pub(crate) fn of(mut pairs: Vec<(u32, u32)>) -> Self {
        // A merge of sorted pieces: the sort finds them.
        pairs.sort();
        Self {
            fingerprints: pairs.iter().map(|(fingerprint, _)| *fingerprint).collect(),
            offsets: pairs.iter().map(|(_, offset)| *offset).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.fingerprints.len() * Self::BYTES
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let fingerprints = self.fingerprints.iter().copied();
        fingerprints.zip(self.offsets.iter().copied())
    }

    /// The offsets of outcomes with this fingerprint.
    pub(crate) fn find(&self, fingerprint: u32) -> impl Iterator<Item = u32> + '_ {
        let at = self
            .fingerprints
            .partition_point(|other| *other < fingerprint);
        let same = self.fingerprints.iter().zip(self.offsets.iter()).skip(at);
        same.take_while(move |(other, _)| **other == fingerprint)
            .map(|(_, offset)| *offset)
    }
}

/// A run that is closed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) summary: Summary,
    /// `None`: which outcomes it has must be read from the log.
    pub(crate) places: Option<Places>,
}

impl Run {
    pub(crate) fn span(&self) -> Span {
        Span {
            first: self.summary.first,
            last: self.summary.last,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.places.as_ref().map_or(0, Places::bytes)
    }
}

/// A run that grows.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub(crate) summary: Summary,
    fingerprints: Vec<u32>,
    offsets: Vec<u32>,
}

impl OpenRun {
    pub(crate) const fn new() -> Self {
        Self {
            summary: Summary::EMPTY,
            fingerprints: Vec::new(),
            offsets: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Adds an outcome that lies after all that are in it; `false` if it lies too far away.
    pub(crate) fn push(&mut self, entry: &Entry) -> bool {
        let first = match self.summary.count {
            0 => entry.sequence,
            _ => self.summary.first,
        };
        let Ok(offset) = u32::try_from(entry.sequence.get().saturating_sub(first.get())) else {
            return false;
        };
        self.summary.add(entry);
        self.fingerprints.push(entry.fingerprint);
        self.offsets.push(offset);
        true
    }

    /// The offsets of outcomes with this fingerprint.
    pub(crate) fn find(&self, fingerprint: u32) -> impl Iterator<Item = u32> + '_ {
        let all = self.fingerprints.iter().zip(&self.offsets);
        all.filter(move |(other, _)| **other == fingerprint)
            .map(|(_, offset)| *offset)
    }

    /// Closes it; a new one begins.
    pub(crate) fn close(&mut self) -> Run {
        let closed = std::mem::replace(self, Self::new());
        let pairs = closed.fingerprints.into_iter().zip(closed.offsets);
        Run {
            summary: closed.summary,
            places: Some(Places::of(pairs.collect())),
        }
    }
}

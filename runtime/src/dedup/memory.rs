//! The memory of one instance: its newest outcomes whole, and the older ones by id.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chronicler_domain::{LogSequence, Timestamp};
use foldhash::fast::RandomState;
use uuid::Uuid;

use super::identity::Identity;
use super::image::{MemoryCopy, MemoryImage};
use super::index::Index;
use super::outcome::Remembered;
use super::rules::Rules;
use super::run::{Entry, Run, Span, fingerprint};

/// The outcomes that one instance remembers. What it does not hold itself it knows where to look for in the log.
#[derive(Debug)]
pub(crate) struct Memory {
    rules: Arc<Rules>,
    outcomes: HashMap<Uuid, Remembered, RandomState>,
    order: VecDeque<Uuid>,
    /// Of the payloads of `outcomes`.
    answer_bytes: usize,
    index: Index,
}

impl Memory {
    pub(crate) fn new(rules: &Arc<Rules>) -> Self {
        Self::with_index(rules, Index::new(rules))
    }

    fn with_index(rules: &Arc<Rules>, index: Index) -> Self {
        Self {
            rules: Arc::clone(rules),
            outcomes: HashMap::default(),
            order: VecDeque::new(),
            answer_bytes: 0,
            index,
        }
    }

    /// An outcome that is kept whole.
    pub(crate) fn find(&self, id: Uuid) -> Option<&Remembered> {
        self.outcomes.get(&id)
    }

    /// Remembers an outcome that lies after all others, or will.
    pub(crate) fn remember(&mut self, id: Uuid, outcome: Remembered, now: Timestamp) {
        self.answer_bytes += outcome.payload.len();
        match self.outcomes.insert(id, outcome) {
            None => self.order.push_back(id),
            Some(before) => self.answer_bytes -= before.payload.len(),
        }
        self.shed(now);
    }

    /// Keeps the older outcomes by id only, as soon as it is known where they lie.
    pub(crate) fn shed(&mut self, now: Timestamp) {
        while self.is_over()
            && let Some(oldest) = self.order.front().copied()
        {
            let outcome = self.outcomes.get(&oldest);
            if let Some(outcome) = outcome {
                // In flight: never forgotten before it is known where it lies.
                let Some(entry) = Entry::of(oldest, outcome, self.rules.ahead_max) else {
                    break;
                };
                self.index.push(&entry, now);
            }
            self.order.pop_front();
            let outcome = self.outcomes.remove(&oldest);
            self.answer_bytes -= outcome.map_or(0, |outcome| outcome.payload.len());
        }
        // What a burst took is given back after it.
        if self.outcomes.capacity() > 64 && self.outcomes.len() < self.outcomes.capacity() / 4 {
            self.outcomes.shrink_to(self.outcomes.len() * 2);
            self.order.shrink_to(self.order.len() * 2);
        }
    }

    /// Whether more is kept whole than is meant to be, because it was in flight.
    pub(crate) fn is_over(&self) -> bool {
        self.order.len() > self.rules.outcomes_max.max(1)
            || (self.answer_bytes > self.rules.answer_bytes_max && self.order.len() > 1)
    }

    /// Where the outcome of an id that is not kept whole can lie, in commits after `searched`. If nothing is given, the
    /// id was not seen since [`remembered_after`](Self::remembered_after), or since the effect was decided.
    pub(crate) fn sought(&self, id: Uuid, identity: Identity, searched: LogSequence) -> Vec<Span> {
        self.index.find(fingerprint(id), identity, searched)
    }

    /// The commit up to which [`sought`](Self::sought) looks; all later ones are kept whole.
    pub(crate) fn indexed_through(&self) -> LogSequence {
        self.index.through()
    }

    /// Callers' ids made up to here are refused. By nothing but the clock as it is now: what was let go of while it was
    /// ahead is looked for in the log, for effects and callers alike.
    pub(crate) fn remembered_after(&self, now: Timestamp) -> Timestamp {
        self.rules.oldest(now)
    }

    /// How far ahead of the clock an id may be.
    pub(crate) fn ahead_max(&self) -> std::time::Duration {
        self.rules.ahead_max
    }

    /// Takes what was read from the log of a span that was sought.
    pub(crate) fn learn(&mut self, span: Span, learned: Vec<Run>) {
        self.index.learn(span, learned);
    }

    /// The memory as it is now. Where the commits in flight lie is not known yet, and shows in the copy once it is.
    pub(crate) fn copy(&self) -> MemoryCopy {
        let known = |id: &Uuid| Some((*id, self.outcomes.get(id)?.clone()));
        MemoryCopy {
            rules: Arc::clone(&self.rules),
            outcomes: self.order.iter().filter_map(known).collect(),
            runs: self.index.summaries(),
            forgotten_through: self.index.forgotten_through(),
            effects_left_through: self.index.effects_left_through(),
        }
    }

    /// Restores what a snapshot kept that was taken after the commit `through`.
    pub(crate) fn restore(
        rules: &Arc<Rules>,
        image: MemoryImage,
        through: LogSequence,
        now: Timestamp,
    ) -> Self {
        let mut index = Index::restore(
            rules,
            image.runs,
            through,
            image.forgotten_through,
            image.effects_left_through,
        );
        index.expire(now);
        let mut memory = Self::with_index(rules, index);
        for (id, outcome) in image
            .outcomes
            .into_iter()
            .map(super::image::OutcomeImage::outcome)
        {
            memory.remember(id, outcome, now);
        }
        memory
    }
}

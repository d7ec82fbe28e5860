//! Facts that the index does not have yet, laid over those it has.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use chronicler_domain::LogSequence;
use parking_lot::Mutex;

use super::dirty::{Sequenced, Versions};
use crate::frame::FactKind;
use crate::index::FactChange;

/// How many removals are put away with each change: more than one, so that none are left over.
const PUT_AWAY_WITH_EACH: usize = 2;
/// How many removals a reader puts away under one lock, and how many changes are collected or forgotten under one: about
/// 0.1 ms during which the writer waits.
const AT_ONCE: usize = 512;

/// Changed facts by kind and key. Not bounded here but by the follower's distance, as dirty heads are.
#[derive(Debug, Default)]
pub(crate) struct FactTable(Mutex<Facts>);

type Key = (FactKind, Bytes);
type Changed = BTreeMap<Key, Versions<FactValue>>;

#[derive(Debug, Default)]
struct Facts {
    /// Those that have a value, or whose removal is not durable yet.
    present: Changed,
    /// Those that were removed: apart, so that nobody who looks for values passes them by one by one. The index may still
    /// have them.
    removed: Changed,
    /// The removals in `present`, in the order of their commits.
    leaving: VecDeque<(LogSequence, Key)>,
    /// How often changes have gone over to the index.
    generation: u64,
}

/// A fact's value, or that it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FactValue {
    pub value: Option<Bytes>,
    pub sequence: LogSequence,
}

/// A stretch of the facts of one kind: what is here, and what the index has there.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    pub kind: FactKind,
    pub after: Option<&'a Bytes>,
    /// The last key; `None`: to the end of the kind.
    pub to: Option<&'a Bytes>,
    /// The rows of the index, ascending by key.
    pub rows: Vec<(Bytes, Bytes, LogSequence)>,
    /// How many facts are wanted at most.
    pub wanted: usize,
}

/// The facts of a stretch, ascending by key.
#[derive(Debug)]
pub(crate) struct Overlaid {
    pub facts: Vec<(Bytes, Bytes, LogSequence)>,
    /// How many rows of the index count no more.
    pub hidden: usize,
}

impl Sequenced for FactValue {
    fn sequence(&self) -> LogSequence {
        self.sequence
    }
}

impl FactTable {
    /// Accepts a change.
    pub(crate) fn set(&self, kind: FactKind, key: Bytes, value: FactValue, durable: LogSequence) {
        let mut facts = self.0.lock();
        let facts = &mut *facts;
        facts.put_away(durable, PUT_AWAY_WITH_EACH);
        let key = (kind, key);
        if value.value.is_none() {
            facts.leaving.push_back((value.sequence, key.clone()));
        }
        match facts.present.get_mut(&key) {
            Some(versions) => versions.set(value, durable),
            None => {
                let versions = match facts.removed.remove(&key) {
                    Some(mut versions) => {
                        versions.set(value, durable);
                        versions
                    }
                    None => Versions::new(value),
                };
                facts.present.insert(key, versions);
            }
        }
    }

    /// The fact as durable; `None` if the index has to be asked. `durable` is asked while no value can be forgotten: one
    /// that was asked before may be older than all that is kept.
    pub(crate) fn durable(
        &self,
        kind: FactKind,
        key: &Bytes,
        durable: impl FnOnce() -> LogSequence,
    ) -> Option<FactValue> {
        let facts = self.0.lock();
        facts
            .changed(&(kind, key.clone()))?
            .durable(durable())
            .cloned()
    }

    /// To be asked before the index is read: see [`overlay`](Self::overlay).
    pub(crate) fn generation(&self) -> u64 {
        self.0.lock().generation
    }

    /// Lays what has changed over a stretch of the index, as durable. `None` if changes went over to the index since
    /// `generation` was asked for: then its rows have to be read again.
    pub(crate) fn overlay(
        &self,
        stretch: &Stretch<'_>,
        generation: u64,
        durable: impl Fn() -> LogSequence,
    ) -> Option<Overlaid> {
        // Removals that pile up are put away first, with the writer let in between.
        let now = durable();
        while self.0.lock().put_away(now, AT_ONCE) == AT_ONCE {}
        let facts = self.0.lock();
        (facts.generation == generation).then(|| facts.overlay(stretch, durable()))
    }

    /// The durable value of every changed fact, to be put into the index.
    pub(crate) fn collect(&self, durable: impl Fn() -> LogSequence) -> Vec<FactChange> {
        let (mut changes, mut after) = (Vec::new(), None);
        loop {
            let facts = self.0.lock();
            let durable = durable();
            let some = facts.some_after(after.as_ref());
            for (key, versions) in &some {
                if let Some(durable) = versions.durable(durable) {
                    changes.push(FactChange {
                        kind: key.0,
                        key: key.1.clone(),
                        value: durable.value.clone(),
                        sequence: durable.sequence,
                    });
                }
            }
            match some.last() {
                Some((last, _)) => after = Some((*last).clone()),
                None => return changes,
            }
        }
    }

    /// The collected changes are in the index.
    pub(crate) fn applied(&self, changes: &[FactChange]) {
        for some in changes.chunks(AT_ONCE) {
            let mut facts = self.0.lock();
            let facts = &mut *facts;
            facts.generation += 1;
            for change in some {
                let key = (change.kind, change.key.clone());
                let unchanged =
                    |versions: &Versions<FactValue>| versions.newest().sequence == change.sequence;
                if facts.present.get(&key).is_some_and(unchanged) {
                    facts.present.remove(&key);
                } else if facts.removed.get(&key).is_some_and(unchanged) {
                    facts.removed.remove(&key);
                }
            }
        }
    }
}

impl Facts {
    fn changed(&self, key: &Key) -> Option<&Versions<FactValue>> {
        self.present.get(key).or_else(|| self.removed.get(key))
    }

    /// Puts removals away that are durable, the oldest first. How many it looked at.
    fn put_away(&mut self, durable: LogSequence, at_most: usize) -> usize {
        for looked_at in 0..at_most {
            let next = self.leaving.front();
            if next.is_none_or(|(sequence, _)| *sequence > durable) {
                return looked_at;
            }
            let Some((_, key)) = self.leaving.pop_front() else {
                return looked_at;
            };
            // It may have been set again since.
            let newest = self.present.get(&key).map(Versions::newest);
            let is_removed =
                newest.is_some_and(|newest| newest.value.is_none() && newest.sequence <= durable);
            if is_removed && let Some(mut versions) = self.present.remove(&key) {
                versions.settle(durable);
                self.removed.insert(key, versions);
            }
        }
        at_most
    }

    fn overlay(&self, stretch: &Stretch<'_>, durable: LogSequence) -> Overlaid {
        let kind = stretch.kind;
        let from = match stretch.after {
            Some(key) => Bound::Excluded((kind, key.clone())),
            None => Bound::Included((kind, Bytes::new())),
        };
        let within = |(at, key): &Key| *at == kind && stretch.to.is_none_or(|to| key <= to);
        let present = self.present.range((from, Bound::Unbounded));
        let changed = present.take_while(|(key, _)| within(key));
        let visible = changed.filter_map(|((_, key), versions)| {
            let fact = versions.durable(durable)?;
            Some((key.clone(), fact.value.clone()?, fact.sequence))
        });
        let mut changed = visible.take(stretch.wanted).peekable();
        let (mut facts, mut hidden) = (Vec::new(), 0);
        for row in &stretch.rows {
            while let Some(before) = changed.next_if(|(key, _, _)| *key < row.0) {
                facts.push(before);
            }
            if facts.len() >= stretch.wanted {
                break;
            }
            let newer = self.changed(&(kind, row.0.clone()));
            match newer.and_then(|versions| versions.durable(durable)) {
                None => facts.push(row.clone()),
                Some(fact) if fact.value.is_none() => hidden += 1,
                // It comes from `changed`, at this very place.
                Some(_) => {}
            }
        }
        facts.extend(changed);
        facts.truncate(stretch.wanted);
        Overlaid { facts, hidden }
    }

    /// Some changed facts after a key, present and removed ones, ascending.
    fn some_after(&self, after: Option<&Key>) -> Vec<(&Key, &Versions<FactValue>)> {
        let from = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let present = self.present.range::<Key, _>(from).take(AT_ONCE);
        let removed = self.removed.range::<Key, _>(from).take(AT_ONCE);
        let mut found: Vec<_> = present.chain(removed).collect();
        found.sort_unstable_by_key(|(one, _)| *one);
        found.truncate(AT_ONCE);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FactKind = FactKind::TIMER;

    fn key(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    fn set(facts: &FactTable, n: u64, sequence: u64, is_there: bool) {
        let value = FactValue {
            value: is_there.then(|| key(sequence)),
            sequence: LogSequence::new(sequence),
        };
        facts.set(KIND, key(n), value, LogSequence::new(sequence - 1));
    }

    fn first(facts: &FactTable, rows: &[u64], durable: u64) -> (Vec<Bytes>, usize) {
        let row = |n: &u64| (key(*n), key(0), LogSequence::ZERO);
        let stretch = Stretch {
            kind: KIND,
            after: None,
            to: None,
            rows: rows.iter().map(row).collect(),
            wanted: 3,
        };
        let generation = facts.generation();
        let durable = LogSequence::new(durable);
        let overlaid = facts.overlay(&stretch, generation, || durable).unwrap();
        let keys = overlaid.facts.into_iter().map(|(key, _, _)| key);
        (keys.collect(), overlaid.hidden)
    }

    #[test]
    fn changes_are_laid_over_the_index_as_durable() {
        let facts = FactTable::default();
        set(&facts, 2, 1, true);
        set(&facts, 4, 2, false);
        set(&facts, 1, 3, true);
        // The third change is not durable yet.
        assert_eq!(
            first(&facts, &[3, 4, 5, 6], 2),
            (vec![key(2), key(3), key(5)], 1)
        );
        assert_eq!(
            first(&facts, &[3, 4, 5, 6], 3),
            (vec![key(1), key(2), key(3)], 0)
        );
        set(&facts, 1, 4, false);
        assert_eq!(first(&facts, &[3], 3), (vec![key(1), key(2), key(3)], 0));
        assert_eq!(first(&facts, &[3], 4), (vec![key(2), key(3)], 0));
        set(&facts, 1, 5, true);
        assert_eq!(first(&facts, &[3], 5), (vec![key(1), key(2), key(3)], 0));
    }

    #[test]
    fn w7_removed_facts_are_not_looked_at_one_by_one() {
        let facts = FactTable::default();
        let count = 3 * AT_ONCE as u64;
        for n in 0..count {
            set(&facts, n, 1 + n, true);
        }
        for n in 0..count - 1 {
            set(&facts, n, 1 + count + n, false);
        }
        assert_eq!(first(&facts, &[], 2 * count), (vec![key(count - 1)], 0));
        let state = facts.0.lock();
        assert_eq!((state.present.len(), state.leaving.len()), (1, 0));
    }

    #[test]
    fn w7_a_removed_fact_does_not_keep_the_value_that_it_had() {
        let facts = FactTable::default();
        let value = Bytes::from(vec![7; 1_000]);
        let set = |value: Option<&Bytes>, sequence| {
            let value = FactValue {
                value: value.cloned(),
                sequence: LogSequence::new(sequence),
            };
            facts.set(KIND, key(1), value, LogSequence::new(sequence - 1));
        };
        set(Some(&value), 1);
        set(None, 2);
        assert!(!value.is_unique(), "readers may still want it");
        assert_eq!(first(&facts, &[1], 2), (Vec::new(), 1));
        assert!(value.is_unique());
        assert!(size_of::<Versions<FactValue>>() <= size_of::<FactValue>() + 8);
    }

    #[test]
    fn everything_is_collected_once_though_it_is_more_than_one_lock_takes() {
        let facts = FactTable::default();
        let count = 5 * AT_ONCE as u64;
        for n in 0..count {
            set(&facts, n * 7 % count, 1 + n, n % 3 > 0);
        }
        let collected = facts.collect(|| LogSequence::MAX);
        assert!(collected.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert_eq!(collected.len() as u64, count);
        let generation = facts.generation();
        facts.applied(&collected);
        assert_ne!(facts.generation(), generation);
        assert!(facts.collect(|| LogSequence::MAX).is_empty());
    }
}

//! Facts that the index does not have yet, laid over those it has.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use chronicler_domain::LogSequence;
use parking_lot::Mutex;

use super::dirty::{Sequenced, Versions};
use crate::frame::FactKind;
use crate::index::FactChange;

/// Changed facts by kind and key. Not bounded here but by the follower's distance, as dirty heads are.
#[derive(Debug, Default)]
pub(crate) struct FactTable(Mutex<BTreeMap<(FactKind, Bytes), Versions<FactValue>>>);

/// A fact's value, or that it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FactValue {
    pub value: Option<Bytes>,
    pub sequence: LogSequence,
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
        match facts.get_mut(&(kind, key.clone())) {
            Some(versions) => versions.set(value, durable),
            None => {
                facts.insert((kind, key), Versions::new(value));
            }
        }
    }

    /// The fact as durable; `None` if the index has to be asked.
    pub(crate) fn durable(
        &self,
        kind: FactKind,
        key: &Bytes,
        durable: LogSequence,
    ) -> Option<FactValue> {
        let facts = self.0.lock();
        facts.get(&(kind, key.clone()))?.durable(durable).cloned()
    }

    /// The durable changes of a kind with keys between two bounds, ascending.
    pub(crate) fn range(
        &self,
        kind: FactKind,
        after: Option<&Bytes>,
        durable: LogSequence,
    ) -> BTreeMap<Bytes, FactValue> {
        let from = match after {
            Some(key) => Bound::Excluded((kind, key.clone())),
            None => Bound::Included((kind, Bytes::new())),
        };
        let facts = self.0.lock();
        let of_kind = facts
            .range((from, Bound::Unbounded))
            .take_while(|((at, _), _)| *at == kind);
        of_kind
            .filter_map(|((_, key), versions)| {
                Some((key.clone(), versions.durable(durable)?.clone()))
            })
            .collect()
    }

    /// The durable value of every changed fact, to be put into the index.
    pub(crate) fn collect(&self, durable: impl Fn() -> LogSequence) -> Vec<FactChange> {
        let facts = self.0.lock();
        let durable = durable();
        let change = |((kind, key), versions): (&(FactKind, Bytes), &Versions<FactValue>)| {
            let durable = versions.durable(durable)?;
            Some(FactChange {
                kind: *kind,
                key: key.clone(),
                value: durable.value.clone(),
                sequence: durable.sequence,
            })
        };
        facts.iter().filter_map(change).collect()
    }

    /// The collected changes are in the index.
    pub(crate) fn applied(&self, changes: &[FactChange]) {
        let mut facts = self.0.lock();
        for change in changes {
            let key = (change.kind, change.key.clone());
            let unchanged = facts
                .get(&key)
                .is_some_and(|versions| versions.newest().sequence == change.sequence);
            if unchanged {
                facts.remove(&key);
            }
        }
    }
}

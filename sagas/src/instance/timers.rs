//! The timers of one instance, by key, and which of them is due first.

use std::collections::{BTreeMap, btree_map};

use chronicler_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// Up to so many timers the first is looked for one by one.
const SCANNED_MAX: usize = 16;

/// The timers that are timers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "Armed")]
pub(crate) struct Timers {
    by_key: BTreeMap<String, Timestamp>,
    /// How many are due at each time, once there are many.
    #[serde(skip)]
    dues: Option<BTreeMap<Timestamp, u32>>,
}

impl Timers {
    pub(crate) fn get(&self, key: &str) -> Option<&Timestamp> {
        self.by_key.get(key)
    }

    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(crate) fn iter(&self) -> btree_map::Iter<'_, String, Timestamp> {
        self.by_key.iter()
    }

    pub(crate) fn keys(&self) -> btree_map::Keys<'_, String, Timestamp> {
        self.by_key.keys()
    }

    pub(crate) fn insert(&mut self, key: String, due: Timestamp) {
        if self.dues.is_none() && self.by_key.len() >= SCANNED_MAX {
            let mut dues = BTreeMap::new();
            for due in self.by_key.values() {
                *dues.entry(*due).or_default() += 1;
            }
            self.dues = Some(dues);
        }
        let before = self.by_key.insert(key, due);
        self.count(before, Some(due));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let before = self.by_key.remove(key);
        self.count(before, None);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn count(&mut self, before: Option<Timestamp>, after: Option<Timestamp>) {
        let Some(dues) = &mut self.dues else { return };
        if let Some(before) = before
            && let btree_map::Entry::Occupied(mut count) = dues.entry(before)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Some(after) = after {
            *dues.entry(after).or_default() += 1;
        }
    }

    /// When the first of them is due.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        match &self.dues {
            Some(dues) => dues.keys().next().copied(),
            None => self.by_key.values().min().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_due_is_known_however_many_there_are() {
        let at = Timestamp::from_millis;
        let mut timers = Timers::default();
        for number in (1..=100).rev() {
            timers.insert(format!("t{number}"), at(number));
            assert_eq!(timers.first(), Some(at(number)));
        }
        timers.insert("t1".to_owned(), at(500));
        assert_eq!(timers.first(), Some(at(2)));
        for number in 2..=100 {
            assert_eq!(timers.first(), Some(at(number)));
            timers.remove(&format!("t{number}"));
        }
        assert_eq!(timers.first(), Some(at(500)));
        timers.clear();
        assert_eq!(timers.first(), None);
    }
}

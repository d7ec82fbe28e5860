//! Unchanged rows kept decoded: the ones used lately, in two halves, so that forgetting costs nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::row::Versioned;

/// A cache of at most about `capacity` rows. What was used since the last turn survives the next one.
pub(super) struct Cache<R> {
    capacity: usize,
    young: HashMap<Bytes, Arc<Versioned<R>>>,
    old: HashMap<Bytes, Arc<Versioned<R>>>,
}

impl<R> Cache<R> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<Arc<Versioned<R>>> {
        if let Some(row) = self.young.get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.old.remove_entry(key)?;
        self.insert(key, row.clone());
        Some(row)
    }

    pub(super) fn insert(&mut self, key: Bytes, row: Arc<Versioned<R>>) {
        if self.young.len() >= self.capacity / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        if self.capacity > 1 {
            self.old.remove(&key);
            self.young.insert(key, row);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_used_and_never_more_than_its_capacity() {
        let mut cache = Cache::new(8);
        let key = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
        for number in 0..100_u64 {
            cache.insert(key(number), Arc::new(Versioned::<u64>::absent()));
            assert!(cache.get(&key(0)).is_some(), "at {number}");
            assert!(cache.len() <= 8, "at {number}: {}", cache.len());
        }
        assert!(cache.get(&key(50)).is_none());
        let mut none = Cache::new(0);
        none.insert(key(1), Arc::new(Versioned::<u64>::absent()));
        assert_eq!(none.len(), 0);
    }
}

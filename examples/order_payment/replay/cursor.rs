//! Which messages of a feed are done: everything up to a position, though they end in any order.

use std::collections::BTreeMap;

/// Which messages are done.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// Under way, by position: how many. Several messages may share one.
    under_way: BTreeMap<u64, u32>,
    /// The last position that was begun.
    begun: u64,
}

impl Cursor {
    /// Everything up to here was done in an earlier run.
    pub(crate) fn at(through: u64) -> Self {
        Self {
            under_way: BTreeMap::new(),
            begun: through,
        }
    }

    pub(crate) fn begin(&mut self, position: u64) {
        self.begun = self.begun.max(position);
        *self.under_way.entry(position).or_default() += 1;
    }

    pub(crate) fn done(&mut self, position: u64) {
        if let Some(count) = self.under_way.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&position);
            }
        }
    }

    /// Everything up to here is done. The last position begun may still have messages to come, so it counts
    /// only when the next one was begun, or when `is_last`.
    pub(crate) fn through(&self, is_last: bool) -> u64 {
        let unfinished = self.under_way.keys().next().map(|first| first - 1);
        let read = if is_last {
            self.begun
        } else {
            self.begun.saturating_sub(1)
        };
        unfinished.map_or(read, |position| position.min(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_holds_the_cursor_back() {
        let mut cursor = Cursor::at(4);
        for position in [5, 6, 6, 7] {
            cursor.begin(position);
        }
        cursor.done(7);
        cursor.done(6);
        assert_eq!(cursor.through(false), 4);
        cursor.done(5);
        assert_eq!(cursor.through(false), 5);
        cursor.done(6);
        assert_eq!(cursor.through(false), 6);
        assert_eq!(cursor.through(true), 7);
    }
}

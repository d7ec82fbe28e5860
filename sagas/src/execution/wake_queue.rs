//! Instances that are to be woken: those that come first, and those that could not be and are tried again later.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::execution::quiet::UnderWay;
use crate::instance::id::InstanceId;

/// An instance that is to be woken.
pub(super) struct Wake {
    pub(super) instance: InstanceId,
    /// How often that failed.
    pub(super) failures: u32,
    /// It is under way until it is woken.
    _until_then: Arc<UnderWay>,
}

/// When an instance is tried again, and a number that tells those of one instant apart.
type Due = (Instant, u64);

/// Instances that are to be woken, each once, so that there are no more than open sagas. Those that were not tried yet come
/// first: the others cost them no waiting, however many they are.
#[derive(Default)]
pub(super) struct WakeQueue {
    fresh: VecDeque<Wake>,
    later: BTreeMap<Due, Wake>,
    /// All of them; those that are tried later with when.
    known: HashMap<InstanceId, Option<Due>>,
    failed: u64,
}

impl WakeQueue {
    /// Has an instance woken soon, also if it would be tried later.
    pub(super) fn push(&mut self, instance: InstanceId, until_then: Arc<UnderWay>) {
        match self.known.insert(instance.clone(), None) {
            Some(None) => return,
            Some(Some(due)) => drop(self.later.remove(&due)),
            None => {}
        }
        self.fresh.push_back(Wake {
            instance,
            failures: 0,
            _until_then: until_then,
        });
    }

    /// Takes back one that could not be woken, until then.
    pub(super) fn again(&mut self, wake: Wake, at: Instant) {
        // Whoever had it woken since has it tried sooner.
        if self.known.contains_key(&wake.instance) {
            return;
        }
        self.failed += 1;
        let due = (at, self.failed);
        self.known.insert(wake.instance.clone(), Some(due));
        let failures = wake.failures.saturating_add(1);
        self.later.insert(due, Wake { failures, ..wake });
    }

    /// The next one whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Wake> {
        let wake = match self.fresh.pop_front() {
            Some(wake) => wake,
            None => {
                let first = self.later.first_entry()?;
                let is_due = first.key().0 <= now;
                is_due.then(|| first.remove())?
            }
        };
        self.known.remove(&wake.instance);
        Some(wake)
    }

    /// When the first of those is due that are tried later.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chronicler_domain::{AggregateId, Tenant};

    use super::*;
    use crate::execution::quiet::Quiet;

    fn instance(name: &str) -> InstanceId {
        InstanceId::new(&Tenant::default(), &AggregateId::new(name).unwrap())
    }

    #[test]
    fn each_is_there_once_and_who_failed_comes_after_who_did_not() {
        let (quiet, now) = (Quiet::new(), Instant::now());
        let mut queue = WakeQueue::default();
        let next = |queue: &mut WakeQueue, at| {
            let wake = queue.pop(at)?;
            Some((wake.instance.id.as_str().to_owned(), wake))
        };
        let push = |queue: &mut WakeQueue, name| {
            queue.push(instance(name), Arc::new(quiet.begin()));
        };
        for name in ["a", "b", "a"] {
            push(&mut queue, name);
        }
        let later = now + Duration::from_secs(1);
        let (name, wake) = next(&mut queue, now).unwrap();
        assert_eq!(name, "a");
        queue.again(wake, later);
        assert_eq!(quiet.under_way(), 2);
        push(&mut queue, "c");
        assert_eq!(next(&mut queue, later).unwrap().0, "b");
        assert_eq!(next(&mut queue, later).unwrap().0, "c");
        assert!(next(&mut queue, now).is_none(), "not before its time");
        assert_eq!(queue.next_due(), Some(later));
        let (name, wake) = next(&mut queue, later).unwrap();
        assert_eq!((name.as_str(), wake.failures), ("a", 1));
        // Woken by somebody while it was tried, or while it waits, it is tried soon, and once.
        push(&mut queue, "a");
        queue.again(wake, later);
        let (_, wake) = next(&mut queue, now).unwrap();
        queue.again(wake, later);
        push(&mut queue, "a");
        assert!(next(&mut queue, now).is_some());
        assert!(next(&mut queue, later).is_none());
        assert_eq!(quiet.under_way(), 0);
    }
}

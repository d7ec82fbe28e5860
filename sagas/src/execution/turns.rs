//! One attempt at a time: several copies of an effect can be under way when an operator has it tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chronicler_domain::{AggregateId, Tenant};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::instance::action::Action;
use crate::instance::id::InstanceId;

type Key = (Tenant, AggregateId, Action);

type Gates = Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>;

/// Whose turn it is, for each effect and undo that is being carried out.
#[derive(Default)]
pub(crate) struct Turns {
    all: Arc<Gates>,
    /// How many were taken so far by whoever makes no attempt.
    holds: AtomicU64,
}

/// The turn of one attempt; it ends when this is dropped.
pub(crate) struct Turn {
    key: Key,
    all: Arc<Gates>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of an effect or undo, and says whether another had it until then.
    pub(crate) async fn take(&self, instance: &InstanceId, action: Action) -> (Turn, bool) {
        let InstanceId { tenant, id } = instance.clone();
        let key = (tenant, id, action);
        let gate = Arc::clone(self.all.lock().entry(key.clone()).or_default());
        let (held, has_waited) = match Arc::clone(&gate).try_lock_owned() {
            Ok(held) => (held, false),
            Err(_) => (gate.lock_owned().await, true),
        };
        let turn = Turn {
            key,
            all: Arc::clone(&self.all),
            held: Some(held),
        };
        (turn, has_waited)
    }

    /// The turn of an effect or undo for whoever makes no attempt, unless somebody has it. An attempt that is about to begin
    /// then asks its instance first: it waits for this turn, or finds that there was one ([`holds`](Self::holds)).
    pub(crate) fn hold(&self, instance: &InstanceId, action: Action) -> Option<Turn> {
        let InstanceId { tenant, id } = instance.clone();
        let key = (tenant, id, action);
        let mut all = self.all.lock();
        let gate = Arc::clone(all.entry(key.clone()).or_default());
        let held = gate.try_lock_owned().ok()?;
        self.holds.fetch_add(1, Ordering::AcqRel);
        drop(all);
        Some(Turn {
            key,
            all: Arc::clone(&self.all),
            held: Some(held),
        })
    }

    /// How many turns were taken so far by whoever makes no attempt.
    pub(crate) fn holds(&self) -> u64 {
        self.holds.load(Ordering::Acquire)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut all = self.all.lock();
        // Who waits holds it, too.
        if all
            .get(&self.key)
            .is_some_and(|gate| Arc::strong_count(gate) == 1)
        {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn m27_an_attempt_that_begins_beside_a_verb_waits_for_it_or_knows_of_it() {
        let turns = Turns::default();
        let id = AggregateId::new("i").unwrap();
        let instance = InstanceId::new(&Tenant::default(), &id);
        let action = Action::of(0);
        let take = || turns.take(&instance, action);
        // What a decision knows that is about to be carried out.
        let holds = turns.holds();
        let verb = turns.hold(&instance, action).unwrap();
        assert!(turns.hold(&instance, action).is_none());
        let mut beside = Box::pin(take());
        assert!(beside.as_mut().now_or_never().is_none());
        drop(verb);
        let (attempt, had_to_queue) = beside.now_or_never().unwrap();
        assert!(had_to_queue);
        assert!(turns.hold(&instance, action).is_none(), "it is under way");
        drop(attempt);
        // One that begins only after the verb.
        let (attempt, had_to_queue) = take().now_or_never().unwrap();
        assert!(!had_to_queue);
        assert_ne!(turns.holds(), holds);
        drop(attempt);
        assert!(turns.all.lock().is_empty());
    }
}

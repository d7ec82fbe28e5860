//! One attempt at a time: several copies of an effect can be under way when an operator has it tried again.

use std::collections::HashMap;
use std::sync::Arc;

use chronicler_domain::{AggregateId, Tenant};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::instance::action::Action;
use crate::instance::id::InstanceId;
use crate::instance::work::Task;

type Key = (Tenant, AggregateId, Action);

/// Whose turn it is, for each effect and undo that is being carried out.
#[derive(Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>);

/// The turn of one attempt; it ends when this is dropped.
pub(crate) struct Turn {
    key: Key,
    all: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of this task, and says whether another had it until then.
    pub(crate) async fn take(&self, instance: &InstanceId, task: &Task) -> (Turn, bool) {
        let InstanceId { tenant, id } = instance.clone();
        let key = (tenant, id, task.action);
        let gate = Arc::clone(self.0.lock().entry(key.clone()).or_default());
        let (held, has_waited) = match Arc::clone(&gate).try_lock_owned() {
            Ok(held) => (held, false),
            Err(_) => (gate.lock_owned().await, true),
        };
        let turn = Turn {
            key,
            all: Arc::clone(&self.0),
            held: Some(held),
        };
        (turn, has_waited)
    }

    /// Whether somebody has the turn of an effect or undo.
    pub(crate) fn is_taken(&self, instance: &InstanceId, action: Action) -> bool {
        let InstanceId { tenant, id } = instance.clone();
        self.0.lock().contains_key(&(tenant, id, action))
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

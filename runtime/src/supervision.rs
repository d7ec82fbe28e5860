//! Who restarts whom: one supervisor for each runtime, told of every death by the actor library.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::options::RestartPolicy;

/// Something whose actor may die.
pub(crate) trait Supervised: Send + Sync + 'static {
    /// Its actor died for this reason. Must not block.
    fn died(self: Arc<Self>, reason: String);
}

/// Whoever is told of the deaths; `None` once the supervisor has stopped. A ward knows its supervisor, so this is what
/// keeps a runtime alive that nobody has stopped.
type Wards = Arc<Mutex<Option<HashMap<ActorId, Arc<dyn Supervised>>>>>;

/// The supervisor of one runtime.
#[derive(Clone)]
pub(crate) struct Supervisor {
    wards: Wards,
    cell: ActorCell,
}

impl Supervisor {
    /// Starts the supervisor's own actor.
    pub(crate) async fn start() -> Result<Self, String> {
        let wards: Wards = Arc::new(Mutex::new(Some(HashMap::new())));
        let started = Actor::spawn(None, Watching, Arc::clone(&wards)).await;
        let (actor, _) = started.map_err(|error| error.to_string())?;
        Ok(Self {
            wards,
            cell: actor.get_cell(),
        })
    }

    /// The cell that actors are linked to.
    pub(crate) fn cell(&self) -> ActorCell {
        self.cell.clone()
    }

    /// Who is to be told when this actor dies.
    pub(crate) fn watch(&self, id: ActorId, ward: Arc<dyn Supervised>) {
        if let Some(wards) = self.wards.lock().as_mut() {
            wards.insert(id, ward);
        }
    }

    /// Ends the supervisor, and with it every actor that is linked to it; deaths after this are nobody's business. From
    /// any thread.
    pub(crate) fn stop(&self) {
        let wards = self.wards.lock().take();
        // Not under the lock: what goes with them may be the last of somebody who is told here.
        drop(wards);
        self.cell.stop(None);
    }
}

struct Watching;

impl Actor for Watching {
    type Msg = ();
    type State = Wards;
    type Arguments = Wards;

    async fn pre_start(&self, _: ActorRef<()>, wards: Wards) -> Result<Wards, ActorProcessingErr> {
        Ok(wards)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        wards: &mut Wards,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, reason) => {
                let ward = forget(wards, who.get_id());
                if let Some(ward) = ward {
                    ward.died(reason.to_string());
                }
            }
            SupervisionEvent::ActorTerminated(who, _, _) => {
                drop(forget(wards, who.get_id()));
            }
            _ => {}
        }
        Ok(())
    }
}

fn forget(wards: &Wards, id: ActorId) -> Option<Arc<dyn Supervised>> {
    wards.lock().as_mut()?.remove(&id)
}

/// What is to become of something that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Restart(Duration),
    GiveUp,
}

/// Deaths that are remembered of what is never given up: after so many a wait is as long as it gets.
const DEATHS_MAX: usize = 64;

/// Deaths within the policy's time.
#[derive(Debug, Default)]
pub(crate) struct RestartBudget {
    deaths: VecDeque<Instant>,
}

impl RestartBudget {
    /// Counts a death at `now`.
    pub(crate) fn spend(&mut self, now: Instant, policy: &RestartPolicy) -> Fate {
        self.deaths.push_back(now);
        while self
            .deaths
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > policy.within)
        {
            self.deaths.pop_front();
        }
        if policy.budget == RestartPolicy::ENDLESS && self.deaths.len() > DEATHS_MAX {
            self.deaths.pop_front();
        }
        let count = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        if count > policy.budget {
            self.deaths.clear();
            return Fate::GiveUp;
        }
        Fate::Restart(policy.backoff(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_within_its_time_only() {
        let policy = RestartPolicy {
            budget: 2,
            ..RestartPolicy::default()
        };
        let mut budget = RestartBudget::default();
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(
            budget.spend(at(0), &policy),
            Fate::Restart(Duration::from_millis(50))
        );
        assert_eq!(
            budget.spend(at(1), &policy),
            Fate::Restart(Duration::from_millis(100))
        );
        assert_eq!(budget.spend(at(2), &policy), Fate::GiveUp);
        assert_eq!(
            budget.spend(at(3), &policy),
            Fate::Restart(Duration::from_millis(50))
        );
        assert_eq!(
            budget.spend(at(100), &policy),
            Fate::Restart(Duration::from_millis(50))
        );
    }
}

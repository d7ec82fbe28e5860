//! What an attempt waits for before it goes: the release of its target, room, and the circuit of its service.

use std::time::Instant;

use futures::future::pending;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::futures::Notified;

use crate::definition::saga::Saga;
use crate::execution::attempt::Attempt;
use crate::execution::child_places::ChildPlace;
use crate::execution::circuit::{Pass, Trial};
use crate::execution::executor::Executor;
use crate::execution::places::AtWork;
use crate::execution::resources::Place;

/// An attempt that may go. What it holds it gives back when it has ended.
pub(super) struct Passage {
    _room: Option<Place>,
    /// Of the child that it begins.
    pub(super) child: Option<ChildPlace>,
    trial: Option<Trial>,
    pub(super) had_to_wait: bool,
}

impl Passage {
    /// Whether it goes for all that wait for the service.
    pub(super) fn is_trial(&self) -> bool {
        self.trial.is_some()
    }
}

impl<S: Saga> Executor<S> {
    /// Whether what an attempt goes to is in quarantine.
    pub(super) fn waits_for_a_release(&self, attempt: &Attempt<'_>) -> bool {
        let target = attempt.task.request.target(&attempt.instance.tenant);
        target.is_some_and(|target| self.runtime.is_quarantined(&target))
    }

    /// Waits until what an attempt goes to is in no quarantine.
    async fn until_released(&self, attempt: &Attempt<'_>) {
        let mut releases = self.runtime.releases();
        while self.waits_for_a_release(attempt) {
            // Who is too far behind to be told of each looks again, too.
            if let Err(RecvError::Closed) = releases.recv().await {
                return pending().await;
            }
        }
    }

    /// Waits until the target of an attempt is in no quarantine, there is room for it, and its circuit lets it through. First
    /// room, then the circuit: what waits for room must not be what all others wait for.
    ///
    /// # Errors
    /// Why the circuit does not, for an attempt of which that is not journaled yet.
    pub(super) async fn passage(
        &self,
        attempt: &Attempt<'_>,
        place: &mut AtWork<'_>,
    ) -> Result<Passage, String> {
        let mut had_to_wait = false;
        if attempt.is_held() {
            place.aside(self.until_released(attempt)).await;
        }
        loop {
            let room = match &attempt.task.terms.resource {
                Some((name, count)) => {
                    let resources = &self.shared.resources;
                    let taking = resources.take(name, *count, attempt.decided_at);
                    let (room, waited) = place.aside(taking).await;
                    had_to_wait |= waited;
                    Some(room)
                }
                None => None,
            };
            let passage = |trial| Passage {
                _room: room,
                child: None,
                trial,
                had_to_wait,
            };
            let Some(circuit) = &attempt.circuit else {
                return Ok(passage(None));
            };
            let changed = circuit.changed();
            let until = match circuit.pass(self.runtime.clock().monotonic()) {
                Pass::Go => return Ok(passage(None)),
                Pass::Trial => return Ok(passage(Some(circuit.trial()))),
                Pass::Wait(until) => until,
            };
            if !attempt.is_held() {
                return Err("its service takes no requests: it waits until it does".to_owned());
            }
            // Others may have the room until then.
            drop(passage);
            place.aside(self.until_it_may_pass(changed, until)).await;
        }
    }

    /// Waits until a circuit changes, or until its next trial may go.
    async fn until_it_may_pass(&self, changed: Notified<'_>, until: Option<Instant>) {
        let clock = self.runtime.clock();
        let trial_at = async {
            match until {
                None => pending().await,
                Some(until) => {
                    let left = until.saturating_duration_since(clock.monotonic());
                    clock.sleep(left).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = changed => {}
            () = trial_at => {}
        }
    }
}

//! The life of an instance's actor, as the actor library sees it: started, at work, dead, started again.

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};

use super::turn::Turn;
use crate::entity::Entity;
use crate::error::DispatchError;
use crate::instance::Instance;
use crate::supervision::{Fate, Supervised};

/// Starts the actor of an instance, which looks at once. Called once for each life of the actor.
pub(crate) fn start<E: Entity>(instance: &Arc<Instance<E>>) {
    if let Err(reason) = spawn(Arc::clone(instance)) {
        instance.fail_waiting(|stream| DispatchError::Recovery {
            stream,
            reason: reason.clone(),
        });
    }
}

impl<E: Entity> Supervised for Instance<E> {
    /// The actor died. A successor takes over the inbox, after a barrier, within the budget.
    fn died(self: Arc<Self>, reason: String) {
        self.put_behind_barrier();
        let now = self.core.clock.monotonic();
        let fate = self.actor_died(now);
        let core = Arc::clone(&self.core);
        tracing::warn!(stream = %self.stream, reason, ?fate, "aggregate actor died");
        core.clone().tasks.spawn(async move {
            match fate {
                Fate::Restart(backoff) => {
                    let wait = core.jitter.shorten(backoff);
                    core.clock.sleep(wait).await;
                    start(&self);
                }
                Fate::GiveUp => {
                    let why = format!("the actor died too often, lastly: {reason}");
                    core.set_aside(&self.stream, &why).await;
                    // It starts all the same: to answer what waits, and to be there when it is released.
                    start(&self);
                }
            }
        });
    }
}

/// What an actor is told, once: everything after that waits in the instance's inbox.
struct Begin;

/// Starts an actor for an instance, linked to the runtime's supervisor.
///
/// The actor does not return from its first message until it ends. The library's mailbox would cost every
/// command a message of its own, with its allocations, and four ports to look at; the inbox costs a flag.
///
/// # Errors
/// What the actor library said.
fn spawn<E: Entity>(instance: Arc<Instance<E>>) -> Result<(), String> {
    let supervisor = instance.core.supervisor.clone();
    let ward = Arc::clone(&instance);
    let spawned =
        ActorRuntime::spawn_linked_instant(None, Hosting(PhantomData), instance, supervisor.cell());
    let (actor, _) = spawned.map_err(|error| error.to_string())?;
    supervisor.watch(actor.get_id(), ward);
    actor.send_message(Begin).map_err(|error| error.to_string())
}

struct Hosting<E>(PhantomData<fn() -> E>);

impl<E: Entity> Actor for Hosting<E> {
    type Msg = Begin;
    type State = Turn<E>;
    type Arguments = Arc<Instance<E>>;

    async fn pre_start(
        &self,
        _: ActorRef<Begin>,
        instance: Arc<Instance<E>>,
    ) -> Result<Turn<E>, ActorProcessingErr> {
        // Nothing that can fail: a failure here would bypass supervision.
        Ok(Turn::new(instance))
    }

    async fn handle(
        &self,
        myself: ActorRef<Begin>,
        Begin: Begin,
        turn: &mut Turn<E>,
    ) -> Result<(), ActorProcessingErr> {
        while turn.take().await.is_continue() {
            if turn.rests() && turn.passivate().await {
                break;
            }
            turn.instance.something_waits().await;
        }
        myself.stop(None);
        Ok(())
    }
}

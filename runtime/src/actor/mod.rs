//! The actor of one instance, as the actor library sees it. What it does is in the files of its phases.

mod asking;
mod decide;
mod look_up;
mod reading;
mod recover;
mod snapshot;
mod turn;

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};

use crate::entity::Entity;
use crate::instance::Instance;
pub(crate) use asking::{Away, LookUps, Returned};
use turn::Turn;

/// What an actor is told, once: everything after that waits in the instance's inbox.
pub(crate) struct Begin;

/// Starts an actor for an instance, linked to the runtime's supervisor.
///
/// The actor does not return from its first message until it ends. The library's mailbox would cost every
/// command a message of its own, with its allocations, and four ports to look at; the inbox costs a flag.
///
/// # Errors
/// What the actor library said.
pub(crate) fn spawn<E: Entity>(instance: Arc<Instance<E>>) -> Result<(), String> {
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

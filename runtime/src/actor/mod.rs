//! The actor of one instance, as the actor library sees it. What it does is in the files of its phases.

mod decide;
mod recover;
mod snapshot;
mod turn;

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};

use crate::entity::Entity;
use crate::instance::Instance;
use turn::Turn;

/// What an actor is told. Commands are not messages: they wait in the instance's inbox.
pub(crate) enum Message {
    /// Something waits.
    Wake,
    /// Panic, as a test of supervision.
    Crash,
}

/// A live actor.
pub(crate) struct ActorHandle(ActorRef<Message>);

impl ActorHandle {
    pub(crate) fn wake(&self) {
        // An actor that has just died is told again by its successor's start.
        drop(self.0.send_message(Message::Wake));
    }

    pub(crate) fn crash(&self) {
        drop(self.0.send_message(Message::Crash));
    }
}

/// Starts an actor for an instance, linked to the runtime's supervisor.
///
/// # Errors
/// What the actor library said.
pub(crate) fn spawn<E: Entity>(instance: Arc<Instance<E>>) -> Result<ActorHandle, String> {
    let supervisor = instance.core.supervisor.clone();
    let ward = Arc::clone(&instance);
    let spawned =
        ActorRuntime::spawn_linked_instant(None, Hosting(PhantomData), instance, supervisor.cell());
    let (actor, _) = spawned.map_err(|error| error.to_string())?;
    supervisor.watch(actor.get_id(), ward);
    Ok(ActorHandle(actor))
}

struct Hosting<E>(PhantomData<fn() -> E>);

impl<E: Entity> Actor for Hosting<E> {
    type Msg = Message;
    type State = Turn<E>;
    type Arguments = Arc<Instance<E>>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        instance: Arc<Instance<E>>,
    ) -> Result<Turn<E>, ActorProcessingErr> {
        // Nothing that can fail: a failure here would bypass supervision.
        Ok(Turn::new(instance))
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        turn: &mut Turn<E>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Wake => {
                if turn.take().await.is_break() {
                    myself.stop(None);
                }
            }
            // The one deliberate panic: it sets in motion what a fault in the runtime itself would.
            Message::Crash => std::panic::panic_any("crashed on request".to_owned()),
        }
        Ok(())
    }
}

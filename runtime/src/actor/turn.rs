//! One turn of an actor: recover if need be, then everything that waits, one after the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chronicler_domain::StreamVersion;
use chronicler_store::HeldBack;
use tracing::Instrument;
use uuid::Uuid;

use crate::contain::let_go;
use crate::dedup::Memory;
use crate::entity::Entity;
use crate::envelope::{Away, CommandEnvelope, Envelope, Query, Returned, refuse_unseen};
use crate::error::DispatchError;
use crate::instance::Instance;
use crate::snapshots::SnapshotFacts;

/// Envelopes after which an actor lets others run.
const ENVELOPES_BEFORE_YIELD: u32 = 64;

/// The actor's own state.
pub(super) struct Turn<E: Entity> {
    pub(super) instance: Arc<Instance<E>>,
    /// `None` until it is recovered, and after anything that leaves the state in doubt.
    pub(super) live: Option<Live<E>>,
    /// A commit that was decided and that the log has no room for at present. Nothing else is decided before it is handed
    /// in.
    pub(super) held: Option<Box<HeldBack>>,
    /// The command that is being worked on was away. Later sendings wait until it is decided or refused.
    pub(super) returned: Option<Away>,
}

/// An instance, recovered: the state as decided so far, which may be ahead of what is durable.
pub(super) struct Live<E: Entity> {
    pub(super) state: E::State,
    pub(super) version: StreamVersion,
    /// The last commit recorded in the stream, in flight or not.
    pub(super) commit_id: Option<Uuid>,
    pub(super) memory: Memory,
    pub(super) since_snapshot: SnapshotFacts,
    /// How long the state in the last snapshot is; 0 if there is none.
    pub(super) snapshot_bytes: u64,
}

impl<E: Entity> Drop for Turn<E> {
    fn drop(&mut self) {
        let_go(self.live.take());
    }
}

impl<E: Entity> Turn<E> {
    pub(super) fn new(instance: Arc<Instance<E>>) -> Self {
        Self {
            instance,
            live: None,
            held: None,
            returned: None,
        }
    }

    /// Works off what waits. `Break`: the instance was passivated, the actor ends.
    pub(super) async fn take(&mut self) -> ControlFlow<()> {
        let mut taken = 0_u32;
        loop {
            if self.instance.in_flight.has_failed() {
                self.discard();
            }
            let Some(envelope) = self.instance.next() else {
                self.tidy();
                return ControlFlow::Continue(());
            };
            match envelope {
                Envelope::Command(command) => self.carry_out(command).await,
                Envelope::GivenUp(away) => drop(away),
                Envelope::Again(returned) => {
                    let Returned { command, away } = *returned;
                    self.returned = Some(away);
                    // On the heap: it is rare.
                    Box::pin(self.carry_out(command)).await;
                    self.returned = None;
                }
                Envelope::Query(query) => match self.recovered().await {
                    Ok(()) => self.look(query),
                    Err(error) => drop(query(Err(error))),
                },
                Envelope::Learned(learned) => {
                    let (span, runs) = *learned;
                    if let Some(live) = &mut self.live {
                        live.memory.learn(span, runs);
                    }
                }
                // The one deliberate panic: it sets in motion what a fault in the runtime itself would.
                Envelope::Crash => std::panic::panic_any("crashed on request".to_owned()),
                Envelope::MakeRoom(_until_answered) => {
                    if self.passivate().await {
                        return ControlFlow::Break(());
                    }
                }
                Envelope::Passivate(answer) => {
                    let retired = self.passivate().await;
                    if let Some(answer) = answer {
                        let _nobody_waits = answer.send(retired);
                    }
                    if retired {
                        return ControlFlow::Break(());
                    }
                }
            }
            taken += 1;
            if taken.is_multiple_of(ENVELOPES_BEFORE_YIELD) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn carry_out(&mut self, command: Box<CommandEnvelope<E>>) {
        let span = command.caller.clone();
        match self.recovered().instrument(span).await {
            Ok(()) => self.decide(command).await,
            Err(error) => refuse_unseen(command, error),
        }
    }

    /// Keeps by id only what was kept whole because it was in flight; comes back if it still is.
    fn tidy(&mut self) {
        let untidy = &self.instance.untidy;
        let Some(live) = &mut self.live else { return };
        if !live.memory.is_over() && !untidy.load(Ordering::Relaxed) {
            return;
        }
        let now = self.instance.core.clock.now();
        live.memory.shed(now);
        untidy.store(live.memory.is_over(), Ordering::Release);
        // The last one may have settled before that was said, and nobody comes back for it.
        if live.memory.is_over() && self.instance.in_flight.len() == 0 {
            live.memory.shed(now);
        }
    }

    /// Whether it is likely to be left alone for long, and there are enough of its kind alive.
    pub(super) fn rests(&self) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| {
            self.instance.entity.rests(&live.state) && self.instance.is_one_of_many()
        })
    }

    fn look(&self, query: Query<E>) {
        let after = match &self.live {
            Some(live) => query(Ok((&live.state, live.version))),
            None => query(Err(DispatchError::ActorLost {
                stream: self.instance.stream.clone(),
            })),
        };
        if let Some(after) = after {
            self.instance.in_flight.after_all(after);
        }
    }

    /// Forgets the state: it is in doubt. The next command recovers it, after a barrier.
    pub(super) fn discard(&mut self) {
        if let Some(live) = self.live.take() {
            let_go(live);
            self.instance.put_behind_barrier();
        }
    }
}

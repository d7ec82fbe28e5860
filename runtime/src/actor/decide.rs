//! Deciding one command and handing it to the log. The actor does not wait for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chronicler_domain::{Context, StreamId, StreamVersion};
use chronicler_store::test_points::{Promise, is_broken};
use chronicler_store::{
    Append, AppendResult, Expected, HeldBack, NewEvent, Outcome, OutcomeRecord, OutcomeResult,
    SideRecord, StreamAppend, panic_text,
};

use super::settle::{Outcomes, Sender, UnderWay, after_look_up, answer_when_durable};
use super::turn::{Live, Turn};
use crate::backoff::Backoff;
use crate::core::Core;
use crate::dedup::{Identity, Place, Remembered};
use crate::entity::{Entity, Refusal, Undecided};
use crate::envelope::{Body, CommandEnvelope, refuse, refuse_unseen};
use crate::error::DispatchError;
use crate::instance::Instance;
use crate::telemetry;

/// The wait before a commit is handed in again that was refused though room was told of: others were quicker, or the
/// store gives appends back and does not say when there is room.
const REFUSED_AGAIN: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(16));

impl<E: Entity> Turn<E> {
    pub(super) async fn decide(&mut self, command: Box<CommandEnvelope<E>>) {
        let span = telemetry::command(&command.caller, &self.instance.stream, &command.ctx);
        let core = Arc::clone(&self.instance.core);
        let now = || core.clock.monotonic();
        let is_late = command.expires.is_some_and(|expires| now() > expires);
        let command = match self.unless_repeated(command, is_late) {
            Some(command) => command,
            None => return,
        };
        if is_late {
            let error = command.late(Outcome::NotApplied);
            let id = command.given_id();
            return refuse(command, after_look_up(&core, id, error));
        }
        let pipeline_max = core.options.pipeline_max as u64;
        self.instance.in_flight.below(pipeline_max).await;
        if self.instance.in_flight.has_failed() {
            // What this would be decided on is lost; it is decided on what is true after a recovery.
            self.discard();
            if let Err(error) = self.recovered().await {
                return refuse_unseen(command, error);
            }
        }
        span.in_scope(|| self.decide_now(*command));
        if let Some(held) = self.held.take() {
            // On the heap: it is rare.
            Box::pin(hand_in(&core, held)).await;
        }
    }

    /// Decides on the state as it is now, and hands the log what is to be committed.
    fn decide_now(&mut self, command: CommandEnvelope<E>) {
        let id = command.given_id();
        let CommandEnvelope {
            body,
            ctx,
            identity,
            says,
            answer,
            admitted,
            ..
        } = command;
        let sender = Sender::new(id, answer, admitted);
        let instance = Arc::clone(&self.instance);
        let Some(live) = &mut self.live else { return };
        let mut decision = match ask(&instance, live, body, &ctx) {
            Ok(decision) => decision,
            Err(NoDecision::Failed(error)) => return sender.fail(&instance.core, error),
            Err(NoDecision::Spoiled(error)) => {
                self.discard();
                return sender.fail(&instance.core, error);
            }
            Err(NoDecision::Withdrawn(rejection)) => {
                let version = live.version;
                self.discard();
                return answer_when_durable(&instance, Err(rejection), version, sender);
            }
        };
        let hash = says.map(|says| says.fingerprint);
        let place = match remember(&instance, live, &ctx, identity, hash, &mut decision) {
            Ok(place) => place,
            Err(error) => {
                // A rejection has changed nothing.
                if decision.outcome.is_ok() {
                    self.discard();
                }
                return sender.fail(&instance.core, error);
            }
        };
        let Decision {
            events,
            records,
            outcome,
        } = decision;
        let version = live.version.plus(events.len() as u64);
        if events.is_empty() && records.is_empty() {
            // Nothing to write, but what it was decided on may still be on its way to the disk.
            return answer_when_durable(&instance, outcome, version, sender);
        }
        // From here on the state is ahead of the log, and the next command is decided on it all the same: the commit says on
        // what it was decided, and the log takes it only after that.
        let append = live.commit(&instance.stream, &ctx, events, records);
        if is_broken(Promise::CommitBeforeDispatch) {
            return answer_before_commit(&instance, append, outcome, version, sender);
        }
        let under_way = UnderWay {
            ticket: instance.in_flight.begin(),
            sender,
            outcome,
            place,
            rests: self.rests(),
            span: telemetry::append(&instance.stream, &ctx),
            instance,
        };
        // Refused for want of room, a commit would cost a recovery, and overload would make more load: it waits.
        let done = Box::new(under_way.completion());
        if let Err(held) = self.instance.core.store.offer(append, done) {
            self.held = Some(held);
        }
        self.snapshot_if_due();
    }
}

/// What is to be committed, and answered when it is. The state has moved on by the events.
struct Decision<E: Entity> {
    events: Vec<NewEvent>,
    records: Vec<SideRecord>,
    outcome: Outcomes<E>,
}

/// Why there is nothing to be committed.
enum NoDecision<E: Entity> {
    /// The state was not touched.
    Failed(DispatchError),
    /// The state may be half changed; the log is not.
    Spoiled(DispatchError),
    /// The domain said no after it had changed the state.
    Withdrawn(E::Rejection),
}

/// Has the entity decide a command.
fn ask<E: Entity>(
    instance: &Instance<E>,
    live: &mut Live<E>,
    body: Body<E::Command>,
    ctx: &Context,
) -> Result<Decision<E>, NoDecision<E>> {
    let (entity, stream) = (&instance.entity, &instance.stream);
    let command = match body {
        Body::Typed(command) => command,
        Body::Encoded { codec, bytes } => entity
            .decode_command(stream, codec, &bytes)
            .map_err(NoDecision::Failed)?,
    };
    let panicked = |what, message: String| {
        let stream = stream.clone();
        tracing::error!(panic = message, "command panicked");
        DispatchError::Panicked {
            what,
            stream,
            message,
        }
    };
    let deciding = AssertUnwindSafe(|| entity.decide(&mut live.state, command, ctx));
    match catch_unwind(deciding) {
        Ok(Ok(draft)) => Ok(Decision {
            events: draft.events,
            records: draft.records,
            outcome: Ok(draft.reply),
        }),
        Ok(Err(Refusal::Rejected(rejection))) => Ok(Decision {
            events: Vec::new(),
            records: Vec::new(),
            outcome: Err(rejection),
        }),
        Ok(Err(Refusal::Withdrawn(rejection))) => Err(NoDecision::Withdrawn(rejection)),
        Ok(Err(Refusal::Undecided(Undecided::Unencodable(error)))) => {
            Err(NoDecision::Failed(error.into()))
        }
        Ok(Err(Refusal::Undecided(Undecided::Panicked(message)))) => {
            Err(NoDecision::Failed(panicked("a decision", message)))
        }
        Ok(Err(Refusal::Failed(error))) => Err(NoDecision::Spoiled(error.into())),
        Err(panic) => {
            let message = panic_text(panic.as_ref()).to_owned();
            Err(NoDecision::Spoiled(panicked("decide or evolve", message)))
        }
    }
}

impl<E: Entity> Live<E> {
    /// The commit of a decision, on what it was decided; the instance is from now on as of that commit.
    fn commit(
        &mut self,
        stream: &StreamId,
        ctx: &Context,
        events: Vec<NewEvent>,
        records: Vec<SideRecord>,
    ) -> Append {
        let count = events.len() as u64;
        let answers = records.iter().map(|record| match record {
            SideRecord::Outcome(outcome) => outcome.payload.len(),
            _ => 0,
        });
        let payloads = events.iter().map(|event| event.payload.len());
        let bytes: usize = payloads.chain(answers).sum();
        self.since_snapshot.events += count;
        self.since_snapshot.commits += 1;
        self.since_snapshot.bytes += bytes as u64;
        let append = Append {
            commit_id: ctx.command_id(),
            at: ctx.now(),
            metadata: ctx.metadata().clone(),
            parts: vec![StreamAppend {
                stream: stream.clone(),
                expected: Expected::Decided {
                    version: self.version,
                    commit_id: self.commit_id,
                },
                events,
            }],
            records,
        };
        self.version = self.version.plus(count);
        // One that has neither events nor records of the stream leaves no trace in it.
        if count > 0 || append.owns_records() {
            self.commit_id = Some(ctx.command_id());
        }
        append
    }
}

/// Breaks a promise for a test: the sender is answered, and the log asked after that.
fn answer_before_commit<E: Entity>(
    instance: &Arc<Instance<E>>,
    append: Append,
    outcome: Outcomes<E>,
    version: StreamVersion,
    sender: Sender<E>,
) {
    answer_when_durable(instance, outcome, version, sender);
    let ticket = instance.in_flight.begin();
    let settled = Arc::clone(instance);
    let done = move |result: AppendResult| {
        settled.in_flight.settle(ticket, &result);
    };
    instance.core.store.submit(append, Box::new(done));
}

/// Hands a commit in that the log has no room for at present. The state is ahead of it, and waits with it.
async fn hand_in(core: &Core, mut held: Box<HeldBack>) {
    let mut refusals = 0;
    loop {
        core.store.room().await;
        let HeldBack { append, done } = *held;
        match core.store.offer(append, done) {
            Ok(()) => return,
            Err(again) => held = again,
        }
        refusals += 1;
        // Not by the application's clock: the store goes on while that stands still.
        tokio::time::sleep(REFUSED_AGAIN.wait(refusals, &core.jitter)).await;
    }
}

/// Remembers the outcome of a command that may be sent again, and has the log remember it in the same commit. Gives the
/// place to note where that lies; `None` if the command has no id of its own.
fn remember<E: Entity>(
    instance: &Instance<E>,
    live: &mut Live<E>,
    ctx: &Context,
    identity: Option<Identity>,
    command_hash: Option<u64>,
    decision: &mut Decision<E>,
) -> Result<Option<Arc<OnceLock<Place>>>, DispatchError> {
    let Some(identity) = identity else {
        return Ok(None);
    };
    let outcome = &decision.outcome;
    let encoded = instance
        .entity
        .encode_outcome(&instance.stream, outcome.as_ref())?;
    let (issued_at, decided_at) = match identity {
        Identity::Caller { issued_at } => (Some(issued_at), None),
        Identity::Effect { decided_at } => (None, Some(decided_at)),
    };
    let place = Arc::new(OnceLock::new());
    let remembered = Remembered {
        rejected: outcome.is_err(),
        codec: encoded.codec,
        payload: encoded.payload.clone(),
        command_hash,
        issued_at,
        at: ctx.now(),
        first_version: live.version.next(),
        version: live.version.plus(decision.events.len() as u64),
        place: Arc::clone(&place),
    };
    live.memory
        .remember(ctx.command_id(), remembered, ctx.now());
    let record = OutcomeRecord {
        result: if outcome.is_ok() {
            OutcomeResult::Reply
        } else {
            OutcomeResult::Rejection
        },
        decided_at,
        command_hash,
        type_name: encoded.type_name,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        payload: encoded.payload,
    };
    decision.records.push(SideRecord::Outcome(record));
    Ok(Some(place))
}

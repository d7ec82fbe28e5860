//! Deciding one command and handing it to the log. The actor does not wait for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chronicler_domain::{Context, GlobalPosition, LogSequence, StreamVersion};
use chronicler_store::test_points::{CrashPlace, Promise, is_broken, reached};
use chronicler_store::{
    Append, AppendError, AppendResult, Expected, Health, HeldBack, Outcome, OutcomeRecord,
    OutcomeResult, SideRecord, StreamAppend, panic_text,
};
use uuid::Uuid;

use super::look_up::look_up;
use super::turn::{Live, Turn};
use crate::backoff::Backoff;
use crate::contain;
use crate::core::{Admitted, Core};
use crate::dedup::{Identity, Place, Remembered};
use crate::entity::{Draft, Entity, Refusal, Undecided};
use crate::envelope::{Answer, Body, CommandEnvelope, Searched, refuse, refuse_unseen};
use crate::error::{DispatchError, SendError};
use crate::instance::Instance;
use crate::look_ups::Asking;
use crate::receipt::Receipt;
use crate::telemetry;

/// The wait before a commit is handed in again that was refused though room was told of: others were quicker, or the
/// store gives appends back and does not say when there is room.
const REFUSED_AGAIN: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(16));

type Outcomes<E> = Result<<E as Entity>::Reply, <E as Entity>::Rejection>;

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
            let error = late(&command, Outcome::NotApplied);
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

    fn decide_now(&mut self, command: CommandEnvelope<E>) {
        let id = command.given_id();
        let CommandEnvelope {
            body,
            ctx,
            expires: _,
            identity,
            says,
            caller: _,
            answer,
            admitted,
            ..
        } = command;
        let command_hash = says.map(|says| says.fingerprint);
        let instance = Arc::clone(&self.instance);
        let Some(live) = &mut self.live else { return };
        let fail = |to: Answer<E>, error: DispatchError| {
            let error = after_look_up(&instance.core, id, error);
            contain::answer(to, Err(error.into()));
        };
        let decoded = match body {
            Body::Typed(command) => Ok(command),
            Body::Encoded { codec, bytes } => {
                instance
                    .entity
                    .decode_command(&instance.stream, codec, &bytes)
            }
        };
        let command = match decoded {
            Ok(command) => command,
            Err(error) => return fail(answer, error),
        };
        let decided = catch_unwind(AssertUnwindSafe(|| {
            instance.entity.decide(&mut live.state, command, &ctx)
        }));
        let (draft, rejection) = match decided {
            Err(panic) => {
                // The state may be half changed; the log is not.
                self.discard();
                let (what, message) = ("decide or evolve", panic_text(panic.as_ref()).to_owned());
                let stream = instance.stream.clone();
                tracing::error!(panic = message, "command panicked");
                return fail(
                    answer,
                    DispatchError::Panicked {
                        what,
                        stream,
                        message,
                    },
                );
            }
            // The state was not touched.
            Ok(Err(Refusal::Undecided(Undecided::Unencodable(error)))) => {
                return fail(answer, error.into());
            }
            Ok(Err(Refusal::Undecided(Undecided::Panicked(message)))) => {
                let (what, stream) = ("a decision", instance.stream.clone());
                tracing::error!(panic = message, "command panicked");
                let error = DispatchError::Panicked {
                    what,
                    stream,
                    message,
                };
                return fail(answer, error);
            }
            Ok(Err(Refusal::Failed(error))) => {
                self.discard();
                return fail(answer, error.into());
            }
            Ok(Err(Refusal::Withdrawn(rejection))) => {
                let version = live.version;
                self.discard();
                return answer_when_durable(
                    &instance,
                    id,
                    Err(rejection),
                    version,
                    answer,
                    admitted,
                );
            }
            Ok(Err(Refusal::Rejected(rejection))) => (None, Some(rejection)),
            Ok(Ok(draft)) => (Some(draft), None),
        };
        let (events, mut records, outcome) = match (draft, rejection) {
            (
                Some(Draft {
                    events,
                    records,
                    reply,
                }),
                _,
            ) => (events, records, Ok(reply)),
            (None, Some(rejection)) => (Vec::new(), Vec::new(), Err(rejection)),
            (None, None) => return,
        };
        let first_version = live.version.next();
        let version = live.version.plus(events.len() as u64);
        let mut place = None;
        if let Some(identity) = identity {
            match remember(
                &instance,
                live,
                &ctx,
                identity,
                command_hash,
                &outcome,
                version,
            ) {
                Ok((record, at)) => {
                    records.push(record);
                    place = Some(at);
                }
                Err(error) => {
                    // A rejection has changed nothing.
                    if outcome.is_ok() {
                        self.discard();
                    }
                    return fail(answer, error);
                }
            }
        }
        if events.is_empty() && records.is_empty() {
            return answer_when_durable(&instance, id, outcome, version, answer, admitted);
        }
        let answers = records.iter().map(|record| match record {
            SideRecord::Outcome(outcome) => outcome.payload.len(),
            _ => 0,
        });
        let bytes: usize = events
            .iter()
            .map(|event| event.payload.len())
            .chain(answers)
            .sum();
        live.since_snapshot.events += events.len() as u64;
        live.since_snapshot.commits += 1;
        live.since_snapshot.bytes += bytes as u64;
        let append = Append {
            commit_id: ctx.command_id(),
            at: ctx.now(),
            metadata: ctx.metadata().clone(),
            parts: vec![StreamAppend {
                stream: instance.stream.clone(),
                expected: Expected::Decided {
                    version: live.version,
                    commit_id: live.commit_id,
                },
                events,
            }],
            records,
        };
        live.version = version;
        if version >= first_version || append.owns_records() {
            live.commit_id = Some(ctx.command_id());
        }
        let rests = self.rests();
        let span = telemetry::append(&instance.stream, &ctx);
        if is_broken(Promise::CommitBeforeDispatch) {
            answer_when_durable(&instance, id, outcome, version, answer, admitted);
            let ticket = instance.in_flight.begin();
            let settled = Arc::clone(&instance);
            let done = move |result: AppendResult| {
                settled.in_flight.settle(ticket, &result);
            };
            return instance.core.store.submit(append, Box::new(done));
        }
        let ticket = instance.in_flight.begin();
        let store = Arc::clone(&instance.core.store);
        let settled = Arc::clone(&instance);
        let done = move |result: AppendResult| {
            let _entered = span.entered();
            if let Err(error) = &result {
                tracing::warn!(%error, "append failed");
            }
            // First where it lies, then that it is durable: a duplicate that waits for it looks there.
            let position = place_of(&settled, &result, place.as_deref());
            let failed = settled.in_flight.settle(ticket, &result);
            if let (Ok(appended), Ok(reply)) = (&result, &outcome)
                && !appended.duplicate
            {
                let (entity, stream) = (&settled.entity, &settled.stream);
                entity.committed(stream, reply, appended.sequence);
            }
            let answered = settle_answer(&settled, id, result, outcome, position);
            reached(CrashPlace::Reply);
            contain::answer(answer, answered);
            reached(CrashPlace::Replied);
            let untidy = || settled.untidy.load(Ordering::Acquire) && settled.in_flight.len() == 0;
            if failed || rests || untidy() {
                settled.nudge();
            }
            drop(admitted);
        };
        let done = Answered(Some(done));
        // Refused for want of room, a commit would cost a recovery, and overload would make more load: it waits.
        if let Err(held) = store.offer(append, Box::new(move |result| done.call(result))) {
            self.held = Some(held);
        }
        self.snapshot_if_due();
    }

    /// Gives a repeated command the outcome of the first; gives the command back if it is none. A command that the log
    /// must be asked for goes there, and comes back to the inbox, unless it is late: its sender no longer waits.
    fn unless_repeated(
        &mut self,
        mut command: Box<CommandEnvelope<E>>,
        is_late: bool,
    ) -> Option<Box<CommandEnvelope<E>>> {
        let Some(identity) = command.identity else {
            return Some(command);
        };
        if is_broken(Promise::Deduplication) {
            return Some(command);
        }
        let (id, now) = (command.ctx.command_id(), command.ctx.now());
        let instance = Arc::clone(&self.instance);
        let memory = &self.live.as_ref()?.memory;
        let (found, searched) = match std::mem::take(&mut command.searched) {
            Searched::Found(found) => (Some(*found), LogSequence::ZERO),
            Searched::Through(searched) => (memory.find(id).cloned(), searched),
        };
        if let Some(found) = found {
            answer_from_memory(&instance, found, *command);
            return None;
        }
        if let Identity::Caller { issued_at } = identity {
            let remembered_after = memory.remembered_after(now);
            if issued_at <= remembered_after {
                let error = DispatchError::CommandTooOld {
                    stream: instance.stream.clone(),
                    issued_at,
                    remembered_after,
                };
                refuse(command, error);
                return None;
            }
        }
        let spans = memory.sought(id, identity, searched);
        let through = memory.indexed_through();
        // The one that was away comes first, though others wait for it.
        let is_first = self.returned.is_some();
        let waits = !spans.is_empty() || (!is_first && instance.look_ups.is_away(id));
        if waits && is_late {
            let error = late(&command, Outcome::Unknown);
            refuse(command, error);
            return None;
        }
        if waits && !is_first {
            // An earlier sending that is looked for can still be carried out: what this one is told holds after it.
            command = match instance.look_ups.follow(id, command) {
                Ok(()) => return None,
                Err(command) => command,
            };
        }
        if !spans.is_empty() {
            let away = self.returned.take();
            let asking = Asking {
                command,
                spans,
                through,
                away: away.unwrap_or_else(|| instance.away(id)),
            };
            look_up(&instance, asking);
            return None;
        }
        let ahead_max = memory.ahead_max();
        match identity {
            Identity::Caller { issued_at } if issued_at > now.plus(ahead_max) => {
                let error = DispatchError::IdFromFuture {
                    issued_at,
                    now,
                    ahead_max,
                };
                refuse(command, error);
                None
            }
            Identity::Caller { .. } | Identity::Effect { .. } => Some(command),
        }
    }
}

/// What the sender of a command is told who no longer waits.
fn late<E: Entity>(command: &CommandEnvelope<E>, outcome: Outcome) -> DispatchError {
    let deadline = command.ctx.deadline().unwrap_or_default();
    DispatchError::DeadlineExceeded { deadline, outcome }
}

/// Why a command failed that the memory does not know. After the log has stopped that proves nothing: what was being
/// written then may be there all the same when it is opened again.
fn after_look_up(core: &Core, id: Option<Uuid>, error: DispatchError) -> DispatchError {
    let is_closed = matches!(error, DispatchError::Append(AppendError::Closed));
    if is_closed || core.store.health() != Health::Healthy {
        return error.unless_sent_before(id);
    }
    error
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

/// A completion that is called in any case: a log that ends without an answer drops it, and what waits for the commit
/// would wait for ever.
struct Answered<F: FnOnce(AppendResult)>(Option<F>);

impl<F: FnOnce(AppendResult)> Answered<F> {
    fn call(mut self, result: AppendResult) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl<F: FnOnce(AppendResult)> Drop for Answered<F> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(AppendError::Lost));
        }
    }
}

/// Answers a command whose id is remembered, as soon as what is remembered is durable: with that outcome, or that another
/// command has the id.
fn answer_from_memory<E: Entity>(
    instance: &Arc<Instance<E>>,
    found: Remembered,
    command: CommandEnvelope<E>,
) {
    let is_another = command.differs_from(found.command_hash);
    let CommandEnvelope {
        ctx,
        answer,
        admitted,
        ..
    } = command;
    let (asked, id) = (Arc::clone(instance), ctx.command_id());
    instance.in_flight.after_all(Box::new(move |durable| {
        // What failed may be something else that waited: where its own commit lies says whether it is durable.
        let answered = match found.place.get().copied() {
            Some(_) if is_another => {
                let stream = asked.stream.clone();
                Err(DispatchError::IdReused { stream, id }.into())
            }
            Some(place) => answer_again(&asked, &found, place, id),
            None => Err(DispatchError::FirstUnsettled {
                stream: asked.stream.clone(),
                id,
                source: Box::new(durable.err().unwrap_or(AppendError::Lost)),
            }
            .into()),
        };
        contain::answer(answer, answered);
        drop(admitted);
    }));
}

fn answer_again<E: Entity>(
    instance: &Instance<E>,
    found: &Remembered,
    place: Place,
    id: Uuid,
) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
    let entity = &instance.entity;
    let outcome = entity
        .decode_outcome(found.result(), found.codec, &found.payload)
        .map_err(|source| DispatchError::AnswerUnreadable {
            stream: instance.stream.clone(),
            id,
            outcome: found.became(),
            source,
        })?;
    let reply = outcome.map_err(SendError::Rejected)?;
    Ok(Receipt {
        reply,
        first_version: found.first_version,
        version: found.version,
        position: place.position,
        sequence: place.sequence,
        duplicate: true,
    })
}

/// Remembers an outcome, and gives the record that makes the log remember it.
fn remember<E: Entity>(
    instance: &Instance<E>,
    live: &mut Live<E>,
    ctx: &Context,
    identity: Identity,
    command_hash: Option<u64>,
    outcome: &Outcomes<E>,
    version: StreamVersion,
) -> Result<(SideRecord, Arc<OnceLock<Place>>), DispatchError> {
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
        version,
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
    Ok((SideRecord::Outcome(record), place))
}

/// The position that a durable commit brings its stream to, noted for whoever repeats the command.
fn place_of<E: Entity>(
    instance: &Instance<E>,
    result: &AppendResult,
    place: Option<&OnceLock<Place>>,
) -> GlobalPosition {
    let before = instance.in_flight.end().position;
    let Ok(appended) = result else { return before };
    let last = appended
        .parts
        .first()
        .and_then(|part| part.positions.last());
    let position = last.unwrap_or(before);
    if let Some(place) = place.filter(|_| !appended.duplicate) {
        let _set_once = place.set(Place {
            sequence: appended.sequence,
            position,
        });
    }
    position
}

/// What the sender is answered once the log has answered.
fn settle_answer<E: Entity>(
    instance: &Instance<E>,
    id: Option<Uuid>,
    result: AppendResult,
    outcome: Outcomes<E>,
    position: GlobalPosition,
) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
    let appended = result.map_err(|error| after_look_up(&instance.core, id, error.into()))?;
    // A repetition that the memory did not know: another decision on the same id lies there. The instance
    // recovers; sent again, the command is answered from what it then remembers.
    let part = appended.parts.first().filter(|_| !appended.duplicate);
    let part = part.ok_or_else(|| DispatchError::ActorLost {
        stream: instance.stream.clone(),
    })?;
    let reply = outcome.map_err(SendError::Rejected)?;
    Ok(Receipt {
        reply,
        first_version: part.first_version,
        version: part.last_version,
        position,
        sequence: appended.sequence,
        duplicate: false,
    })
}

/// Answers a decision without anything to commit when what it was decided on is durable.
fn answer_when_durable<E: Entity>(
    instance: &Arc<Instance<E>>,
    id: Option<Uuid>,
    outcome: Outcomes<E>,
    version: StreamVersion,
    answer: Answer<E>,
    admitted: Admitted,
) {
    let (stream, asked) = (instance.stream.clone(), Arc::clone(instance));
    instance.in_flight.after_all(Box::new(move |durable| {
        if let (Ok(end), Ok(reply)) = (&durable, &outcome) {
            asked.entity.committed(&stream, reply, end.sequence);
        }
        let answered = match durable {
            Err(source) => Err(after_look_up(&asked.core, id, lost(stream, source)).into()),
            Ok(end) => outcome.map_err(SendError::Rejected).map(|reply| Receipt {
                reply,
                first_version: version.next(),
                version,
                position: end.position,
                sequence: end.sequence,
                duplicate: false,
            }),
        };
        contain::answer(answer, answered);
        drop(admitted);
    }));
}

fn lost(stream: chronicler_domain::StreamId, source: AppendError) -> DispatchError {
    DispatchError::DecidedOnLost {
        stream,
        source: Box::new(source),
    }
}

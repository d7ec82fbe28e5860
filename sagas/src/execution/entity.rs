//! A saga instance as the runtime hosts it: entries and the saga's own events in one stream.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chronicler_domain::{
    AggregateId, Category, Context, InvalidId, LogSequence, SchemaVersion, StreamId, Tenant,
    Timestamp,
};
use chronicler_runtime::{Draft, EncodedOutcome, Entity, FoldError, Refusal, TimerWait, timer_key};
use chronicler_store::codec::{
    CodecError, CodecId, PayloadCodec, decode_shaped, encode, encode_shaped,
};
use chronicler_store::test_points::{CrashPlace, reached};
use chronicler_store::{FactKind, OutcomeResult, PartRef, RecordedCommit, SideRecord};

use crate::definition::saga::{Saga, category};
use crate::execution::backlog::Backlog;
use crate::execution::child_places::ChildPlaces;
use crate::execution::endings::Endings;
use crate::execution::tasks::{SentBefore, work};
use crate::instance::action::Action;
use crate::instance::fold::{CommitInfo, StreamReader};
use crate::instance::occupancy::OccupancyChange;
use crate::instance::open_fact::{OpenFact, waits_for};
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;
use crate::instance::transition::step::{Step, StepResult};
use crate::instance::work::Work;

/// Everything that a saga type needs to be hosted.
pub(crate) struct SagaEntity<S: Saga> {
    saga: S,
    category: Category,
    owner: String,
    reader: StreamReader<S::Event>,
    causation_depth_max: u16,
    /// Where what was decided goes when it is durable.
    backlog: Backlog,
    /// Who waits for the end of an instance.
    endings: Endings,
    /// Which children are alive of those of which only so many are.
    child_places: ChildPlaces,
}

impl<S: Saga> SagaEntity<S> {
    pub(crate) fn new(
        saga: S,
        causation_depth_max: u16,
        child_places: ChildPlaces,
    ) -> Result<Self, InvalidId> {
        let category = category::<S>()?;
        let owner = category.as_str().to_owned();
        Ok(Self {
            saga,
            category,
            owner,
            reader: StreamReader::new(),
            causation_depth_max,
            backlog: Backlog::new(),
            endings: Endings::default(),
            child_places,
        })
    }

    /// Of instances whose own events are passed over: nothing that is installed defines them.
    pub(crate) fn without_events(saga: S, category: Category) -> Self {
        let owner = category.as_str().to_owned();
        Self {
            saga,
            category,
            owner,
            reader: StreamReader::of_entries(),
            causation_depth_max: u16::MAX,
            backlog: Backlog::new(),
            endings: Endings::default(),
            child_places: ChildPlaces::default(),
        }
    }

    pub(crate) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub(crate) fn endings(&self) -> &Endings {
        &self.endings
    }

    pub(crate) fn saga(&self) -> &S {
        &self.saga
    }

    fn listed(&self, state: &InstanceState<S::State>) -> Option<Box<OpenFact>> {
        let open = state.open_fact(|| waits_for(&self.saga, state.user()));
        open.map(Box::new)
    }

    /// The facts that change with a step. `open` is what the list of the open ones says so far, `moved` when each timer
    /// was due that the step armed, moved or disarmed.
    fn records(
        &self,
        stream: &StreamId,
        open: Option<&OpenFact>,
        moved: &BTreeMap<String, Option<Timestamp>>,
        dated: &BTreeSet<String>,
        state: &InstanceState<S::State>,
    ) -> Vec<SideRecord> {
        let mut records = Vec::new();
        for (key, before) in moved {
            if let Some(due) = before
                && state.timers.get(key) != Some(due)
            {
                records.push(self.timer(stream, key, *due, None));
            }
        }
        for (key, before) in moved {
            if let Some(due) = state.timers.get(key)
                && before.as_ref() != Some(due)
            {
                let wait = match dated.contains(key) {
                    true => TimerWait::Date,
                    false => TimerWait::Duration,
                };
                records.push(self.timer(stream, key, *due, Some(wait.value())));
            }
        }
        let listed = state.listed.as_ref().and_then(Option::as_deref);
        if listed != open {
            let value = listed.and_then(|open| encode(PayloadCodec::default(), open).ok());
            let key = Bytes::copy_from_slice(stream.key().as_bytes());
            records.push(SideRecord::Fact {
                kind: FactKind::OPEN_SAGA,
                key,
                value,
            });
        }
        records
    }

    fn timer(
        &self,
        stream: &StreamId,
        key: &str,
        due: Timestamp,
        value: Option<Bytes>,
    ) -> SideRecord {
        let mut name = Vec::with_capacity(stream.key().len() + key.len() + 1);
        name.extend_from_slice(stream.key().as_bytes());
        name.push(0);
        name.extend_from_slice(key.as_bytes());
        let key = timer_key(due, &self.owner, &name);
        SideRecord::Fact {
            kind: FactKind::TIMER,
            key,
            value,
        }
    }

    /// Takes a command, and dates the state as the commit will.
    fn step(
        &self,
        state: &mut InstanceState<S::State>,
        command: SagaCommand,
        ctx: &Context,
    ) -> Result<StepResult, Refusal<SagaRefusal>> {
        let was_started = state.is_started();
        let quarantined_before = state.quarantined.clone();
        let depth = ctx.metadata().causation_depth;
        let mut step = Step::new(&self.saga, state, ctx.now());
        step.too_deep = (depth > self.causation_depth_max).then_some(depth);
        let result = step.take(command)?;
        if let Some(reason) = state.quarantined.as_ref()
            && quarantined_before.as_ref() != Some(reason)
        {
            tracing::error!(reason, "saga instance quarantined");
        }
        // What is passed over leaves nothing in the stream, and so nothing in the state.
        if !result.events.is_empty() {
            if !was_started {
                state.started_at = ctx.now();
                state.correlation_id = ctx.correlation_id();
            }
            state.moved_at = ctx.now();
        }
        Ok(result)
    }

    fn stream(&self, state: &InstanceState<S::State>) -> Result<StreamId, Refusal<SagaRefusal>> {
        let id = AggregateId::new(&state.id).map_err(|error| {
            Refusal::Failed(CodecError::Unencodable {
                type_name: "saga id",
                reason: error.to_string(),
            })
        })?;
        Ok(StreamId::new(&state.tenant, &self.category, &id))
    }
}

impl<S: Saga> Entity for SagaEntity<S> {
    type State = InstanceState<S::State>;
    type Command = SagaCommand;
    type Reply = Work;
    type Rejection = SagaRefusal;

    fn category(&self) -> &Category {
        &self.category
    }

    fn initial(&self, stream: &StreamId) -> Self::State {
        let tenant = Tenant::try_from(stream.tenant().to_owned()).unwrap_or_default();
        InstanceState::new(tenant, stream.id().to_owned())
    }

    fn fold(
        &self,
        state: &mut Self::State,
        commit: &RecordedCommit,
        part: &PartRef<'_>,
    ) -> Result<(), FoldError> {
        if part.event_count() == 0 {
            return Ok(());
        }
        let info = CommitInfo::of(commit);
        state.fold_commit(&info);
        for event in part.events() {
            let read = self.reader.read(&event, |recorded| {
                state.fold(&info, &recorded, S::evolve);
            });
            read.map_err(|error| FoldError {
                event_type: event.event_type().to_owned(),
                version: event.version(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    fn decide(
        &self,
        state: &mut Self::State,
        command: SagaCommand,
        ctx: &Context,
    ) -> Result<Draft<Work>, Refusal<SagaRefusal>> {
        let stream = self.stream(state)?;
        let span = tracing::debug_span!(
            "saga step",
            saga = S::NAME,
            id = state.id,
            correlation_id = %ctx.correlation_id(),
        );
        let _entered = span.entered();
        let had_ended = state.ended.is_some();
        let decided_before = state.effects.decided();
        let occupied = state.occupies.clone();
        // After a recovery it is not known; after a step it is as the step left it.
        let open = match state.listed.take() {
            Some(open) => open,
            None => self.listed(state),
        };
        let fired = match &command {
            SagaCommand::Fire { key, due } => Some((key.clone(), *due)),
            _ => None,
        };
        let (sends_again, stood) = (command.sends_again(), state.stands());
        let (takes_up, early_before) = (command.takes_up(), state.early.len());
        let is_resumed = matches!(command, SagaCommand::Resume);
        let StepResult {
            events,
            mut due,
            moved,
            dated,
        } = self.step(state, command, ctx)?;
        if is_resumed {
            let effects = state.effects.indices().into_iter();
            due.extend(effects.flat_map(Action::both_of));
        }
        let mut records = Vec::new();
        if events.is_empty() {
            state.listed = Some(open);
        } else {
            state.listed = Some(self.listed(state));
            records = self.records(&stream, open.as_deref(), &moved, &dated, state);
        }
        if let Some((key, due)) = fired
            && moved.get(&key) != Some(&Some(due))
        {
            // Nobody handles it any more; it must not come due again.
            records.push(self.timer(&stream, &key, due, None));
        }
        // Undos that waited while it stood may have been sent before that, whatever goes on with it now.
        let goes_on = stood && !state.stands();
        let sent = SentBefore {
            effects: decided_before,
            undos: sends_again || goes_on,
        };
        let mut reply = work(state, due, sent, ctx);
        // The first of those that were armed just now. One armed before was noticed then, and says nothing of these: by the
        // clock as it is now it may be due later, though its date comes first.
        let armed = moved.keys().filter_map(|key| state.timers.get(key));
        reply.armed = armed.min().copied();
        reply.ended = state.ended.clone().filter(|_| !had_ended);
        reply.occupancy = OccupancyChange::between(occupied, state.occupies.as_ref());
        let begins = state.early.len() < early_before;
        reply.takes_up = (takes_up || begins) && state.takes_up();
        reached(CrashPlace::SagaCommit);
        Ok(Draft {
            events,
            records,
            reply,
        })
    }

    fn committed(&self, stream: &StreamId, work: &Work, sequence: LogSequence) {
        reached(CrashPlace::SagaCommitted);
        if let Some(ending) = &work.ended {
            self.endings.tell(stream, ending);
        }
        if let Some(change) = &work.occupancy {
            self.child_places.change(stream, change);
        }
        self.backlog.push(stream, work, sequence);
    }

    fn rests(&self, state: &Self::State) -> bool {
        // Nothing is under way: the next thing that comes is an event, a timer or a person.
        !state.has_work()
    }

    fn snapshot_version(&self) -> u32 {
        // The executor's own shape in the upper half, the saga's in the lower. Those of the sixth may miss effects whose
        // answers were still to be taken in, those of the seventh say nothing of places of children.
        (8 << 16) | (S::VERSION & 0xffff)
    }

    fn snapshot(&self, state: &Self::State) -> Result<Bytes, CodecError> {
        encode_shaped(state)
    }

    fn restore(&self, _: &StreamId, payload: &[u8]) -> Result<Self::State, CodecError> {
        decode_shaped(payload)
    }

    fn decode_command(&self, _: CodecId, _: &[u8]) -> Result<SagaCommand, CodecError> {
        Err(not_a_target())
    }

    fn encode_outcome(&self, _: Result<&Work, &SagaRefusal>) -> Result<EncodedOutcome, CodecError> {
        // Inputs are recognised by position and effect, not by command id: nothing need be remembered.
        let (type_name, schema_version) = (String::new(), SchemaVersion::FIRST);
        Ok(EncodedOutcome {
            type_name,
            schema_version,
            codec: CodecId::RAW,
            payload: Bytes::new(),
        })
    }

    fn decode_outcome(
        &self,
        _: OutcomeResult,
        _: CodecId,
        _: &[u8],
    ) -> Result<Result<Work, SagaRefusal>, CodecError> {
        Err(not_a_target())
    }
}

fn not_a_target() -> CodecError {
    CodecError::Undecodable {
        type_name: "a saga's command",
        reason: "sagas are told of events and outcomes, not sent commands".to_owned(),
    }
}

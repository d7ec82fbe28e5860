//! The streams of a log, against the definition of today: would it decide the same?

use std::collections::BTreeMap;

use chronicler_domain::{Event, GlobalPosition, Tenant, Timestamp};
use chronicler_store::codec::{CodecError, CodecId, EventDecoder, PayloadCodec, encode_event};
use chronicler_store::{
    AllQuery, EventLog, EventRef, Filter, NewEvent, PartRef, ReadError, RecordedCommit, Start,
};
use futures::StreamExt;

use crate::definition::answer::Answer;
use crate::definition::effect::Request;
use crate::definition::input::RoutedEvent;
use crate::definition::payload::Payload;
use crate::definition::routes::{Delivery, Routes};
use crate::definition::saga::CATEGORY_PREFIX;
use crate::definition::saga::Saga;
use crate::instance::action::{Action, Way};
use crate::instance::entry::{Entry, OWN_PREFIX, StalledInput};
use crate::instance::fold::{CommitInfo, Recorded, StreamReader};
use crate::instance::state::InstanceState;
use crate::instance::transition::command::{Part, SagaCommand};
use crate::instance::transition::step::{Step, cycle_of};

/// The findings of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Instances that were looked at.
    pub instances: usize,
    /// Inputs that were decided again.
    pub inputs: usize,
    /// Where the definition of today decides otherwise.
    pub differences: Vec<ReplayDifference>,
}

/// One input that would be decided otherwise today.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayDifference {
    /// The key of the instance's stream.
    pub stream: String,
    /// Where what was decided begins in the log.
    pub position: GlobalPosition,
    /// What was decided: each event's type, and what it holds in words.
    pub recorded: Vec<String>,
    /// What would be decided.
    pub today: Vec<String>,
}

/// A log cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be decoded any more.
    #[error("the event at position {position}: {source}")]
    Event {
        /// Where it lies.
        position: GlobalPosition,
        /// Why.
        source: CodecError,
    },
}

fn at(event: &EventRef<'_>) -> impl FnOnce(CodecError) -> ReplayError + use<> {
    let position = event.position();
    move |source| ReplayError::Event { position, source }
}

/// Gives every instance of a saga that a log holds its inputs once more, and compares what it then decides with what is
/// recorded. What operators did, and what the machinery noted, is taken as it was. Changes nothing.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay<S: Saga>(log: &dyn EventLog, saga: &S) -> Result<ReplayReport, ReplayError> {
    let routes = Routes::<S>::of_saga();
    let mut replay = Replay {
        log,
        saga,
        routes,
        reader: StreamReader::new(),
        states: BTreeMap::new(),
        found: ReplayReport::default(),
    };
    let category = format!("{CATEGORY_PREFIX}{}", S::NAME);
    let filter = Filter {
        categories: [category.clone()].into(),
        ..Filter::default()
    };
    let mut commits = log.read_all(AllQuery {
        filter,
        ..AllQuery::from(Start::Position(GlobalPosition::ZERO))
    });
    while let Some(batch) = commits.next().await {
        for commit in batch? {
            for part in commit.parts().filter(|part| part.category() == category) {
                replay.commit(&commit, &part).await?;
            }
        }
    }
    replay.found.instances = replay.states.len();
    Ok(replay.found)
}

struct Replay<'a, S: Saga> {
    log: &'a dyn EventLog,
    saga: &'a S,
    routes: Routes<S>,
    reader: StreamReader<S::Event>,
    states: BTreeMap<String, InstanceState<S::State>>,
    found: ReplayReport,
}

impl<S: Saga> Replay<'_, S> {
    async fn commit(
        &mut self,
        commit: &RecordedCommit,
        part: &PartRef<'_>,
    ) -> Result<(), ReplayError> {
        let Some(stream) = part.stream() else {
            return Ok(());
        };
        let key = stream.key().to_owned();
        let mut recorded = Vec::new();
        for event in part.events() {
            let read = self.reader.read(&event, |event| recorded.push(event));
            read.map_err(at(&event))?;
        }
        let mut state = self.states.remove(&key).unwrap_or_else(|| {
            let tenant = Tenant::try_from(part.tenant().to_owned()).unwrap_or_default();
            InstanceState::new(tenant, part.id().to_owned())
        });
        if let Some(command) = self.input(&state, &recorded).await? {
            self.found.inputs += 1;
            let (events, refusal) = self.play(&state, command, commit, &recorded);
            if refusal.is_some() || !is_same(&state, &recorded, &events) {
                let position = part.events().next().map(|event| event.position());
                let mut today: Vec<_> = events.iter().map(words).collect();
                today.extend(refusal);
                self.found.differences.push(ReplayDifference {
                    stream: key.clone(),
                    position: position.unwrap_or_default(),
                    recorded: recorded.iter().map(shown).collect(),
                    today,
                });
            }
        }
        let info = CommitInfo::of(commit);
        state.fold_commit(&info);
        for event in &recorded {
            state.fold(&info, event, S::evolve);
        }
        self.states.insert(key, state);
        Ok(())
    }

    /// What the definition of today makes of an input: the events, or why it refuses.
    fn play(
        &self,
        state: &InstanceState<S::State>,
        command: SagaCommand,
        commit: &RecordedCommit,
        recorded: &[Recorded<S::Event>],
    ) -> (Vec<NewEvent>, Option<String>) {
        let entries = || recorded.iter().filter_map(Recorded::entry);
        // How deep is too deep may be another today: what was cut then is.
        let depth = commit.metadata().causation_depth;
        let is_cut = |entry: &Entry| matches!(entry, Entry::Quarantined { reason } if *reason == cycle_of(depth));
        let cut_at = entries().any(is_cut).then_some(depth);
        let play = |now: Timestamp, command: SagaCommand| {
            let mut again = state.clone();
            let mut step = Step::new(self.saga, &mut again, now);
            step.too_deep = cut_at;
            match step.take(command) {
                Ok(taken) => (taken.events, None),
                Err(refusal) => (Vec::new(), Some(refusal.to_string())),
            }
        };
        let played = play(commit.timestamp(), command.clone());
        // It was decided a little before its commit was accepted.
        let today = self.read(&played.0);
        let early = first_armed(entries()).zip(first_armed(today.iter()));
        let early = early.map(|(then, today)| today.since(then));
        match early.filter(|early| !early.is_zero()) {
            Some(early) => play(commit.timestamp().minus(early), command),
            None => played,
        }
    }

    /// The entries among what was written.
    fn read(&self, written: &[NewEvent]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for event in written {
            let read = self.reader.read_new(event, |recorded| {
                entries.extend(recorded.entry().cloned());
            });
            // What cannot be read differs from what is recorded, and is told as that.
            drop(read);
        }
        entries
    }

    /// The input that led to a commit; `None` for what a person or the machinery noted.
    async fn input(
        &self,
        state: &InstanceState<S::State>,
        recorded: &[Recorded<S::Event>],
    ) -> Result<Option<SagaCommand>, ReplayError> {
        let entries = recorded.iter().filter_map(Recorded::entry);
        let given = entries.clone().find_map(|entry| match entry {
            Entry::Parts { places, of } => Some((places, *of)),
            _ => None,
        });
        // What waits says whether its route did, which may say something else today.
        let starting = entries.clone().filter_map(|entry| match entry {
            Entry::Stalled(StalledInput::Starting { place, .. }) => Some(*place),
            _ => None,
        });
        let starting: Vec<_> = starting.collect();
        for entry in entries.clone() {
            return Ok(match entry {
                Entry::Started { .. } => continue,
                Entry::Outcomes { answers } => several(answers, entries),
                Entry::Consumed { position } => Some(SagaCommand::Deliver {
                    position: *position,
                    parts: parts_of(self.events_at(*position).await?, given, &starting),
                    is_late: state.has_consumed(*position, false),
                }),
                Entry::Child {
                    parent,
                    codec,
                    start,
                } if *codec != 0 => Some(SagaCommand::Begin {
                    parent: parent.clone(),
                    start: Payload::new(CodecId::new(*codec), start.clone()),
                    occupies: entries.clone().find_map(|entry| match entry {
                        Entry::Occupies(place) => Some(place.clone()),
                        _ => None,
                    }),
                }),
                Entry::Answered { effect, answer } => Some(SagaCommand::Answer {
                    action: Action::of(*effect),
                    answer: answer.clone(),
                }),
                Entry::Undone { effect } => Some(SagaCommand::Answer {
                    action: Action::undo_of(*effect),
                    answer: Answer::nothing(),
                }),
                Entry::Fired { key } => {
                    let due = state.timers.get(key).copied();
                    due.map(|due| SagaCommand::Fire {
                        key: key.clone(),
                        due,
                    })
                }
                _ => None,
            });
        }
        Ok(None)
    }

    async fn events_at(&self, position: GlobalPosition) -> Result<Vec<RoutedEvent>, ReplayError> {
        let mut commits = self.log.read_all(AllQuery {
            to: position,
            ..AllQuery::from(Start::Position(position))
        });
        let mut found = Vec::new();
        while let Some(batch) = commits.next().await {
            for commit in batch? {
                for event in commit.events().filter(|event| event.position() == position) {
                    if let Some(entry) = self.routes.entries.get(event.part().category()) {
                        found.extend(entry.read(&event).map_err(at(&event))?);
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The answers that a commit took, as they were given; `None` if it does not say them all.
fn several<'a>(
    answers: &[Action],
    mut entries: impl Iterator<Item = &'a Entry>,
) -> Option<SagaCommand> {
    let given = answers.iter().map(|action| {
        let effect = &action.effect;
        let answer = entries.find_map(|entry| match (entry, action.way) {
            (Entry::Answered { effect: of, answer }, Way::Do) if of == effect => {
                Some(answer.clone())
            }
            // The outcome of a pivot that nobody knows is for a person.
            (Entry::Parked { effect: of, reason }, Way::Do) if of == effect => {
                Some(Answer::Unknown(reason.clone()))
            }
            (Entry::Undone { effect: of }, Way::Undo) if of == effect => Some(Answer::nothing()),
            (Entry::UndoStuck { effect: of, .. }, Way::Undo) if of == effect => {
                Some(Answer::rejected(&()))
            }
            _ => None,
        });
        Some(SagaCommand::Answer {
            action: *action,
            answer: answer?,
        })
    });
    let given: Vec<_> = given.collect::<Option<_>>()?;
    (!given.is_empty()).then_some(SagaCommand::Several(given))
}

/// The parts that an instance was given of an event: those that are named, or all. Those of these places begin it.
fn parts_of(
    events: Vec<RoutedEvent>,
    given: Option<(&Vec<u32>, u32)>,
    starting: &[u32],
) -> Vec<Part> {
    let of = u32::try_from(events.len()).unwrap_or(u32::MAX);
    let parts = (0..).zip(events).map(|(place, event)| Part {
        place,
        of: given.map_or(1, |_| of),
        delivery: match starting.contains(&place) {
            true => Delivery::Start,
            false => Delivery::StartOrResume,
        },
        event,
    });
    let is_given = |part: &Part| given.is_none_or(|(places, _)| places.contains(&part.place));
    parts.filter(is_given).collect()
}

/// When the first timer among these is due.
fn first_armed<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> Option<Timestamp> {
    entries.find_map(|entry| match entry {
        Entry::Armed { due, .. } => Some(*due),
        _ => None,
    })
}

/// Whether what is decided today is what was recorded.
fn is_same<T, E: Event>(
    state: &InstanceState<T>,
    recorded: &[Recorded<E>],
    events: &[NewEvent],
) -> bool {
    let before: Vec<_> = recorded.iter().map(written).collect();
    let today: Vec<_> = events.iter().map(same).collect();
    match is_of_an_earlier_release(state, recorded) {
        true => types(&before).eq(types(&today)),
        false => before == today,
    }
}

/// What makes two events the same: their types and payloads, as written today.
fn same(event: &NewEvent) -> (String, Vec<u8>) {
    (event.event_type.to_string(), event.payload.to_vec())
}

fn types(events: &[(String, Vec<u8>)]) -> impl Iterator<Item = &str> {
    events.iter().map(|(event_type, _)| event_type.as_str())
}

/// Whether something in it was decided by a release that wrote what it sends in bincode. Today it is written by name, so
/// that its bytes cannot be compared; what happened can.
fn is_of_an_earlier_release<T, E>(state: &InstanceState<T>, recorded: &[Recorded<E>]) -> bool {
    let is_old = |request: &Request| match request {
        Request::Command { codec, .. } | Request::Start { codec, .. } => {
            *codec == CodecId::BINCODE.number()
        }
        Request::Call { .. } | Request::Nothing => false,
    };
    let of_recorded = recorded.iter().filter_map(Recorded::entry);
    let of_recorded = of_recorded.filter_map(|entry| match entry {
        Entry::Decided(spec) => Some(spec.as_ref()),
        _ => None,
    });
    let of_state = state.effects().iter().map(|effect| &effect.spec);
    of_recorded.chain(of_state).any(|spec| {
        let undo = spec.undo.as_ref().map(|undo| &undo.if_done);
        is_old(&spec.request) || undo.is_some_and(is_old)
    })
}

fn rewritten<E: Event>(event: &Recorded<E>) -> Option<NewEvent> {
    let codec = PayloadCodec::default();
    match event {
        Recorded::Entry(entry) => encode_event(codec, entry).ok(),
        Recorded::Own(event) => encode_event(codec, event).ok(),
    }
}

fn written<E: Event>(event: &Recorded<E>) -> (String, Vec<u8>) {
    rewritten(event).as_ref().map(same).unwrap_or_default()
}

fn shown<E: Event>(event: &Recorded<E>) -> String {
    match event {
        Recorded::Entry(entry) => format!("{entry:?}"),
        Recorded::Own(_) => rewritten(event).as_ref().map(words).unwrap_or_default(),
    }
}

fn words(event: &NewEvent) -> String {
    let (codec, version) = (event.codec, event.schema_version);
    let name = &event.event_type;
    let entry = name.starts_with(OWN_PREFIX).then(|| {
        let decoder = EventDecoder::<Entry>::new();
        let decoded = decoder.decode_parts(codec, name, version, &event.payload);
        decoded.ok().and_then(|decoded| decoded.into_iter().next())
    });
    match entry.flatten() {
        Some(entry) => format!("{entry:?}"),
        None => format!("{name} of {} bytes", event.payload.len()),
    }
}

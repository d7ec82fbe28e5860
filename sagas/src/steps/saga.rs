//! A step saga as the executor knows it: one decision for each input.

use std::fmt::{self, Debug};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::Define;
use super::definition::Definition;
use super::list::Nil;
use super::node::{Kind, Node, Plan};
use super::phase::Compensable;
use super::state::{StepEvent, StepState};
use crate::answer::{Answer, Outcome};
use crate::effect::{Request, Undo};
use crate::next::Next;
use crate::routes::Routes;
use crate::saga::{Input, Saga, SagaContext};

/// A process as a list of steps. [`Steps`] makes a saga of it.
pub trait StepSaga: Send + Sync + 'static {
    /// The stable name of the process in the log. 1 to 90 bytes.
    const NAME: &'static str;
    /// The version of its definition; journaled with each instance.
    const VERSION: u32 = 1;

    /// What an instance begins with, and every step can see.
    type Start: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Says which events concern which instances.
    fn routes(on: &mut Routes<Steps<Self>>)
    where
        Self: Sized;

    /// What an instance begins with, from the event that starts it. `None` quarantines the instance: the event was
    /// routed to it, and nothing says what to do.
    fn begin(event: &Input) -> Option<Self::Start>;

    /// What an event says that is routed to an instance that has begun.
    fn heard(event: &Input, start: &Self::Start) -> Heard {
        let _ = (event, start);
        Heard::Nothing
    }

    /// Writes the steps.
    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self>
    where
        Self: Sized;
}

/// What an event says to an instance that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// Nothing that matters.
    Nothing,
    /// It is to be undone. Past the pivot, or while it is under way, that is noted and refused; if the pivot is then
    /// rejected, it is undone all the same.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// A saga made of steps: what is registered with an application.
pub struct Steps<S: StepSaga> {
    definition: Definition<S>,
}

impl<S: StepSaga> Steps<S> {
    /// The saga of this definition.
    pub fn of() -> Self {
        Self {
            definition: S::define(Define::begin()),
        }
    }

    /// The definition.
    pub fn definition(&self) -> &Definition<S> {
        &self.definition
    }
}

impl<S: StepSaga> Default for Steps<S> {
    fn default() -> Self {
        Self::of()
    }
}

impl<S: StepSaga> Debug for Steps<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(S::NAME).field(&self.definition).finish()
    }
}

/// A decision that is being made, and the state as it will be.
struct Course<'a, S: StepSaga> {
    definition: &'a Definition<S>,
    context: &'a SagaContext,
    state: StepState<S>,
    next: Next<Steps<S>>,
}

impl<S: StepSaga> Saga for Steps<S> {
    const NAME: &'static str = S::NAME;
    const VERSION: u32 = S::VERSION;

    type State = StepState<S>;
    type Event = StepEvent<S::Start>;

    fn routes(on: &mut Routes<Self>) {
        S::routes(on);
    }

    fn problems(&self) -> Vec<String> {
        self.definition.problems()
    }

    fn on(&self, state: &StepState<S>, input: &Input, context: &SagaContext) -> Next<Self> {
        let course = Course {
            definition: &self.definition,
            context,
            state: state.clone(),
            next: Next::stay(),
        };
        match (&state.start, input) {
            (None, Input::Event(_)) => match S::begin(input) {
                Some(start) => course.begin(start),
                None => course.mistaken("an event was routed here that begins nothing".to_owned()),
            },
            // What is said to a saga that is being compensated changes nothing.
            (_, Input::Compensated { .. }) | (None, _) => course.next,
            _ if state.fingerprint != self.definition.fingerprint => course.changed(),
            (Some(start), Input::Event(_)) => match S::heard(input, start) {
                Heard::Nothing => course.next,
                Heard::Cancel { reason } => course.cancel(reason),
            },
            (_, Input::Outcome(outcome)) => course.answered(outcome),
            (_, Input::Timer(key)) => course.late(key),
        }
    }

    fn on_late(
        &self,
        state: &StepState<S>,
        outcome: &Outcome,
        context: &SagaContext,
    ) -> Next<Self> {
        let course = Course {
            definition: &self.definition,
            context,
            state: state.clone(),
            next: Next::stay(),
        };
        // Whatever else has changed: a step that is still there knows how it is taken back.
        course.undone_late(outcome)
    }

    fn evolve(state: &mut StepState<S>, event: &StepEvent<S::Start>) {
        state.apply(event);
    }
}

impl<S: StepSaga> Course<'_, S> {
    fn begin(mut self, start: S::Start) -> Next<Steps<S>> {
        let steps = self.definition.steps().map(str::to_owned).collect();
        let fingerprint = self.definition.fingerprint;
        self.note(StepEvent::Begun {
            start,
            fingerprint,
            steps,
        });
        self.go_on()
    }

    /// The definition is another than the one it began under.
    fn changed(self) -> Next<Steps<S>> {
        let now: Vec<_> = self.definition.steps().collect();
        let reason = format!(
            "it began under another definition, of the steps {:?}; this application has {now:?}: release it with the application that began it",
            self.state.steps
        );
        self.mistaken(reason)
    }

    fn cancel(mut self, reason: String) -> Next<Steps<S>> {
        let pivot_begun =
            self.current().is_none_or(|node| node.kind == Kind::Pivot) || self.is_past_pivot();
        if pivot_begun {
            self.note(StepEvent::CancelRefused { reason });
            return self.next;
        }
        self.next.compensate(reason)
    }

    fn late(self, key: &str) -> Next<Steps<S>> {
        let current = self.current();
        match current {
            // A timer of a step that was answered meanwhile is disarmed; this is for one that fired just then.
            Some(node) if timer(node.id) == key && !self.is_past_pivot() => {
                let reason = format!("step {:?} took too long", node.id);
                self.next.compensate(reason)
            }
            _ => self.next,
        }
    }

    fn answered(mut self, outcome: &Outcome) -> Next<Steps<S>> {
        let (id, item) = split(outcome.key());
        let definition = self.definition;
        let Some(node) = definition.node(id) else {
            let reason = format!("an outcome of step {id:?}, which the definition does not have");
            return self.mistaken(reason);
        };
        match outcome.answer() {
            Answer::Done { codec, payload } => self.done(node, item, *codec, payload),
            Answer::Rejected { codec, payload } => {
                let said = (node.words)((*codec, payload));
                let reason = match self.state.cancel_refused.take() {
                    Some(asked) => {
                        format!("step {id:?} was rejected ({said}), and before that: {asked}")
                    }
                    None => format!("step {id:?} was rejected: {said}"),
                };
                self.given_up(node, reason)
            }
            Answer::Unknown { reason } => {
                let reason = format!("what became of step {id:?} is unknown: {reason}");
                self.given_up(node, reason)
            }
        }
    }

    /// Only says how a step is taken back that was done after compensation had begun.
    fn undone_late(self, outcome: &Outcome) -> Next<Steps<S>> {
        let (id, item) = split(outcome.key());
        let Answer::Done { codec, payload } = outcome.answer() else {
            return self.next;
        };
        let Some(node) = self.definition.node(id) else {
            let reason =
                format!("step {id:?} is to be taken back, and the definition does not have it");
            return self.mistaken(reason);
        };
        let Some(undo) = &node.undo else {
            return self.next;
        };
        let place = item.unwrap_or_default();
        match undo(&self.state, self.context, place, (*codec, payload)) {
            Ok(request) => self.next.undone_later(outcome.key().to_owned(), request),
            Err(reason) => self.mistaken(format!("the undo of {id:?}: {reason}")),
        }
    }

    fn given_up(self, node: &Node<S>, reason: String) -> Next<Steps<S>> {
        if self.is_past_pivot() {
            return self.mistaken(format!("after its pivot: {reason}"));
        }
        let next = match node.timeout {
            Some(_) => self.next.cancel_timer(timer(node.id)),
            None => self.next,
        };
        next.compensate(reason)
    }

    fn done(
        mut self,
        node: &Node<S>,
        item: Option<usize>,
        codec: u8,
        payload: &[u8],
    ) -> Next<Steps<S>> {
        if let Some(undo) = &node.undo {
            let key = key_of(node.id, item);
            let place = item.unwrap_or_default();
            match undo(&self.state, self.context, place, (codec, payload)) {
                // What is registered before the outcome of a call is known stands for an unknown one.
                Ok(request) => self.next = self.next.undone_later(key, request),
                Err(reason) => {
                    return self.mistaken(format!("the undo of {:?}: {reason}", node.id));
                }
            }
        }
        let step = node.id.to_owned();
        if let Some(item) = item {
            self.note(StepEvent::Heard {
                step,
                item: u32::try_from(item).unwrap_or(u32::MAX),
                codec,
                reply: payload.to_vec(),
            });
            let Some(replies) = self
                .state
                .spread
                .iter()
                .cloned()
                .collect::<Option<Vec<_>>>()
            else {
                return self.next;
            };
            return self.joined(node, &replies);
        }
        self.note(StepEvent::Did {
            step,
            codec,
            output: payload.to_vec(),
        });
        self.behind(node)
    }

    /// All commands of a step are answered.
    fn joined(mut self, node: &Node<S>, replies: &[(u8, Vec<u8>)]) -> Next<Steps<S>> {
        let output = match &node.join {
            Some(join) => join(replies),
            None => Err("it has one command only".to_owned()),
        };
        match output {
            Ok(output) => {
                self.did(node, output);
                self.behind(node)
            }
            Err(reason) => self.mistaken(format!("the replies of {:?}: {reason}", node.id)),
        }
    }

    fn behind(mut self, node: &Node<S>) -> Next<Steps<S>> {
        if node.timeout.is_some() {
            self.next = self.next.cancel_timer(timer(node.id));
        }
        if node.kind.is_pivot() {
            self.next = self.next.pivot();
        }
        self.go_on()
    }

    /// Goes on until something has to be waited for.
    fn go_on(mut self) -> Next<Steps<S>> {
        let definition = self.definition;
        while let Some(node) = definition.nodes.iter().find(|node| self.is_ahead(node)) {
            let plan = match (node.plan)(&self.state, self.context) {
                Ok(plan) => plan,
                Err(reason) => return self.mistaken(format!("step {:?}: {reason}", node.id)),
            };
            match plan {
                Plan::Skip => self.note(StepEvent::Skipped {
                    step: node.id.to_owned(),
                }),
                Plan::Settled(output) => {
                    self.did(node, output);
                    if node.kind.is_pivot() {
                        self.next = self.next.pivot();
                    }
                }
                Plan::Refused(reason) => {
                    let reason = format!("step {:?}: {reason}", node.id);
                    return self.next.compensate(reason);
                }
                Plan::UndoOnly(request) => {
                    let undo = Undo {
                        if_done: request,
                        if_unknown: None,
                    };
                    self.next = self.next.effect(node.id.to_owned(), Request::Nothing);
                    self.next = self.next.undone_by(undo);
                    self.did(node, Vec::new());
                }
                Plan::One {
                    request,
                    if_unknown,
                } => {
                    self.next = self.next.effect(node.id.to_owned(), request);
                    if let Some(request) = if_unknown {
                        self.next = self.next.undone_by(Undo {
                            if_done: request.clone(),
                            if_unknown: Some(request),
                        });
                    }
                    if node.kind == Kind::Pivot {
                        self.next = self.next.pivoting();
                    }
                    return self.limited(node);
                }
                Plan::Many(requests) if requests.is_empty() => {
                    return self.joined(node, &[]);
                }
                Plan::Many(requests) => {
                    let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
                    self.note(StepEvent::Spread {
                        step: node.id.to_owned(),
                        count,
                    });
                    for (item, request) in requests.into_iter().enumerate() {
                        self.next = self.next.effect(key_of(node.id, Some(item)), request);
                    }
                    return self.limited(node);
                }
            }
        }
        self.next.complete()
    }

    fn limited(self, node: &Node<S>) -> Next<Steps<S>> {
        match node.timeout {
            Some(limit) => self.next.timer(timer(node.id), limit),
            None => self.next,
        }
    }

    fn did(&mut self, node: &Node<S>, output: Vec<u8>) {
        self.note(StepEvent::Did {
            step: node.id.to_owned(),
            codec: chronicler_store::codec::PayloadCodec::default()
                .id()
                .number(),
            output,
        });
    }

    fn note(&mut self, event: StepEvent<S::Start>) {
        self.state.apply(&event);
        let next = std::mem::replace(&mut self.next, Next::stay());
        self.next = next.record(event);
    }

    fn mistaken(self, reason: String) -> Next<Steps<S>> {
        self.next.mistaken(S::NAME, reason)
    }

    fn is_ahead(&self, node: &Node<S>) -> bool {
        !self.state.is_done(node.id) && !self.state.is_skipped(node.id)
    }

    /// The step that is under way.
    fn current(&self) -> Option<&Node<S>> {
        self.definition
            .nodes
            .iter()
            .find(|node| self.is_ahead(node))
    }

    fn is_past_pivot(&self) -> bool {
        let pivot = self
            .definition
            .nodes
            .iter()
            .find(|node| node.kind.is_pivot());
        pivot.is_some_and(|pivot| !self.is_ahead(pivot))
    }
}

fn timer(step: &str) -> String {
    format!("step:{step}")
}

/// The key of a step's effect, or of one of its several.
fn key_of(step: &str, item: Option<usize>) -> String {
    match item {
        Some(item) => format!("{step}[{item}]"),
        None => step.to_owned(),
    }
}

fn split(key: &str) -> (&str, Option<usize>) {
    let several = key.strip_suffix(']').and_then(|key| key.split_once('['));
    match several.and_then(|(id, item)| Some((id, item.parse().ok()?))) {
        Some((id, item)) => (id, Some(item)),
        None => (key, None),
    }
}

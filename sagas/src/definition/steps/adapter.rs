//! A saga of steps as any other saga: what each input leads to.

use super::definition::Definition;
use super::effect_key::{look_of, timer_of};
use super::migrate::Migration;
use super::node::Kind;
use super::saga::{Heard, Signal, StepSaga, Steps};
use super::state::{StepEvent, StepState};
use super::step_decision::StepDecision;
use crate::definition::answer::EffectAnswer;
use crate::definition::effect_view::EffectView;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::Routes;
use crate::definition::saga::Saga;

impl<S: StepSaga> Saga for Steps<S> {
    const NAME: &'static str = S::NAME;
    const VERSION: u32 = S::VERSION;

    type State = StepState<S::Start>;
    type Event = StepEvent<S::Start>;

    fn routes(on: &mut Routes<Self>) {
        S::routes(on);
    }

    fn problems(&self) -> Vec<String> {
        let older = self.older.iter().flat_map(Definition::problems);
        let mut problems = self.definition.problems();
        problems.extend(older.map(|problem| format!("in an older definition, {problem}")));
        for (place, older) in self.older.iter().enumerate() {
            let is_another = |other: &Definition<S>| other.fingerprint == older.fingerprint;
            if is_another(&self.definition) || self.older.iter().take(place).any(is_another) {
                problems.push(format!(
                    "two of its definitions have the same steps: {:?}",
                    older.steps().collect::<Vec<_>>()
                ));
            }
        }
        problems
    }

    fn doubts(&self) -> Vec<String> {
        self.definition.doubts()
    }

    fn end_needs(&self, _: &StepState<S::Start>, _: &str) -> bool {
        false
    }

    fn has_begun(&self, state: &StepState<S::Start>) -> Option<bool> {
        Some(state.start.is_some())
    }

    fn waits_for(&self, state: &StepState<S::Start>) -> Vec<String> {
        if state.start.is_none() {
            return vec!["the event that begins it".to_owned()];
        }
        let Some(definition) = self.definition_of(state) else {
            return Vec::new();
        };
        let nodes = definition.nodes.iter();
        nodes
            .filter(|node| node.kind == Kind::Wait && definition.is_next(state, node))
            .map(|node| node.id.to_owned())
            .collect()
    }

    fn remaining(&self, state: &StepState<S::Start>) -> Vec<String> {
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        let nodes = definition.nodes.iter();
        nodes
            .filter(|node| state.is_ahead(node.id))
            .map(|node| node.id.to_owned())
            .collect()
    }

    fn diagram(&self, state: &StepState<S::Start>, effects: &[EffectView]) -> Option<String> {
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        Some(definition.to_mermaid_of(state, effects))
    }

    fn on(&self, state: &StepState<S::Start>, input: &Input, context: &SagaContext) -> Next<Self> {
        let known = self.definition_of(state);
        let definition = known.unwrap_or(&self.definition);
        let course = StepDecision::new(definition, context, state.clone());
        let Some(start) = &state.start else {
            let newest = StepDecision::new(&self.definition, context, state.clone());
            return match input {
                Input::Event(_) => match S::begin(input) {
                    Some(start) => newest.begin(start),
                    // It may be what a step waits for, said too early: it is kept until the one that begins it.
                    None => Next::came_early(),
                },
                Input::Begin(message) => match message.decode() {
                    Ok(start) => newest.begin(start),
                    Err(error) => newest.mistaken(format!("what it is to begin with: {error}")),
                },
                // It waits until then.
                Input::Signal(message) => newest.told(Signal::of(message)),
                _ => newest.next,
            };
        };
        match input {
            Input::Begin(_) => course.next,
            Input::Cancelled { reason, .. } => course.cancelled(reason.clone()),
            Input::Compensated { reason } => course.last_words(reason.clone()),
            Input::Migrate { from } => self.migrated(*from, state, context),
            _ if known.is_none() => course.changed(),
            Input::Event(_) => match start.read().map(|start| S::heard(input, start)) {
                Ok(Heard::Nothing) => course.next,
                Ok(Heard::Signal(signal)) => course.told(signal),
                Ok(Heard::Cancel { reason }) => course.cancel(reason),
                Err(error) => course.mistaken(error.to_string()),
            },
            Input::Signal(message) => course.told(Signal::of(message)),
            Input::Answer(outcome) => course.answered(outcome),
            Input::Timer(key) => course.late(key),
        }
    }

    fn on_late(
        &self,
        state: &StepState<S::Start>,
        outcome: &EffectAnswer,
        context: &SagaContext,
    ) -> Next<Self> {
        // Whatever else has changed: a step that is still there knows how it is taken back.
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        StepDecision::new(definition, context, state.clone()).undone_late(outcome)
    }

    fn evolve(state: &mut StepState<S::Start>, event: &StepEvent<S::Start>) {
        state.apply(event);
    }
}

impl<S: StepSaga> Steps<S> {
    /// The definition that an instance goes by.
    fn definition_of(&self, state: &StepState<S::Start>) -> Option<&Definition<S>> {
        let all = std::iter::once(&self.definition).chain(&self.older);
        all.into_iter()
            .find(|definition| definition.fingerprint == state.fingerprint)
    }

    /// Takes an instance over to the newest definition.
    fn migrated(
        &self,
        from: u32,
        state: &StepState<S::Start>,
        context: &SagaContext,
    ) -> Next<Self> {
        let mut course = StepDecision::new(&self.definition, context, state.clone());
        if state.fingerprint == self.definition.fingerprint {
            return course.next;
        }
        let mut migration = Migration::of(from, state);
        let migrated = S::migrate(&mut migration).and_then(|()| {
            let Definition {
                nodes, fingerprint, ..
            } = &self.definition;
            migration.into_event(nodes, *fingerprint)
        });
        match migrated {
            Ok(event) => {
                course.note(event);
                if !state.escalated.is_empty() {
                    course.next = course.next.deescalate();
                }
                for step in state.steps.iter() {
                    course.next = course.next.cancel_timer(timer_of(step));
                    course.next = course.next.cancel_timer(look_of(step));
                }
                if course.is_past_pivot() {
                    course.next = course.next.pivot();
                }
                course.go_on()
            }
            Err(reason) => course.mistaken(reason),
        }
    }
}

//! One instance in the middle of its life, without its stream: what the test kit asks for single decisions.

use chronicler_domain::{Tenant, Timestamp};

use crate::definition::input::Input;
use crate::definition::next::Next;
use crate::definition::saga::Saga;
use crate::instance::entry::Entry;
use crate::instance::state::InstanceState;
use crate::instance::transition::step::Step;

/// One instance of a saga whose past is only told as far as it matters: it is given an input, and its decision is looked
/// through as in an application.
pub struct Rehearsal<S: Saga> {
    saga: S,
    state: InstanceState<S::State>,
    now: Timestamp,
}

impl<S: Saga> Rehearsal<S> {
    /// An instance of this id that remembers nothing yet.
    pub fn new(saga: S, id: &str, now: Timestamp) -> Self {
        Self {
            saga,
            state: InstanceState::new(Tenant::default(), id.to_owned()),
            now,
        }
    }

    /// It has this id.
    pub fn rename(&mut self, id: String) {
        self.state.id = id;
    }

    /// The next input comes at this time.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// It remembers this, too.
    pub fn remember(&mut self, event: &S::Event) {
        S::evolve(&mut self.state.user, event);
    }

    /// What it did is undone from here on, for this reason.
    pub fn compensate(&mut self, reason: String) {
        self.state.apply(&Entry::Compensating { reason, by: None });
    }

    /// What it knows.
    pub fn state(&self) -> &S::State {
        &self.state.user
    }

    /// What it decides on an input: nothing if that does not matter any more, as when it has ended, or if it is being
    /// compensated and the input is not the answer to something that was done.
    ///
    /// # Errors
    /// Why an instance is quarantined at this input.
    pub fn react(&mut self, input: &Input) -> Result<Next<S>, String> {
        if let (Input::Compensated { reason }, true) = (input, self.state.is_forward()) {
            self.compensate(reason.clone());
        }
        if matches!(input, Input::Compensated { .. }) {
            self.state.apply(&Entry::Closing);
        }
        let decided = self.step().decided(input);
        let decided = decided.map_err(|fault| fault.to_string())?;
        Ok(decided.unwrap_or_else(Next::stay))
    }

    /// Takes what it decided on an input, and is as that leaves it.
    ///
    /// # Errors
    /// Why an instance is quarantined at this input.
    pub fn follow(&mut self, next: Next<S>, input: &Input) -> Result<(), String> {
        let followed = self.step().follow(next, input);
        followed.map_err(|fault| fault.to_string())?;
        if let Input::Cancelled { reason, .. } = input {
            self.compensate(reason.clone());
        }
        Ok(())
    }

    fn step(&mut self) -> Step<'_, S> {
        let mut step = Step::new(&self.saga, &mut self.state, self.now);
        step.knows_all_keys = true;
        step
    }
}

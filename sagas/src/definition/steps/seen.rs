//! The knowledge of a step.

use std::fmt::{self, Debug};

use chronicler_domain::{Tenant, Timestamp};

use super::key::StepKey;
use super::list::{HasRun, MayHaveRun, StepList};
use super::node::Situation;
use super::saga::StepSaga;
use crate::definition::error::DefinitionError;
use crate::definition::input::SagaContext;

/// The knowledge of a step: what the saga began with, and what the steps before it gave.
pub struct Seen<'a, S: StepSaga, L: StepList> {
    start: &'a S::Start,
    context: &'a SagaContext,
    tried: u32,
    values: L::Values,
}

/// The end of a call that is to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<'a, T> {
    /// The service did it.
    Done(&'a T),
    /// It may have done it, or not: no answer came.
    Unknown,
}

impl<'a, S: StepSaga, L: StepList> Seen<'a, S, L> {
    pub(super) fn new(told: Situation<'a, S::Start>) -> Result<Self, DefinitionError> {
        let start = told.state.start.as_ref().ok_or(DefinitionError::NotBegun)?;
        let start = start.read()?;
        let values = L::read(&told.state.outputs)?;
        Ok(Self {
            start,
            context: told.context,
            tried: told.place.tried,
            values,
        })
    }

    /// What it began with.
    pub fn start(&self) -> &'a S::Start {
        self.start
    }

    /// The instance's id.
    pub fn id(&self) -> &'a str {
        &self.context.id
    }

    /// Whose data it is.
    pub fn tenant(&self) -> &'a Tenant {
        &self.context.tenant
    }

    /// When the input was taken that led here.
    pub fn now(&self) -> Timestamp {
        self.context.now
    }

    /// How many alternatives of this step were refused before, see [`or_else`](super::Define::or_else); 0 at first. In
    /// its undo, how many were before the one that is taken back.
    pub fn tried(&self) -> u32 {
        self.tried
    }

    /// What a step before this one gave.
    pub fn output<K: StepKey, At>(&self, _: K) -> &K::Output
    where
        L: HasRun<K, At>,
    {
        L::value(&self.values)
    }

    /// What a step before this one gave that runs under a condition; `None` if it was skipped.
    pub fn output_if_run<K: StepKey, At>(&self, _: K) -> Option<&K::Output>
    where
        L: MayHaveRun<K, At>,
    {
        L::value_if_run(&self.values)
    }
}

impl<S: StepSaga, L: StepList> Debug for Seen<'_, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("context", self.context)
            .finish_non_exhaustive()
    }
}

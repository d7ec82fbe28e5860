//! The standing of an instance: for people, and for the list of the open ones. Neither walks over all of its effects.

use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::instance::open_fact::{OpenFact, OpenStatus};
use crate::instance::state::{Course, InstanceState};
use crate::instance::status::SagaStatus;

/// The room that a child waits for, in words.
fn room_of(effect: &EffectView) -> String {
    let resource = effect.terms.resource.as_ref();
    let resource = resource.map(|(name, _)| name.as_str()).unwrap_or_default();
    let child = effect.spec.request.describe();
    format!("room at {resource:?} for {child}")
}

/// So much of what an instance waits for is told in the list of the open ones.
pub(crate) const WAITS_LISTED_MAX: usize = 64;

impl<S> InstanceState<S> {
    /// Where an open instance is, in a word.
    fn open_status(&self) -> OpenStatus {
        if self.quarantined.is_some() {
            return OpenStatus::Quarantined;
        }
        if self.paused.is_some() {
            return OpenStatus::Paused;
        }
        if !self.is_forward() {
            // Whatever else is still under way: what is stuck waits for a person from now on.
            return match self.is_stuck() {
                true => OpenStatus::CompensationStuck,
                false => OpenStatus::Compensating,
            };
        }
        match self.effects.trouble().map(|effect| &effect.state) {
            Some(EffectState::Parked { .. }) => OpenStatus::Parked,
            Some(_) => OpenStatus::Retrying,
            None if self.effects.is_at_work() || self.takes_up() => OpenStatus::Running,
            None => OpenStatus::Waiting,
        }
    }

    /// What it waits for, at most so much of it. `waits_for` is what the saga itself says.
    fn waits_on(&self, waits_for: impl FnOnce() -> Vec<String>, at_most: usize) -> Vec<String> {
        let children = self.effects.awaited();
        let children = children.map(|child| child.spec.request.describe());
        let mut on: Vec<_> = children.take(at_most).collect();
        let left = at_most.saturating_sub(on.len());
        on.extend(self.effects.awaiting_room().take(left).map(room_of));
        on.extend(waits_for());
        if on.is_empty() {
            on.extend(self.timers.keys().take(at_most).cloned());
        }
        on.truncate(at_most);
        on
    }

    /// Where it is. `waits_for` is what the saga itself says that it waits for.
    pub(crate) fn status_with(&self, waits_for: impl FnOnce() -> Vec<String>) -> SagaStatus {
        if let Some(how) = self.ended.clone() {
            return SagaStatus::Ended { how };
        }
        if !self.is_started() {
            return SagaStatus::Unknown;
        }
        let reason_of = |reason: &Option<String>| reason.clone().unwrap_or_default();
        match self.open_status() {
            OpenStatus::Quarantined => SagaStatus::Quarantined {
                reason: reason_of(&self.quarantined),
            },
            OpenStatus::Paused => SagaStatus::Paused {
                reason: reason_of(&self.paused),
            },
            OpenStatus::CompensationStuck => SagaStatus::CompensationStuck {
                stuck: self.stuck(),
            },
            OpenStatus::Compensating => SagaStatus::Compensating {
                reason: match self.course() {
                    Course::Compensating(reason) | Course::Closing(reason) => reason.to_owned(),
                    _ => String::new(),
                },
            },
            OpenStatus::Parked | OpenStatus::Retrying => match self.effects.trouble() {
                Some(effect) => {
                    let key = effect.spec.key.clone();
                    match &effect.state {
                        EffectState::Parked { reason } => SagaStatus::Parked {
                            key,
                            reason: reason.clone(),
                        },
                        EffectState::Pending { attempt, next } => SagaStatus::Retrying {
                            key,
                            attempt: *attempt,
                            next: *next,
                        },
                        _ => SagaStatus::Running,
                    }
                }
                None => SagaStatus::Running,
            },
            OpenStatus::Running => SagaStatus::Running,
            OpenStatus::Waiting => SagaStatus::Waiting {
                on: self.waits_on(waits_for, usize::MAX),
                since: self.moved_at,
                until: self.timers.first(),
            },
        }
    }

    /// What is to be listed of an instance; nothing unless it is open.
    pub(crate) fn open_fact(&self, waits_for: impl FnOnce() -> Vec<String>) -> Option<OpenFact> {
        if !self.is_open() {
            return None;
        }
        let status = self.open_status();
        let (on, until) = match status {
            OpenStatus::Waiting => (
                self.waits_on(waits_for, WAITS_LISTED_MAX),
                self.timers.first(),
            ),
            _ => (Vec::new(), None),
        };
        Some(OpenFact {
            since: self.started_at,
            has_work: self.has_work() || self.effects.awaits_a_child() || self.takes_up(),
            status,
            version: self.saga_version.unwrap_or_default(),
            until,
            on,
            escalated: self.escalated.clone(),
            occupies: self.occupies.clone(),
        })
    }

    /// Whether something keeps a compensation from its end: see [`stuck`](Self::stuck).
    pub(crate) fn is_stuck(&self) -> bool {
        let is_forward = self.is_forward();
        self.effects.is_an_undo_stuck() || (!is_forward && self.effects.is_one_parked())
    }

    /// What keeps a compensation from its end: effects whose undo is stuck, or of which nobody knows yet whether they
    /// are to be undone; and why.
    fn stuck(&self) -> Vec<(String, String)> {
        let is_forward = self.is_forward();
        let effects = self.effects.all().iter();
        let stuck = effects.filter_map(|effect| match (&effect.undo, &effect.state) {
            (UndoState::Stuck { reason, .. }, _) => Some((effect, reason)),
            (_, EffectState::Parked { reason }) if !is_forward => Some((effect, reason)),
            _ => None,
        });
        stuck
            .map(|(effect, reason)| (effect.spec.key.clone(), reason.clone()))
            .collect()
    }
}

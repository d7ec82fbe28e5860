//! What an instance is: a fold over its journal. Pure, and the same whether it was just decided or recovered.

use std::collections::{BTreeMap, VecDeque};

use chronicler_domain::{GlobalPosition, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::answer::Answer;
use crate::effect::{EffectSpec, Request};
use crate::journal::{Entry, StalledInput};
use crate::status::{Ending, SagaStatus};

/// Where one effect is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectState {
    /// Not answered yet.
    Pending {
        /// Attempts that failed.
        attempt: u32,
        /// Not to be tried again before this.
        next: Timestamp,
    },
    /// Failed more often than its budget allows; waits for a person.
    Parked {
        /// Why it failed last.
        reason: String,
    },
    /// Done.
    Done,
    /// Refused for good.
    Rejected,
    /// Whether it was done is not known.
    Unknown,
}

/// Where the undo of one effect is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UndoState {
    /// Not needed so far.
    Idle,
    /// Under way.
    Pending {
        /// Attempts that failed.
        attempt: u32,
        /// Not to be tried again before this.
        next: Timestamp,
    },
    /// Done.
    Undone,
    /// Failed for good; waits for a person.
    Stuck {
        /// Why.
        reason: String,
        /// Whether the target refused it: then it is asked anew, not whether it was done.
        rejected: bool,
    },
}

/// One effect of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectView {
    /// What was decided.
    pub spec: EffectSpec,
    /// Where it is.
    pub state: EffectState,
    /// Where its undo is.
    pub undo: UndoState,
    /// How often its undo was refused and asked anew.
    pub undo_round: u32,
    /// The commit that decided it, if it is known: it is not while that commit is being written.
    pub decided_at: Option<LogSequence>,
}

/// Which way an instance goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    #[default]
    Forward,
    Compensating {
        reason: String,
    },
    /// All undos were run; what the saga sent last is awaited.
    Closing {
        reason: String,
    },
}

/// Everything that an instance is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceState<S> {
    pub(crate) tenant: Tenant,
    pub(crate) id: String,
    pub(crate) saga_version: Option<u32>,
    pub(crate) user: S,
    /// Events up to here were consumed.
    pub(crate) consumed: GlobalPosition,
    pub(crate) effects: Vec<EffectView>,
    pub(crate) timers: BTreeMap<String, Timestamp>,
    pub(crate) pivoted: bool,
    /// The effect whose outcome decides whether it can still be undone, while that is not known.
    pub(crate) pivoting: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) quarantined: Option<String>,
    pub(crate) stalled: VecDeque<StalledInput>,
    pub(crate) ended: Option<Ending>,
    pub(crate) started_at: Timestamp,
    pub(crate) moved_at: Timestamp,
    pub(crate) correlation_id: Uuid,
    pub(crate) causation_depth: u16,
}

impl<S: Default> InstanceState<S> {
    pub(crate) fn new(tenant: Tenant, id: String) -> Self {
        Self {
            tenant,
            id,
            saga_version: None,
            user: S::default(),
            consumed: GlobalPosition::ZERO,
            effects: Vec::new(),
            timers: BTreeMap::new(),
            pivoted: false,
            pivoting: None,
            phase: Phase::Forward,
            quarantined: None,
            stalled: VecDeque::new(),
            ended: None,
            started_at: Timestamp::EPOCH,
            moved_at: Timestamp::EPOCH,
            correlation_id: Uuid::nil(),
            causation_depth: 0,
        }
    }
}

impl<S> InstanceState<S> {
    /// What the saga itself knows.
    pub fn user(&self) -> &S {
        &self.user
    }

    /// Its effects, in the order in which they were decided.
    pub fn effects(&self) -> &[EffectView] {
        &self.effects
    }

    /// Whether it was started.
    pub fn is_started(&self) -> bool {
        self.saga_version.is_some()
    }

    /// Whether it is under way: started, and not over.
    pub(crate) fn is_open(&self) -> bool {
        self.is_started() && self.ended.is_none()
    }

    /// Whether effects or undos are to be carried out.
    pub(crate) fn has_work(&self) -> bool {
        self.effects.iter().any(|effect| {
            matches!(effect.state, EffectState::Pending { .. })
                || matches!(effect.undo, UndoState::Pending { .. })
        })
    }

    /// Where it is.
    pub fn status(&self) -> SagaStatus {
        if let Some(ending) = &self.ended {
            return SagaStatus::Ended(ending.clone());
        }
        if !self.is_started() {
            return SagaStatus::Unknown;
        }
        if let Some(reason) = &self.quarantined {
            return SagaStatus::Quarantined {
                reason: reason.clone(),
            };
        }
        if !self.stalled.is_empty() {
            // As a crash in the middle of a release leaves it.
            let reason = "released, and its inputs still wait: release it again".to_owned();
            return SagaStatus::Quarantined { reason };
        }
        if let Phase::Compensating { reason } | Phase::Closing { reason } = &self.phase {
            let stuck = self.stuck();
            if !stuck.is_empty() && !self.has_work() {
                return SagaStatus::CompensationStuck { stuck };
            }
            return SagaStatus::Compensating {
                reason: reason.clone(),
            };
        }
        for effect in &self.effects {
            let key = effect.spec.key.clone();
            match &effect.state {
                EffectState::Parked { reason } => {
                    return SagaStatus::Parked {
                        key,
                        reason: reason.clone(),
                    };
                }
                EffectState::Pending { attempt, next } if *attempt > 0 => {
                    return SagaStatus::Retrying {
                        key,
                        attempt: *attempt,
                        next: *next,
                    };
                }
                _ => {}
            }
        }
        if self.has_work() {
            return SagaStatus::Running;
        }
        let timers = self
            .timers
            .iter()
            .map(|(key, due)| (key.clone(), *due))
            .collect();
        SagaStatus::Waiting { timers }
    }

    /// What keeps a compensation from its end: effects whose undo is stuck, or of which nobody knows yet whether they
    /// are to be undone; and why.
    pub(crate) fn stuck(&self) -> Vec<(String, String)> {
        let is_forward = self.phase == Phase::Forward;
        let stuck = self
            .effects
            .iter()
            .filter_map(|effect| match (&effect.undo, &effect.state) {
                (UndoState::Stuck { reason, .. }, _) => Some((effect, reason)),
                (_, EffectState::Parked { reason }) if !is_forward => Some((effect, reason)),
                _ => None,
            });
        stuck
            .map(|(effect, reason)| (effect.spec.key.clone(), reason.clone()))
            .collect()
    }

    pub(crate) fn indices(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.effects.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn effect(&self, index: u32) -> Option<&EffectView> {
        self.effects.get(index as usize)
    }

    /// How many attempts failed and when the next is due, for an effect or undo that is to be carried out.
    pub(crate) fn pending(&self, index: u32, is_undo: bool) -> Option<(u32, Timestamp)> {
        let effect = self.effect(index)?;
        match (is_undo, &effect.state, &effect.undo) {
            (false, EffectState::Pending { attempt, next }, _) => Some((*attempt, *next)),
            (true, _, UndoState::Pending { attempt, next }) => Some((*attempt, *next)),
            _ => None,
        }
    }

    /// Learns which commit decided an effect, or an earlier one, if that is not known yet: it is not while the commit is
    /// written. A recovery finds the commit itself.
    pub(crate) fn know_decided_at(&mut self, index: u32, sequence: LogSequence) {
        self.with(index, |effect| {
            effect.decided_at.get_or_insert(sequence);
        });
    }

    /// The latest effect that was decided under a key.
    pub(crate) fn latest(&self, key: &str) -> Option<u32> {
        let found = self
            .effects
            .iter()
            .rposition(|effect| effect.spec.key == key);
        found.and_then(|index| u32::try_from(index).ok())
    }

    /// What is to be sent for an effect, or for its undo.
    pub(crate) fn request(&self, index: u32, is_undo: bool) -> Option<&Request> {
        let effect = self.effect(index)?;
        if !is_undo {
            return Some(&effect.spec.request);
        }
        let undo = effect.spec.undo.as_ref()?;
        match effect.state {
            EffectState::Unknown => Some(undo.if_unknown.as_ref().unwrap_or(&undo.if_done)),
            _ => Some(&undo.if_done),
        }
    }

    /// The effect whose undo is next: the latest that was done, or may have been, and is not undone yet. `None`
    /// while something is still under way, or when nothing is left.
    pub(crate) fn next_undo(&self) -> Option<u32> {
        if self.has_work() {
            return None;
        }
        let due = |effect: &EffectView| {
            effect.spec.undo.is_some()
                && effect.undo == UndoState::Idle
                && matches!(effect.state, EffectState::Done | EffectState::Unknown)
        };
        self.effects
            .iter()
            .rposition(due)
            .and_then(|index| u32::try_from(index).ok())
    }

    /// Changes the state as an entry of its journal says.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Started { saga_version } => self.saga_version = Some(*saga_version),
            Entry::Consumed { position } => self.consumed = self.consumed.max(*position),
            Entry::Decided(spec) => self.effects.push(EffectView {
                spec: spec.as_ref().clone(),
                state: EffectState::Pending {
                    attempt: 0,
                    next: Timestamp::EPOCH,
                },
                undo: UndoState::Idle,
                undo_round: 0,
                decided_at: None,
            }),
            Entry::Answered { effect, answer } => {
                self.with(*effect, |effect| {
                    effect.state = match answer {
                        Answer::Done { .. } => EffectState::Done,
                        Answer::Rejected { .. } => EffectState::Rejected,
                        Answer::Unknown { .. } => EffectState::Unknown,
                    };
                });
                if self.pivoting == Some(*effect) {
                    self.pivoting = None;
                    self.pivoted |= matches!(answer, Answer::Done { .. });
                }
            }
            Entry::UndoDecided { effect, undo } => {
                self.with(*effect, |effect| {
                    effect.spec.undo = Some(undo.as_ref().clone())
                });
            }
            Entry::Pivoting { effect } => self.pivoting = Some(*effect),
            Entry::Retrying {
                effect,
                is_undo,
                attempt,
                next,
                ..
            } => {
                let (attempt, next) = (*attempt, *next);
                self.with(*effect, |effect| {
                    if *is_undo {
                        effect.undo = UndoState::Pending { attempt, next };
                    } else {
                        effect.state = EffectState::Pending { attempt, next };
                    }
                });
            }
            Entry::Parked { effect, reason } => self.with(*effect, |effect| {
                effect.state = EffectState::Parked {
                    reason: reason.clone(),
                };
            }),
            Entry::Unparked {
                effect, is_undo, ..
            } => {
                let (attempt, next) = (0, Timestamp::EPOCH);
                self.with(*effect, |effect| {
                    if *is_undo {
                        if matches!(effect.undo, UndoState::Stuck { rejected: true, .. }) {
                            effect.undo_round += 1;
                        }
                        effect.undo = UndoState::Pending { attempt, next };
                    } else {
                        effect.state = EffectState::Pending { attempt, next };
                    }
                });
            }
            Entry::Armed { key, due } => {
                self.timers.insert(key.clone(), *due);
            }
            Entry::Disarmed { key } | Entry::Fired { key } => {
                self.timers.remove(key);
            }
            Entry::Pivoted => self.pivoted = true,
            Entry::Compensating { reason, .. } => {
                self.phase = Phase::Compensating {
                    reason: reason.clone(),
                };
            }
            Entry::Undone { effect } => {
                self.with(*effect, |effect| effect.undo = UndoState::Undone)
            }
            Entry::UndoStuck {
                effect,
                reason,
                rejected,
            } => self.with(*effect, |effect| {
                effect.undo = UndoState::Stuck {
                    reason: reason.clone(),
                    rejected: *rejected,
                };
            }),
            Entry::Closing => {
                if let Phase::Compensating { reason } = &self.phase {
                    self.phase = Phase::Closing {
                        reason: reason.clone(),
                    };
                }
            }
            Entry::Quarantined { reason } => self.quarantined = Some(reason.clone()),
            Entry::Stalled(input) => self.stalled.push_back(input.clone()),
            Entry::Released { .. } => self.quarantined = None,
            Entry::Settled { .. } => {}
            Entry::Unstalled => {
                self.stalled.pop_front();
            }
            Entry::Ended(ending) => {
                self.ended = Some(ending.clone());
                self.timers.clear();
            }
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut EffectView)) {
        if let Some(effect) = self.effects.get_mut(index as usize) {
            change(effect);
        }
    }
}

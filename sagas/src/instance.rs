//! What an instance is: a fold over its journal. Pure, and the same whether it was just decided or recovered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chronicler_domain::{GlobalPosition, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::answer::Answer;
use crate::effect::Request;
use crate::effect_view::{EffectState, EffectView, UndoState};
use crate::journal::{Entry, Parent, StalledInput};
use crate::status::{Ending, SagaStatus};
use crate::terms::Terms;

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
    /// Those among them that were consumed after later ones, since they could not be routed when they came.
    pub(crate) late: BTreeSet<GlobalPosition>,
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
    pub(crate) paused: Option<String>,
    /// Why a person should look at it.
    pub(crate) escalated: Option<String>,
    pub(crate) parent: Option<Parent>,
    /// Which instance went on with what it did.
    pub(crate) forked_to: Option<String>,
    /// How it ends once nothing is under way any more.
    pub(crate) concluded: Option<Ending>,
    /// Which instance it began with what it did, and before which effect.
    pub(crate) forked_from: Option<(String, String)>,
}

impl<S: Default> InstanceState<S> {
    pub(crate) fn new(tenant: Tenant, id: String) -> Self {
        Self {
            tenant,
            id,
            saga_version: None,
            user: S::default(),
            consumed: GlobalPosition::ZERO,
            late: BTreeSet::new(),
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
            paused: None,
            escalated: None,
            parent: None,
            forked_to: None,
            concluded: None,
            forked_from: None,
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

    /// Whether the event at a position was consumed; `is_late`: it was not routed when its turn was.
    pub(crate) fn has_consumed(&self, position: GlobalPosition, is_late: bool) -> bool {
        if is_late {
            return position == self.consumed || self.late.contains(&position);
        }
        position <= self.consumed
    }

    /// Whether it was started.
    pub fn is_started(&self) -> bool {
        self.saga_version.is_some()
    }

    /// Whether it is under way: started, and not over.
    pub(crate) fn is_open(&self) -> bool {
        self.is_started() && self.ended.is_none()
    }

    /// Whether inputs wait, and nothing keeps them from being taken up.
    pub(crate) fn takes_up(&self) -> bool {
        let stands = self.quarantined.is_some() || self.paused.is_some();
        !stands && self.ended.is_none() && !self.stalled.is_empty()
    }

    /// Whether effects or undos are to be carried out.
    pub(crate) fn has_work(&self) -> bool {
        self.effects.iter().any(|effect| {
            matches!(effect.state, EffectState::Pending { .. })
                || matches!(effect.undo, UndoState::Pending { .. })
        })
    }

    /// Where it is. `waits_for` is what the saga itself says that it waits for.
    pub(crate) fn status_with(&self, waits_for: impl FnOnce() -> Vec<String>) -> SagaStatus {
        if let Some(how) = self.ended.clone() {
            return SagaStatus::Ended { how };
        }
        if !self.is_started() {
            return SagaStatus::Unknown;
        }
        if let Some(reason) = self.quarantined.clone() {
            return SagaStatus::Quarantined { reason };
        }
        if let Some(reason) = self.paused.clone() {
            return SagaStatus::Paused { reason };
        }
        if !self.stalled.is_empty() {
            // As a crash in the middle of a release leaves it.
            let reason = "released, and its inputs still wait: release it again".to_owned();
            return SagaStatus::Quarantined { reason };
        }
        if let Phase::Compensating { reason } | Phase::Closing { reason } = &self.phase {
            let (stuck, reason) = (self.stuck(), reason.clone());
            return match stuck.is_empty() || self.has_work() {
                true => SagaStatus::Compensating { reason },
                false => SagaStatus::CompensationStuck { stuck },
            };
        }
        for effect in &self.effects {
            let key = effect.spec.key.clone();
            match &effect.state {
                EffectState::Parked { reason } => {
                    let reason = reason.clone();
                    return SagaStatus::Parked { key, reason };
                }
                EffectState::Pending { attempt, next } if *attempt > 0 || *next > self.moved_at => {
                    let (attempt, next) = (*attempt, *next);
                    return SagaStatus::Retrying { key, attempt, next };
                }
                _ => {}
            }
        }
        if self.has_work() {
            return SagaStatus::Running;
        }
        let is_awaited = |effect: &&EffectView| effect.state == EffectState::Awaited;
        let children = self.effects.iter().filter(is_awaited);
        let mut on: Vec<_> = children
            .map(|child| child.spec.request.describe())
            .chain(waits_for())
            .collect();
        if on.is_empty() {
            on = self.timers.keys().cloned().collect();
        }
        SagaStatus::Waiting {
            on,
            since: self.moved_at,
            until: self.timers.values().min().copied(),
        }
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
        let effect = self.effect(index).filter(|_| self.ended.is_none())?;
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
        match is_undo {
            false => Some(&effect.spec.request),
            true => effect.undo_request(),
        }
    }

    /// Whether a child was begun whose end is not known.
    pub(crate) fn awaits_a_child(&self) -> bool {
        let is_awaited = |effect: &EffectView| effect.state == EffectState::Awaited;
        self.effects.iter().any(is_awaited)
    }

    /// Whether something was decided whose end is not known, and which no person has to see to.
    pub(crate) fn is_under_way(&self) -> bool {
        self.has_work() || self.effects.iter().any(EffectView::is_under_way)
    }

    /// The effects whose undos are next: of those that were done, or may have been, the latest, and whatever may be
    /// undone beside it. None while an effect is still under way.
    pub(crate) fn next_undos(&self) -> Vec<u32> {
        if self.effects.iter().any(EffectView::is_under_way) {
            return Vec::new();
        }
        let mut next = Vec::new();
        // The later ones that are not undone yet; one stands for all that are of its place.
        let mut later: Vec<&EffectView> = Vec::new();
        for index in self.indices().rev() {
            let Some(effect) = self.effect(index) else {
                continue;
            };
            let is_due = effect.is_to_be_undone();
            let is_undone_now = matches!(effect.undo, UndoState::Pending { .. });
            // What is parked may have been done: what came before it is not undone under it.
            let is_parked = matches!(effect.state, EffectState::Parked { .. });
            if !is_due && !is_undone_now && !is_parked {
                continue;
            }
            if is_due && later.iter().all(|other| other.is_beside(effect)) {
                next.push(index);
            }
            if effect.is_beside_nothing() {
                break;
            }
            let is_of_its_place = |other: &&EffectView| other.is_where(effect);
            if !later.iter().any(is_of_its_place) {
                later.push(effect);
            }
        }
        next
    }

    /// Changes the state as an entry of its journal says.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Started { saga_version } => self.saga_version = Some(*saga_version),
            Entry::Consumed { position } if *position < self.consumed => {
                self.late.insert(*position);
            }
            Entry::Consumed { position } => self.consumed = *position,
            Entry::Decided(spec) => self.effects.push(EffectView {
                spec: spec.as_ref().clone(),
                state: EffectState::Pending {
                    attempt: 0,
                    next: Timestamp::EPOCH,
                },
                undo: UndoState::Idle,
                undo_round: 0,
                decided_at: None,
                terms: Terms::default(),
                together: None,
                found_done: false,
                skipped: false,
            }),
            Entry::Answered { effect, answer } => {
                self.with(*effect, |effect| {
                    effect.state = match answer {
                        _ if effect.found_done => EffectState::Done,
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
                    effect.spec.undo = (!effect.skipped).then(|| undo.as_ref().clone());
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
            Entry::FoundDone { effect } => self.with(*effect, |effect| effect.found_done = true),
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
            Entry::Dropped { key } => {
                // The others keep their places: each is taken off the front when its turn has come.
                let dropped = StalledInput::Timer(key.clone());
                for input in self.stalled.iter_mut().filter(|input| **input == dropped) {
                    *input = StalledInput::Dropped;
                }
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
                self.escalated = None;
            }
            Entry::Terms { effect, terms } => self.with(*effect, |effect| {
                effect.terms = terms.as_ref().clone();
            }),
            Entry::Together { first } => {
                for effect in self.effects.iter_mut().skip(*first as usize) {
                    effect.together = Some(*first);
                }
            }
            Entry::Held {
                effect, is_undo, ..
            } => {
                let never = Timestamp::MAX;
                self.with(*effect, |effect| match (is_undo, &mut effect.undo) {
                    (true, UndoState::Pending { next, .. }) => *next = never,
                    (true, _) => {}
                    (false, _) => {
                        if let EffectState::Pending { next, .. } = &mut effect.state {
                            *next = never;
                        }
                    }
                });
            }
            Entry::Escalated { reason } => self.escalated.clone_from(reason),
            Entry::Operated { .. } | Entry::Reported { .. } | Entry::Parts { .. } => {}
            Entry::Forked { from, before } => {
                self.forked_from = Some((from.clone(), before.clone()));
            }
            Entry::Paused { reason } => self.paused = Some(reason.clone()),
            Entry::Resumed => self.paused = None,
            Entry::Edited {
                effect,
                is_undo,
                request,
            } => self.with(*effect, |effect| {
                let request = request.as_ref().clone();
                match (*is_undo, &mut effect.spec.undo) {
                    (false, _) => effect.spec.request = request,
                    (true, Some(undo)) => {
                        undo.if_unknown = undo.if_unknown.as_ref().map(|_| request.clone());
                        undo.if_done = request;
                    }
                    (true, None) => {}
                }
            }),
            Entry::Abandoned { effect } => {
                self.with(*effect, |effect| effect.undo = UndoState::Abandoned);
            }
            Entry::Skipped { effect } => self.with(*effect, |effect| {
                (effect.skipped, effect.spec.undo) = (true, None);
            }),
            Entry::Child { parent, .. } => self.parent = Some(parent.clone()),
            Entry::Begun { effect } => {
                self.with(*effect, |effect| effect.state = EffectState::Awaited);
            }
            Entry::ForkedTo { id } => self.forked_to = Some(id.clone()),
            Entry::Concluded(ending) => self.concluded = Some(ending.clone()),
            Entry::Migrated { saga_version } => self.saga_version = Some(*saga_version),
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut EffectView)) {
        if let Some(effect) = self.effects.get_mut(index as usize) {
            change(effect);
        }
    }
}

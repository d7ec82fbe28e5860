//! The state of an instance: a fold over its stream. Pure, and the same whether it was just decided or recovered.

use std::collections::{BTreeSet, VecDeque};

use chronicler_domain::{GlobalPosition, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::definition::effect::Request;
use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::instance::action::{Action, Way};

use crate::instance::effects::Effects;
use crate::instance::entry::{Entry, Parent, StalledInput};
use crate::instance::occupancy::Occupancy;
use crate::instance::open_fact::OpenFact;
use crate::instance::status::Ending;
use crate::instance::timers::Timers;

/// The way that an instance goes, as it is kept.
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

/// The course of an instance: the way that it goes, and how far it has come on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course<'a> {
    Forward,
    /// It ends so as soon as nothing is under way any more.
    Concluded(&'a Ending),
    /// Its undos are run, for this reason.
    Compensating(&'a str),
    /// All undos were run, for this reason; what the saga sent last is awaited.
    Closing(&'a str),
    Over(&'a Ending),
}

/// The state of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceState<S> {
    pub(crate) tenant: Tenant,
    pub(crate) id: String,
    pub(crate) saga_version: Option<u32>,
    pub(crate) user: S,
    /// Events up to here were consumed.
    pub(crate) consumed: GlobalPosition,
    /// Those among them that were consumed after later ones, since they could not be routed when they came.
    pub(crate) late: BTreeSet<GlobalPosition>,
    pub(crate) effects: Effects,
    pub(crate) timers: Timers,
    pub(crate) pivoted: bool,
    /// The effects whose outcomes decide whether it can still be undone, while these are not known.
    pub(crate) pivoting: BTreeSet<u32>,
    pub(crate) phase: Phase,
    pub(crate) quarantined: Option<String>,
    pub(crate) stalled: VecDeque<StalledInput>,
    /// What came before what begins it.
    pub(crate) early: Vec<StalledInput>,
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
    /// The place that it has as a child, among those of which only so many are alive.
    pub(crate) occupies: Option<Occupancy>,
    /// What the list of the open ones says of it, if that is known.
    #[serde(skip)]
    pub(crate) listed: Option<Option<Box<OpenFact>>>,
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
            effects: Effects::default(),
            timers: Timers::default(),
            pivoted: false,
            pivoting: BTreeSet::new(),
            phase: Phase::Forward,
            quarantined: None,
            stalled: VecDeque::new(),
            early: Vec::new(),
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
            occupies: None,
            listed: None,
        }
    }
}

impl<S> InstanceState<S> {
    /// What the saga itself knows.
    pub(crate) fn user(&self) -> &S {
        &self.user
    }

    /// Its effects, in the order in which they were decided: all that can still matter, and some of the others. Those
    /// that are settled, need not be taken back, and whose keys later ones took over are forgotten at some time, when
    /// there are more than 128 of them.
    pub(crate) fn effects(&self) -> &[EffectView] {
        self.effects.all()
    }

    /// Whether the event at a position was consumed; `is_late`: it was not routed when its turn was.
    pub(crate) fn has_consumed(&self, position: GlobalPosition, is_late: bool) -> bool {
        if is_late {
            return position == self.consumed || self.late.contains(&position);
        }
        position <= self.consumed
    }

    /// The effects whose answers wait to be taken in, of the inputs after the first so many.
    pub(crate) fn unheard(&self, skipped: usize) -> impl Iterator<Item = u32> {
        let waiting = self.stalled.iter().skip(skipped);
        waiting.filter_map(|input| match input {
            StalledInput::Answer { effect, .. } => Some(*effect),
            _ => None,
        })
    }

    /// Whether the answer of an effect waits to be taken in, and is not the input that is decided on just now: whoever
    /// takes it in asks for the effect.
    pub(crate) fn is_unheard(&self, index: u32) -> bool {
        self.unheard(1).any(|effect| effect == index)
    }

    /// Whether it was started.
    pub(crate) fn is_started(&self) -> bool {
        self.saga_version.is_some()
    }

    /// True if what begins it has come, though it may wait to be taken in; `has_begun` is what its saga says.
    pub(crate) fn has_begun(&self, has_begun: Option<bool>) -> bool {
        let begins = |input: &StalledInput| {
            matches!(
                input,
                StalledInput::Starting { .. } | StalledInput::Begin { .. }
            )
        };
        let is_to_begin = || self.parent.is_some() || self.stalled.iter().any(begins);
        self.is_started() && (has_begun.unwrap_or(true) || is_to_begin())
    }

    /// Whether it is under way: started, and not over.
    pub(crate) fn is_open(&self) -> bool {
        self.is_started() && !self.is_over()
    }

    /// Which way it goes: one of five, whatever it went through.
    pub(crate) fn course(&self) -> Course<'_> {
        match (&self.ended, &self.phase, &self.concluded) {
            (Some(ending), ..) => Course::Over(ending),
            (None, Phase::Compensating { reason }, _) => Course::Compensating(reason),
            (None, Phase::Closing { reason }, _) => Course::Closing(reason),
            (None, Phase::Forward, Some(ending)) => Course::Concluded(ending),
            (None, Phase::Forward, None) => Course::Forward,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it went forward to the last: it was never compensated.
    pub(crate) fn is_forward(&self) -> bool {
        self.phase == Phase::Forward
    }

    /// Whether its undos are run.
    pub(crate) fn is_compensating(&self) -> bool {
        matches!(self.phase, Phase::Compensating { .. })
    }

    /// Whether it stands until a person has it go on: inputs wait, and no further attempt begins.
    pub(crate) fn stands(&self) -> bool {
        self.quarantined.is_some() || self.paused.is_some()
    }

    /// Whether inputs wait, and nothing keeps them from being taken up.
    pub(crate) fn takes_up(&self) -> bool {
        !self.stands() && !self.is_over() && !self.stalled.is_empty()
    }

    /// Whether effects or undos are to be carried out.
    pub(crate) fn has_work(&self) -> bool {
        self.effects.has_work()
    }

    pub(crate) fn effect(&self, index: u32) -> Option<&EffectView> {
        self.effects.get(index)
    }

    /// How many attempts failed and when the next is due, for an effect or undo that is to be carried out.
    pub(crate) fn pending(&self, action: Action) -> Option<(u32, Timestamp)> {
        let effect = self.effect(action.effect);
        let effect = effect.filter(|_| !self.is_over())?;
        match (action.way, &effect.state, &effect.undo) {
            (Way::Do, EffectState::Pending { attempt, next }, _) => Some((*attempt, *next)),
            (Way::Undo, _, UndoState::Pending { attempt, next }) => Some((*attempt, *next)),
            _ => None,
        }
    }

    /// Learns which commit decided an effect, or an earlier one, if that is not known yet: it is not while the commit is
    /// written. A recovery finds the commit itself.
    pub(crate) fn know_decided_at(&mut self, index: u32, sequence: LogSequence) {
        self.effects.change(index, |effect| {
            effect.decided_at.get_or_insert(sequence);
        });
    }

    /// What is to be sent for an effect, or for its undo.
    pub(crate) fn request(&self, action: Action) -> Option<&Request> {
        let effect = self.effect(action.effect)?;
        match action.way {
            Way::Do => Some(&effect.spec.request),
            Way::Undo => effect.undo_request(),
        }
    }

    /// Whether something was decided whose end is not known, and which no person has to see to.
    pub(crate) fn is_under_way(&self) -> bool {
        self.effects.has_work() || self.effects.is_one_under_way()
    }
}

impl<S: Default> InstanceState<S> {
    /// Changes the state as an entry of its stream says.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Started { saga_version } | Entry::Migrated { saga_version } => {
                self.saga_version = Some(*saga_version);
            }
            Entry::ContinuedAsNew { saga_version } => self.continue_as_new(*saga_version),
            Entry::Child { parent, .. } => self.parent = Some(parent.clone()),
            Entry::Occupies(place) => self.occupies = Some(place.clone()),
            Entry::Forked { from, before } => {
                self.forked_from = Some((from.clone(), before.clone()));
            }
            Entry::ForkedTo { id } => self.forked_to = Some(id.clone()),

            Entry::Consumed { position } if *position < self.consumed => {
                self.late.insert(*position);
            }
            Entry::Consumed { position } => self.consumed = *position,
            Entry::Stalled(input) => self.stalled.push_back(input.clone()),
            Entry::Unstalled => {
                self.stalled.pop_front();
            }
            Entry::CameEarly(input) => self.early.push(input.clone()),
            Entry::EarlyTaken => self.stalled.extend(self.early.drain(..)),
            Entry::Dropped { key } => self.drop_stalled(key),

            Entry::Armed { key, due } => self.timers.insert(key.clone(), *due),
            Entry::Disarmed { key } | Entry::Fired { key } => self.timers.remove(key),

            Entry::Pivoting { effect } => {
                self.pivoting.insert(*effect);
            }
            Entry::Pivoted => self.pivoted = true,
            Entry::Compensating { reason, .. } => {
                // Journals of earlier versions have compensations past a pivot that was done while another was under way.
                self.pivoted = false;
                self.phase = Phase::Compensating {
                    reason: reason.clone(),
                };
            }
            Entry::Closing => self.close(),
            Entry::Concluded(ending) => self.concluded = Some(ending.clone()),
            Entry::Ended(ending) => self.end(ending),

            Entry::Quarantined { reason } => self.quarantined = Some(reason.clone()),
            Entry::Released { .. } => self.quarantined = None,
            Entry::Paused { reason } => self.paused = Some(reason.clone()),
            Entry::Resumed => self.paused = None,
            Entry::Escalated { reason } => self.escalated.clone_from(reason),

            Entry::Answered { effect, answer } => {
                self.effects.apply(entry);
                if self.pivoting.remove(effect) {
                    self.pivoted |= answer.is_done();
                }
            }
            Entry::Decided(_) => {
                self.effects.apply(entry);
                self.forget_superseded();
            }
            Entry::Terms { .. }
            | Entry::Together { .. }
            | Entry::UndoDecided { .. }
            | Entry::Begun { .. }
            | Entry::AwaitsRoom { .. }
            | Entry::FoundDone { .. }
            | Entry::NotTaken { .. }
            | Entry::Retrying { .. }
            | Entry::Held { .. }
            | Entry::Parked { .. }
            | Entry::Unparked { .. }
            | Entry::Edited { .. }
            | Entry::Skipped { .. }
            | Entry::Undone { .. }
            | Entry::UndoStuck { .. }
            | Entry::Abandoned { .. } => self.effects.apply(entry),

            // Said for people, for a parent, and for whoever replays the stream.
            Entry::Settled { .. }
            | Entry::Operated { .. }
            | Entry::Reported { .. }
            | Entry::Parts { .. }
            | Entry::SignalRefused { .. }
            | Entry::Outcomes { .. } => {}
        }
    }

    fn continue_as_new(&mut self, saga_version: u32) {
        self.saga_version = Some(saga_version);
        self.user = S::default();
        self.pivoted = false;
        let unheard = self.unheard(1).collect();
        self.effects.forget_settled(&unheard);
    }

    /// One more effect was decided: of those before it some may be of no account any more.
    fn forget_superseded(&mut self) {
        if self.effects.has_many_superseded() {
            let unheard = self.unheard(1).collect();
            self.effects.forget_superseded(&unheard);
        }
    }

    /// A timer that came due counts for nothing any more. The other inputs that wait keep their places: each is taken off
    /// the front when its turn has come.
    fn drop_stalled(&mut self, key: &str) {
        let is_this =
            |input: &&mut StalledInput| matches!(input, StalledInput::Timer(fired) if fired == key);
        for input in self.stalled.iter_mut().filter(is_this) {
            *input = StalledInput::Dropped;
        }
    }

    fn close(&mut self) {
        if let Phase::Compensating { reason } = &self.phase {
            let reason = reason.clone();
            self.phase = Phase::Closing { reason };
        }
    }

    fn end(&mut self, ending: &Ending) {
        self.ended = Some(ending.clone());
        self.timers.clear();
        self.escalated = None;
        self.occupies = None;
    }
}

#[cfg(test)]
mod tests;

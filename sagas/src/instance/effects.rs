//! The effects of one instance: each by its index, and how many stand how, without a walk over all of them.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::instance::undo_order::UndoOrder;
use crate::instance::visits;
use tally::Tally;

/// Up to so many effects the latest of a key is looked for one by one.
const SCANNED_MAX: usize = 16;
/// So many settled effects whose keys later ones took over are kept for people to see; there may be twice as many before
/// some are forgotten.
const SETTLED_SHOWN: usize = 64;

/// The effects of one instance, in the order in which they were decided. An effect that nothing can come of any more is
/// forgotten at some time; the others keep their indices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "StoredEffects")]
pub(crate) struct Effects {
    all: Vec<EffectView>,
    /// Their indices, from when one was forgotten; until then an index is a place.
    indices: Vec<u32>,
    /// How many were ever decided: the index of the next one.
    decided: u32,
    /// Effects whose keys later ones took over, and that were not forgotten yet.
    superseded: Vec<u32>,
    /// At how many of those it is looked which can be forgotten; 0 stands for the first time.
    forget_at: usize,
    #[serde(skip)]
    tally: Tally,
    /// Parked ones, and those that are tried again.
    #[serde(skip)]
    troubled: BTreeSet<u32>,
    #[serde(skip)]
    parked: BTreeSet<u32>,
    /// Children that were begun, and whose end is not known.
    #[serde(skip)]
    awaited: BTreeSet<u32>,
    /// Those whose children wait for room.
    #[serde(skip)]
    awaiting_room: BTreeSet<u32>,
    /// The latest of each key, once there are many.
    #[serde(skip)]
    latest: Option<HashMap<Box<str>, u32>>,
    /// What is undone next, from when that is asked for the first time.
    #[serde(skip)]
    undo_order: Option<Box<UndoOrder>>,
    /// Nothing is forgotten: for whoever compares two times in the life of an instance.
    #[serde(skip)]
    keeps_all: bool,
}

/// The effects as they are written.
#[derive(Deserialize)]
#[serde(rename = "Effects")]
struct StoredEffects {
    all: Vec<EffectView>,
    indices: Vec<u32>,
    decided: u32,
    superseded: Vec<u32>,
    forget_at: usize,
}

impl From<StoredEffects> for Effects {
    fn from(stored: StoredEffects) -> Self {
        let mut effects = Self {
            all: stored.all,
            indices: stored.indices,
            decided: stored.decided,
            superseded: stored.superseded,
            forget_at: stored.forget_at,
            ..Self::default()
        };
        effects.count();
        effects
    }
}

/// Whether people see it before others: it is parked, or not tried for the first time.
fn is_troubled(effect: &EffectView) -> bool {
    match effect.state {
        EffectState::Parked { .. } => true,
        // That there is no room yet is no trouble.
        _ if effect.is_awaiting_room() => false,
        EffectState::Pending { attempt, .. } => attempt > 0 || effect.state.waits(),
        _ => false,
    }
}

fn is_parked(effect: &EffectView) -> bool {
    matches!(effect.state, EffectState::Parked { .. })
}

impl Effects {
    /// None yet, and none is ever forgotten.
    pub(crate) fn kept_all() -> Self {
        Self {
            keeps_all: true,
            ..Self::default()
        }
    }

    /// Those that are kept, in order.
    pub(crate) fn all(&self) -> &[EffectView] {
        visits::add(self.all.len());
        &self.all
    }

    /// How many were ever decided: the index of the next one.
    pub(crate) fn decided(&self) -> u32 {
        self.decided
    }

    /// The indices of those that are kept, in order.
    pub(crate) fn indices(&self) -> Vec<u32> {
        visits::add(self.all.len());
        match self.is_whole() {
            true => (0..self.decided).collect(),
            false => self.indices.clone(),
        }
    }

    /// Whether none was forgotten.
    fn is_whole(&self) -> bool {
        u32::try_from(self.all.len()) == Ok(self.decided)
    }

    fn place(&self, index: u32) -> Option<usize> {
        match self.is_whole() {
            true => usize::try_from(index).ok(),
            false => self.indices.binary_search(&index).ok(),
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&EffectView> {
        visits::add(1);
        self.all.get(self.place(index)?)
    }

    /// One more, and its index.
    pub(crate) fn push(&mut self, effect: EffectView) -> u32 {
        let index = self.decided;
        if let Some(before) = self.latest(&effect.spec.key) {
            self.superseded.push(before);
        }
        if !self.is_whole() {
            self.indices.push(index);
        }
        self.tally = self.tally.and(Tally::of(&effect), u32::saturating_add);
        if let Some(latest) = &mut self.latest {
            latest.insert(effect.spec.key.as_str().into(), index);
        }
        self.all.push(effect);
        self.decided = self.decided.saturating_add(1);
        if self.latest.is_none() && self.all.len() > SCANNED_MAX {
            self.index_keys();
        }
        self.undo_order = None;
        index
    }

    /// Changes one.
    pub(crate) fn change(&mut self, index: u32, change: impl FnOnce(&mut EffectView)) {
        let Some(place) = self.place(index) else {
            return;
        };
        let Some(effect) = self.all.get_mut(place) else {
            return;
        };
        let before = Tally::of(effect);
        change(effect);
        let after = Tally::of(effect);
        if before != after {
            let without = self.tally.and(before, u32::saturating_sub);
            self.tally = without.and(after, u32::saturating_add);
        }
        match is_troubled(effect) {
            true => self.troubled.insert(index),
            false => self.troubled.remove(&index),
        };
        match is_parked(effect) {
            true => self.parked.insert(index),
            false => self.parked.remove(&index),
        };
        match effect.state == EffectState::Awaited {
            true => self.awaited.insert(index),
            false => self.awaited.remove(&index),
        };
        match effect.is_awaiting_room() {
            true => self.awaiting_room.insert(index),
            false => self.awaiting_room.remove(&index),
        };
        if let Some(order) = &mut self.undo_order {
            order.changed(index, effect);
        }
    }

    /// Those from this index on were decided as one.
    pub(crate) fn together_from(&mut self, first: u32) {
        let from = match self.is_whole() {
            true => usize::try_from(first).unwrap_or(usize::MAX),
            false => self.indices.partition_point(|index| *index < first),
        };
        for effect in self.all.iter_mut().skip(from) {
            effect.together = Some(first);
        }
        self.undo_order = None;
    }

    /// The one that was decided last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut EffectView> {
        self.all.last_mut()
    }

    /// The latest that was decided under a key.
    pub(crate) fn latest(&self, key: &str) -> Option<u32> {
        if let Some(latest) = &self.latest {
            return latest.get(key).copied();
        }
        visits::add(self.all.len());
        let place = self.all.iter().rposition(|effect| effect.spec.key == key)?;
        self.index_at(place)
    }

    fn index_at(&self, place: usize) -> Option<u32> {
        match self.is_whole() {
            true => u32::try_from(place).ok(),
            false => self.indices.get(place).copied(),
        }
    }

    /// Whether effects or undos are to be carried out.
    pub(crate) fn has_work(&self) -> bool {
        self.tally.pending > 0 || self.tally.undos_pending > 0
    }

    /// Whether something is carried out by itself: what only waits for room for a child is not.
    pub(crate) fn is_at_work(&self) -> bool {
        self.tally.pending > self.tally.awaiting_room || self.tally.undos_pending > 0
    }

    /// Whether one is not answered yet, and is not a person's.
    pub(crate) fn is_one_under_way(&self) -> bool {
        self.tally.pending > 0 || self.awaits_a_child()
    }

    /// Whether a child was begun whose end is not known.
    pub(crate) fn awaits_a_child(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether one waits for a person.
    pub(crate) fn is_one_parked(&self) -> bool {
        self.tally.parked > 0
    }

    /// Whether an undo waits for a person.
    pub(crate) fn is_an_undo_stuck(&self) -> bool {
        self.tally.stuck > 0
    }

    /// Whether an undo was given up.
    pub(crate) fn is_an_undo_given_up(&self) -> bool {
        self.tally.given_up > 0
    }

    /// The first that a person should see: one that waits for a person, else one that is tried again.
    pub(crate) fn trouble(&self) -> Option<&EffectView> {
        let first = self.parked.first().or(self.troubled.first());
        first.and_then(|index| self.get(*index))
    }

    /// The effects whose children wait for room, in order.
    pub(crate) fn awaiting_room(&self) -> impl Iterator<Item = &EffectView> {
        self.awaiting_room
            .iter()
            .filter_map(|index| self.get(*index))
    }

    /// The children that were begun, and whose end is not known, in order.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &EffectView> {
        self.awaited.iter().filter_map(|index| self.get(*index))
    }

    /// The effects whose undos are next, the latest first: of those that were done, or may have been, the latest, and
    /// whatever may be undone beside it. None while an effect is still under way.
    pub(crate) fn next_undos(&mut self) -> Vec<u32> {
        if self.is_one_under_way() {
            return Vec::new();
        }
        if self.undo_order.is_none() {
            visits::add(self.all.len());
            let mut order = Box::<UndoOrder>::default();
            for (place, effect) in self.all.iter().enumerate() {
                if let Some(index) = self.index_at(place) {
                    order.changed(index, effect);
                }
            }
            self.undo_order = Some(order);
        }
        self.undo_order
            .as_mut()
            .map(|order| order.next())
            .unwrap_or_default()
    }

    /// Forgets all that are settled: whatever they did stays done. Those whose answers are `unheard` are still under way for
    /// the saga.
    pub(crate) fn forget_settled(&mut self, unheard: &BTreeSet<u32>) {
        self.keep(|index, effect| {
            effect.is_open()
                || matches!(effect.undo, UndoState::Pending { .. })
                || unheard.contains(&index)
        });
        self.superseded.clear();
        self.forget_at = 0;
    }

    /// Whether there are so many whose keys later ones took over that it is worth looking which can be forgotten.
    pub(crate) fn has_many_superseded(&self) -> bool {
        self.superseded.len() >= self.forget_at.max(2 * SETTLED_SHOWN)
    }

    /// An effect of which nothing can come any more is settled, not the latest of its key, and was not done or has no undo.
    /// Some of them are kept for people, and for a while: looking at all of them is worth it only for many. Those whose
    /// answers are `unheard` are kept.
    pub(crate) fn forget_superseded(&mut self, unheard: &BTreeSet<u32>) {
        let older = self.superseded.len().saturating_sub(SETTLED_SHOWN);
        let mut forgotten = BTreeSet::new();
        for index in self.superseded.iter().take(older) {
            let is_unheard = unheard.contains(index);
            if !is_unheard && self.get(*index).is_some_and(EffectView::is_of_no_account) {
                forgotten.insert(*index);
            }
        }
        self.keep(|index, _| !forgotten.contains(&index));
        if !self.keeps_all {
            self.superseded.retain(|index| !forgotten.contains(index));
        }
        // Half as many again as there are: each is then looked at a few times in all.
        let left = self.superseded.len();
        self.forget_at = left + SETTLED_SHOWN.max(self.all.len() / 2);
    }

    fn keep(&mut self, keep: impl Fn(u32, &EffectView) -> bool) {
        if self.keeps_all {
            return;
        }
        let indices = self.indices();
        let (all, kept) = (std::mem::take(&mut self.all), &mut self.indices);
        kept.clear();
        for (index, effect) in indices.into_iter().zip(all) {
            if keep(index, &effect) {
                kept.push(index);
                self.all.push(effect);
            }
        }
        if self.is_whole() {
            self.indices.clear();
        }
        self.count();
    }

    /// Counts all of them again.
    fn count(&mut self) {
        visits::add(self.all.len());
        let add = |tally: Tally, effect| tally.and(Tally::of(effect), u32::saturating_add);
        self.tally = self.all.iter().fold(Tally::default(), add);
        let those = |is: fn(&EffectView) -> bool| {
            let found = self.all.iter().enumerate();
            let found = found.filter(|(_, effect)| is(effect));
            found
                .filter_map(|(place, _)| self.index_at(place))
                .collect()
        };
        let is_awaited = |effect: &EffectView| effect.state == EffectState::Awaited;
        let (parked, awaiting_room) = (those(is_parked), those(EffectView::is_awaiting_room));
        (self.troubled, self.awaited) = (those(is_troubled), those(is_awaited));
        (self.parked, self.awaiting_room) = (parked, awaiting_room);
        (self.latest, self.undo_order) = (None, None);
        if self.all.len() > SCANNED_MAX {
            self.index_keys();
        }
    }

    fn index_keys(&mut self) {
        visits::add(self.all.len());
        let keys = self.all.iter().enumerate();
        let keys = keys.filter_map(|(place, effect)| {
            Some((effect.spec.key.as_str().into(), self.index_at(place)?))
        });
        self.latest = Some(keys.collect());
    }
}

mod tally;
#[cfg(test)]
mod tests;

//! The order of undos, kept up as effects change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::definition::terms::Terms;

/// The place of effects: with those that were decided as one with them, and on which branches. Whatever may be undone
/// beside one of a place may be undone beside all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    together: Option<u32>,
    branch: Vec<(u32, u32)>,
}

/// The effects of one place that are not through yet.
#[derive(Clone, Debug, Default)]
struct Members {
    /// Those that hold up what was decided before them: they are to be undone, being undone, or parked.
    all: BTreeSet<u32>,
    /// Those that are to be undone, and are not being undone yet.
    due: BTreeSet<u32>,
}

/// The order of undos: which are next. A change costs the logarithm of how many there are, and the question as much as there are
/// places side by side.
#[derive(Clone, Debug, Default)]
pub(crate) struct UndoOrder {
    places: BTreeMap<Place, Members>,
    /// The places by their last members.
    by_last: BTreeMap<u32, Place>,
    /// Where each member is.
    place_of: HashMap<u32, Place>,
    /// Whether more may be next than when it was asked last.
    has_changed: bool,
}

impl Place {
    fn of(effect: &EffectView) -> Self {
        Self {
            together: effect.together,
            branch: effect.terms.branch.clone(),
        }
    }

    fn is_beside(&self, other: &Self) -> bool {
        (self.together.is_some() && self.together == other.together)
            || Terms::are_apart(&self.branch, &other.branch)
    }
}

impl UndoOrder {
    /// Takes in what has become of an effect.
    pub(crate) fn changed(&mut self, index: u32, effect: &EffectView) {
        let is_due = effect.is_to_be_undone();
        let is_undone_now = matches!(effect.undo, UndoState::Pending { .. });
        // What is parked may have been done: what came before it is not undone under it.
        let is_parked = matches!(effect.state, EffectState::Parked { .. });
        let place = Place::of(effect);
        let before = self.place_of.get(&index);
        if !is_due && !is_undone_now && !is_parked {
            if let Some(before) = before.cloned() {
                self.place_of.remove(&index);
                self.change(&before, |members| {
                    members.all.remove(&index);
                    members.due.remove(&index);
                });
            }
            return;
        }
        if let Some(moved) = before.filter(|before| **before != place).cloned() {
            self.change(&moved, |members| {
                members.all.remove(&index);
                members.due.remove(&index);
            });
        }
        self.place_of.insert(index, place.clone());
        self.change(&place, |members| {
            members.all.insert(index);
            match is_due {
                true => members.due.insert(index),
                false => members.due.remove(&index),
            };
        });
        self.has_changed |= is_due;
    }

    fn change(&mut self, place: &Place, change: impl FnOnce(&mut Members)) {
        let members = self.places.entry(place.clone()).or_default();
        let before = members.all.last().copied();
        change(members);
        let after = members.all.last().copied();
        if after.is_none() {
            self.places.remove(place);
        }
        if before != after {
            if let Some(before) = before {
                self.by_last.remove(&before);
                self.has_changed = true;
            }
            if let Some(after) = after {
                self.by_last.insert(after, place.clone());
            }
        }
    }

    /// The effects whose undos are next, the latest first.
    pub(crate) fn next(&mut self) -> Vec<u32> {
        if !std::mem::take(&mut self.has_changed) {
            return Vec::new();
        }
        let mut next = Vec::new();
        let mut later: Vec<&Place> = Vec::new();
        // Where the effects begin of which some may still be next.
        let mut floor = 0;
        for (last, place) in self.by_last.iter().rev() {
            if *last < floor {
                break;
            }
            let Some(members) = self.places.get(place) else {
                continue;
            };
            if later.iter().all(|other| other.is_beside(place)) {
                match place.together {
                    Some(_) => next.extend(&members.due),
                    None => next.extend(members.due.get(last)),
                }
            }
            // Beside what stands on no branch is only what was decided as one with it.
            if place.branch.is_empty() {
                floor = floor.max(place.together.unwrap_or(u32::MAX));
            }
            later.push(place);
        }
        next.sort_unstable_by(|left: &u32, right| right.cmp(left));
        next
    }
}

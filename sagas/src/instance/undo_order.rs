//! The order of undos, kept up as effects change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::instance::visits;

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
    /// How many are to be undone, and are not being undone yet.
    due: usize,
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

    /// Its path, branch by branch, and the fork in which it goes on; none at its end.
    fn steps(&self) -> impl Iterator<Item = (&[(u32, u32)], Option<u32>)> {
        (0..=self.branch.len()).filter_map(|depth| {
            let fork = self.branch.get(depth).map(|(fork, _)| *fork);
            Some((self.branch.get(..depth)?, fork))
        })
    }
}

/// How many places lie on a path or part from it further on: in this fork or in any, of this decision or of any.
#[derive(PartialEq, Eq, Hash)]
struct OnPath<'a> {
    path: &'a [(u32, u32)],
    fork: Option<u32>,
    together: Option<u32>,
}

/// The places that come later in the order of decisions than the one that is looked at: whether it may be undone beside all
/// of them is told without a look at each.
#[derive(Default)]
struct LaterPlaces<'a>(HashMap<OnPath<'a>, usize>);

impl<'a> LaterPlaces<'a> {
    fn add(&mut self, place: &'a Place) {
        let mut count = |path, fork| {
            let of_any = OnPath {
                path,
                fork,
                together: None,
            };
            *self.0.entry(of_any).or_default() += 1;
            if let together @ Some(_) = place.together {
                *self
                    .0
                    .entry(OnPath {
                        path,
                        fork,
                        together,
                    })
                    .or_default() += 1;
            }
        };
        for (path, fork) in place.steps() {
            count(path, None);
            if fork.is_some() {
                count(path, fork);
            }
        }
    }

    /// Whether a place may be undone beside all of them: each was decided as one with it, or lies on another branch of the
    /// same fork.
    fn are_beside(&self, place: &Place) -> bool {
        let not_apart = self.not_apart_from(place, None);
        let decided_as_one = match place.together {
            None => 0,
            together => self.not_apart_from(place, together),
        };
        not_apart == decided_as_one
    }

    /// How many do not lie on another branch of one of its forks.
    fn not_apart_from(&self, place: &Place, together: Option<u32>) -> usize {
        let count = |path, fork| {
            let on_path = OnPath {
                path,
                fork,
                together,
            };
            self.0.get(&on_path).copied().unwrap_or_default()
        };
        let along = place.steps().map(|(path, fork)| match fork {
            // They end here, or go on in another fork.
            Some(_) => count(path, None) - count(path, fork),
            None => count(path, None),
        });
        along.sum()
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
        let before = self.place_of.get(&index).cloned();
        if !is_due && !is_undone_now && !is_parked {
            if let Some(before) = before {
                self.place_of.remove(&index);
                self.change(&before, index, None);
            }
            return;
        }
        if let Some(moved) = before.filter(|before| *before != place) {
            self.change(&moved, index, None);
        }
        self.change(&place, index, Some(is_due));
        self.place_of.insert(index, place);
        self.has_changed |= is_due;
    }

    /// Puts an effect among those of a place, due or not, or takes it away.
    fn change(&mut self, place: &Place, index: u32, is_due: Option<bool>) {
        let members = self.places.entry(place.clone()).or_default();
        let before = members.all.last().copied();
        match is_due {
            Some(_) => members.all.insert(index),
            None => members.all.remove(&index),
        };
        let was_due = members.due.remove(&index);
        if is_due == Some(true) {
            members.due.insert(index);
            self.due += 1;
        }
        self.due -= usize::from(was_due);
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
        if !std::mem::take(&mut self.has_changed) || self.due == 0 {
            return Vec::new();
        }
        let mut next = Vec::new();
        let mut later = LaterPlaces::default();
        // Where the effects begin of which some may still be next.
        let mut floor = 0;
        for (last, place) in self.by_last.iter().rev() {
            if *last < floor {
                break;
            }
            visits::add(1);
            let Some(members) = self.places.get(place) else {
                continue;
            };
            if later.are_beside(place) {
                match place.together {
                    Some(_) => next.extend(&members.due),
                    None => next.extend(members.due.get(last)),
                }
            }
            // Beside what stands on no branch is only what was decided as one with it.
            if place.branch.is_empty() {
                floor = floor.max(place.together.unwrap_or(u32::MAX));
            }
            later.add(place);
        }
        next.sort_unstable_by(|left: &u32, right| right.cmp(left));
        next
    }
}

//! Effects that are forgotten, and undos that are next.

use std::collections::VecDeque;

use chronicler_domain::Timestamp;

use super::*;
use crate::definition::effect::{EffectSpec, Request, Undo};
use crate::definition::effect_view::Untaken;
use crate::definition::terms::Terms;

fn effect(key: &str, has_undo: bool, state: EffectState) -> EffectView {
    let undo = has_undo.then_some(Undo {
        if_done: Request::Nothing,
        if_unknown: None,
    });
    EffectView {
        spec: EffectSpec {
            key: key.to_owned(),
            request: Request::Nothing,
            undo,
        },
        state,
        undo: UndoState::Idle,
        undo_round: 0,
        decided_at: None,
        terms: Terms::default(),
        together: None,
        found_done: false,
        untaken: Untaken::default(),
        skipped: false,
        begun: false,
        awaits_room: false,
    }
}

#[test]
fn what_can_still_matter_is_kept_under_its_index_whatever_is_forgotten() {
    let mut effects = Effects::default();
    let pending = EffectState::Pending {
        attempt: 0,
        next: Timestamp::EPOCH,
    };
    let kept = [
        effects.push(effect("a", true, EffectState::Done)),
        effects.push(effect("a", false, pending.clone())),
        effects.push(effect("other", false, EffectState::Done)),
    ];
    let unheard = BTreeSet::from([500]);
    for _ in 0..1_000 {
        effects.push(effect("a", false, EffectState::Done));
        if effects.has_many_superseded() {
            effects.forget_superseded(&unheard);
        }
    }
    assert!(
        effects.get(500).is_some(),
        "its answer is still to be taken in"
    );
    assert!(effects.all().len() < 200, "{}", effects.all().len());
    assert_eq!(effects.decided(), 1_003);
    assert!(kept.iter().all(|index| effects.get(*index).is_some()));
    assert_eq!(effects.latest("a"), Some(1_002));
    assert_eq!(effects.latest("other"), Some(kept[2]));
    assert!(effects.has_work());
    effects.change(kept[1], |effect| effect.state = EffectState::Done);
    assert!(!effects.has_work());
    // Read back it counts the same.
    let bytes = chronicler_store::codec::encode_shaped(&effects).unwrap();
    let again: Effects = chronicler_store::codec::decode_shaped(&bytes).unwrap();
    assert_eq!(again.all(), effects.all());
    assert_eq!(again.indices(), effects.indices());
    assert_eq!(again.tally, effects.tally);
    effects.forget_settled(&unheard);
    assert_eq!(effects.indices(), [500]);
    effects.forget_settled(&BTreeSet::new());
    assert_eq!(effects.all(), []);
    let next = effects.push(effect("a", true, pending));
    assert_eq!(next, 1_003);
    assert!(effects.get(next).is_some() && effects.has_work());
    effects.change(next, |effect| effect.state = EffectState::Done);
    assert_eq!(effects.next_undos(), [next]);
}

/// Whether two effects lie on different branches of one fork.
fn are_apart(left: &[(u32, u32)], right: &[(u32, u32)]) -> bool {
    let parted = left.iter().zip(right).find(|(left, right)| left != right);
    parted.is_some_and(|(left, right)| left.0 == right.0)
}

/// The undos that are next as a walk over all effects finds them.
fn walked(effects: &Effects) -> Vec<u32> {
    let is_beside = |one: &EffectView, other: &EffectView| {
        (one.together.is_some() && one.together == other.together)
            || are_apart(&one.terms.branch, &other.terms.branch)
    };
    let (mut next, mut later) = (Vec::new(), Vec::<&EffectView>::new());
    for index in effects.indices().into_iter().rev() {
        let effect = effects.get(index).unwrap();
        let is_due = effect.is_to_be_undone();
        let is_undone_now = matches!(effect.undo, UndoState::Pending { .. });
        let is_parked = matches!(effect.state, EffectState::Parked { .. });
        if !is_due && !is_undone_now && !is_parked {
            continue;
        }
        if is_due && later.iter().all(|other| is_beside(other, effect)) {
            next.push(index);
        }
        later.push(effect);
    }
    next
}

#[test]
fn the_undos_that_are_next_are_those_that_a_walk_over_all_finds() {
    let mut seed = 7_u64;
    let mut chance = move |of: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % of
    };
    for _ in 0..500 {
        let mut effects = Effects::default();
        for _ in 0..chance(12) + 1 {
            let first = effects.decided();
            let branch = match chance(8) {
                0 => Vec::new(),
                1 => vec![(1, 1), (2, 1)],
                2 => vec![(1, 1), (2, 2)],
                3 => vec![(3, 1)],
                4 => vec![(1, 2), (4, 1)],
                branch => vec![(1, u32::try_from(branch % 3).unwrap())],
            };
            let count = chance(4) + 1;
            for _ in 0..count {
                let state = match chance(8) {
                    0 => EffectState::Rejected,
                    1 => EffectState::Parked {
                        reason: String::new(),
                    },
                    2 => EffectState::Unknown,
                    _ => EffectState::Done,
                };
                let mut one = effect("k", chance(5) > 0, state);
                one.terms.branch.clone_from(&branch);
                effects.push(one);
            }
            if count > 1 && chance(2) == 0 {
                effects.together_from(first);
            }
        }
        let mut under_way = Vec::new();
        loop {
            let expected = walked(&effects);
            let next = effects.next_undos();
            assert_eq!(next, expected);
            for index in next {
                let (attempt, next) = (0, Timestamp::EPOCH);
                effects.change(index, |effect| {
                    effect.undo = UndoState::Pending { attempt, next };
                });
                under_way.push(index);
            }
            let parked = effects.indices().into_iter().find(|index| {
                matches!(
                    effects.get(*index).unwrap().state,
                    EffectState::Parked { .. }
                )
            });
            if !under_way.is_empty() {
                let place = usize::try_from(chance(under_way.len() as u64)).unwrap();
                let index = under_way.swap_remove(place);
                let is_stuck = chance(6) == 0;
                effects.change(index, |effect| {
                    effect.undo = match is_stuck {
                        true => UndoState::Stuck {
                            reason: String::new(),
                            rejected: true,
                        },
                        false => UndoState::Undone,
                    };
                });
            } else if let Some(index) = parked {
                effects.change(index, |effect| effect.state = EffectState::Done);
            } else {
                break;
            }
        }
        let left = effects
            .all()
            .iter()
            .filter(|effect| effect.is_to_be_undone());
        assert_eq!(left.count(), 0);
    }
}

/// The effects that are looked at while branches of so many effects each are undone, one undo after the other.
fn visits_of_undoing(branches: u32, each: u32) -> usize {
    let mut effects = Effects::default();
    for step in 0..each * branches {
        let mut one = effect(&format!("e{step}"), true, EffectState::Done);
        one.terms.branch = vec![(1, step % branches)];
        effects.push(one);
    }
    let before = visits::count();
    let (mut under_way, mut undone) = (VecDeque::new(), 0);
    loop {
        for index in effects.next_undos() {
            let (attempt, next) = (0, Timestamp::EPOCH);
            effects.change(index, |effect| {
                effect.undo = UndoState::Pending { attempt, next };
            });
            under_way.push_back(index);
        }
        let Some(index) = under_way.pop_front() else {
            break;
        };
        effects.change(index, |effect| effect.undo = UndoState::Undone);
        undone += 1;
    }
    assert_eq!(undone, each * branches);
    visits::count() - before
}

#[test]
fn e1_undoing_on_many_branches_looks_at_the_others_only_where_one_more_is_next() {
    let (few, many) = (visits_of_undoing(50, 1), visits_of_undoing(2_000, 1));
    assert!(many <= 50 * few, "{few} for 50 branches, {many} for 2,000");
    let (few, many) = (visits_of_undoing(50, 2), visits_of_undoing(200, 2));
    assert!(many <= 20 * few, "{few} for 50 branches, {many} for 200");
}

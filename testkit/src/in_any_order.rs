//! The same things in every order: what a saga is given comes in whichever order the log has.

use chronicler_sagas::Saga;

use crate::script::Script;

/// One thing that happens in a script.
pub type Play<'a, S> = &'a dyn Fn(Script<S>) -> Script<S>;

/// Plays the same things in every order, each time from the beginning, and looks at each end. Seven things are 5,040
/// orders.
pub fn in_any_order<S: Saga>(
    begin: impl Fn() -> Script<S>,
    plays: &[Play<'_, S>],
    end: impl Fn(Script<S>),
) {
    let mut order: Vec<usize> = (0..plays.len()).collect();
    loop {
        let mut script = begin();
        for play in order.iter().filter_map(|place| plays.get(*place)) {
            script = play(script);
        }
        end(script);
        if !next_permutation(&mut order) {
            return;
        }
    }
}

/// The next order in the order of the dictionary; `false` after the last.
fn next_permutation(order: &mut [usize]) -> bool {
    let Some(rise) = order
        .windows(2)
        .rposition(|pair| pair.first() < pair.last())
    else {
        return false;
    };
    let Some(&low) = order.get(rise) else {
        return false;
    };
    let Some(above) = order.iter().rposition(|place| *place > low) else {
        return false;
    };
    order.swap(rise, above);
    if let Some(rest) = order.get_mut(rise + 1..) {
        rest.reverse();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_once() {
        let mut order = vec![0, 1, 2, 3];
        let mut seen = vec![order.clone()];
        while next_permutation(&mut order) {
            seen.push(order.clone());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 24);
        assert!(!next_permutation(&mut []));
    }
}

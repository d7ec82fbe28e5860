//! What counts as the same command, and what does not.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::fingerprint;

#[derive(Clone, Serialize)]
struct Order {
    lines: HashMap<String, u32>,
    tags: HashSet<String>,
    nested: Vec<HashMap<u8, HashSet<i64>>>,
    note: Option<String>,
}

fn order(seed: u64) -> Order {
    let names = || (0..9_u64).map(|n| format!("{}", n.wrapping_mul(seed)));
    Order {
        lines: names().zip(1..).collect(),
        tags: names().collect(),
        nested: (0..4)
            .map(|n| {
                (0..5)
                    .map(|k| (k, (0..7).map(|v| i64::from(v) - n).collect()))
                    .collect()
            })
            .collect(),
        note: None,
    }
}

fn of<T: Serialize>(value: &T) -> u64 {
    fingerprint(value).expect("it can be written")
}

#[test]
fn d4_what_a_command_says_does_not_depend_on_the_order_of_its_maps_and_sets() {
    for seed in 1..200 {
        // Each map has an order of its own.
        assert_eq!(of(&order(seed)), of(&order(seed)));
        assert_ne!(of(&order(seed)), of(&order(seed + 1)));
    }
    let sorted: BTreeMap<_, _> = order(3).lines.into_iter().collect();
    assert_eq!(of(&order(3).lines), of(&sorted));
}

#[test]
fn d4_a_change_of_anything_in_it_is_another_command() {
    let some = order(5);
    let mut others = vec![some.clone(); 4];
    others[0].lines.insert("one more".to_owned(), 1);
    others[1].tags.remove("5");
    others[2].nested[3].insert(9, HashSet::new());
    others[3].note = Some(String::new());
    let mut all: HashSet<_> = others.iter().map(of).collect();
    all.insert(of(&some));
    assert_eq!(all.len(), 5);
    // The values of two keys in each other's place, and a sum that stays the same.
    assert_ne!(
        of(&BTreeMap::from([(1, 2), (3, 4)])),
        of(&BTreeMap::from([(1, 4), (3, 2)]))
    );
    assert_ne!(of(&[1, 4]), of(&[2, 3]));
    assert_ne!(of(&vec![1, 4]), of(&vec![2, 3]));
    assert_ne!(of(&(1, 2)), of(&(2, 1)));
    assert_ne!(
        of(&vec![vec![1], vec![2, 3]]),
        of(&vec![vec![1, 2], vec![3]])
    );
    assert_ne!(of(&"ab"), of(&"ba"));
    assert_ne!(of(&-1_i64), of(&u64::MAX));
    assert_ne!(of(&-1_i128), of(&u128::MAX));
    assert_ne!(of(&Some(1)), of(&1));
    assert_ne!(of(&""), of(&()));
}

#[test]
fn d4_the_order_of_a_list_does_not_count_and_that_of_a_tuple_and_an_array_does() {
    #[derive(Serialize)]
    enum Playlist {
        Reorder(Vec<&'static str>),
        Swap([&'static str; 2]),
    }
    let reorder = |songs: &[&'static str]| of(&Playlist::Reorder(songs.to_vec()));
    assert_eq!(reorder(&["a", "b"]), reorder(&["b", "a"]));
    assert_ne!(reorder(&["a", "b"]), reorder(&["a", "a"]));
    let swap = |songs| of(&Playlist::Swap(songs));
    assert_ne!(swap(["a", "b"]), swap(["b", "a"]));
}

#[test]
fn d4_a_command_of_a_later_release_with_a_new_optional_field_is_the_same() {
    #[derive(Serialize)]
    enum Then {
        Pay { cents: u32, to: &'static str },
    }
    #[derive(Serialize)]
    enum Now {
        Pay {
            to: &'static str,
            cents: u64,
            note: Option<&'static str>,
        },
    }
    let then = of(&Then::Pay {
        cents: 5,
        to: "bob",
    });
    let now = |note| Now::Pay {
        cents: 5,
        to: "bob",
        note,
    };
    assert_eq!(then, of(&now(None)));
    assert_ne!(then, of(&now(Some(""))));
}

#[test]
fn d4_the_number_of_a_command_is_the_same_in_every_release() {
    // In the log, and never to change.
    assert_eq!(of(&(1_u8, -2_i64, "three", Some('4'), true, 5.5)), FIRST);
    assert_eq!(
        of(&BTreeMap::from([("a", vec![1, 2]), ("b", vec![])])),
        SECOND
    );
}

const FIRST: u64 = 7_537_821_972_049_864_013;
const SECOND: u64 = 18_072_811_748_472_811_172;

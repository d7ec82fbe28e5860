//! Events that a view which nobody sees yet has set aside ahead of where it stands: it takes them up in their turn.

use std::collections::{BTreeMap, BTreeSet};

use chronicler_projections::{AfterRetries, Handlers, Projection, Projections, ProjectionsBuilder};

use crate::world::{Account, AccountEvent, World, at_once, moved};

/// Who has which name. A name that is taken is refused.
#[derive(Clone, Debug, Default, PartialEq)]
struct Names(BTreeMap<String, String>);

impl Projection for Names {
    const NAME: &'static str = "names";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, event, info| {
            let AccountEvent::Moved { to, .. } = event else {
                return Ok(());
            };
            if let Some(owner) = view.0.get(to) {
                return Err(format!("{to} is {owner}'s").into());
            }
            view.0.insert(to.clone(), info.id().to_owned());
            Ok(())
        });
    }
}

/// The names and the events set aside after these takings of names, one a position: what a fold in order gives.
fn in_order(takings: &[(String, String)]) -> (Names, BTreeSet<u64>) {
    let (mut names, mut aside, mut blocked) = (Names::default(), BTreeSet::new(), BTreeSet::new());
    for (position, (user, name)) in (1..).zip(takings) {
        if blocked.contains(user) || names.0.contains_key(name) {
            blocked.insert(user);
            aside.insert(position);
        } else {
            names.0.insert(name.clone(), user.clone());
        }
    }
    (names, aside)
}

async fn shown(projections: &Projections) -> (Names, BTreeSet<u64>) {
    let view = projections.view::<Names>().unwrap();
    let names = Names(view.read().unwrap().0.clone());
    let parked = projections.parked("names").await.unwrap();
    (
        names,
        parked.iter().map(|event| event.position.get()).collect(),
    )
}

/// Starts a view over these takings, in batches of so many events, and builds it again.
async fn assert_in_order(takings: &[(String, String)], batch: usize) {
    let world = World::new().await;
    for (user, name) in takings {
        world.send(user, moved(name, 0)).await;
    }
    let options = at_once(AfterRetries::Park).batch_events_max(batch);
    let builder = ProjectionsBuilder::new().memory_with(Names::default(), options);
    let projections = world.start(builder).await;
    let expected = in_order(takings);
    let said = format!("{takings:?} in batches of {batch}");
    assert_eq!(shown(&projections).await, expected, "{said}");
    projections.rebuild("names").await.unwrap();
    assert_eq!(shown(&projections).await, expected, "{said}, built again");
}

#[tokio::test]
async fn b1_nothing_ahead_of_a_view_is_taken_up_before_what_came_before_it() {
    let takings = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |(user, name): &(&str, &str)| ((*user).to_owned(), (*name).to_owned());
        all.iter().map(owned).collect()
    };
    assert_in_order(
        &takings(&[("u1", "a"), ("u2", "b"), ("u3", "a"), ("u4", "b")]),
        2,
    )
    .await;
    // Any history, by a generator of numbers that is the same each time.
    let mut state = 7_u64;
    let mut below = |most: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % most
    };
    for _ in 0..12 {
        let length = 12 + below(24);
        let taking = |_| (format!("u{}", below(12)), format!("n{}", below(16)));
        let history: Vec<_> = (0..length).map(taking).collect();
        for batch in [1, 2, 3, 7] {
            assert_in_order(&history, batch).await;
        }
    }
}

//! Children that need a resource have their place from their beginning to their end.

use chronicler_domain::Event;
use chronicler_sagas::{Input, Next, Route, Routes, Saga, SagaContext};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, next_life_with, settle};
use crate::shop::{Order, OrderCommand, OrderEvent};

/// A parent begins four children that all need the nest, and a child ends when its order is touched.
struct Brood;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Event for Nothing {}

impl Saga for Brood {
    const NAME: &'static str = "brood";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched if info.id.contains('-') => Route::resume(&info.id),
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
        on.child::<Self>();
    }

    fn on(&self, (): &(), input: &Input, ctx: &SagaContext) -> Next<Self> {
        let egg = |number: u32| {
            let (key, id) = (format!("egg {number}"), format!("{}-{number}", ctx.id));
            let begin = Next::stay().start::<Self>(&key, id, &());
            begin.at_most(1, "nest")
        };
        match input {
            Input::Event(_) if ctx.id.contains('-') => Next::stay().complete(),
            Input::Event(_) => Next::stay().together((0..4).map(egg)),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// The children that are open.
async fn alive(f: &Fixture) -> Vec<String> {
    settle().await;
    let all = f.sagas.saga::<Brood>().unwrap().open().await.unwrap();
    let ids = all.iter().map(|saga| saga.id().to_owned());
    ids.filter(|id| id.contains('-')).collect()
}

/// Ends the one that is open.
async fn end(f: &Fixture) -> String {
    let alive = alive(f).await;
    let [only] = alive.as_slice() else {
        panic!("{alive:?}")
    };
    f.order(only, OrderCommand::Touch).await;
    only.clone()
}

#[tokio::test]
async fn m92_children_that_share_a_resource_are_alive_so_many_at_a_time_also_after_a_restart() {
    let f = fixture_with(Brood).await;
    f.order("p", OrderCommand::Touch).await;
    let first = end(&f).await;
    let second = alive(&f).await;
    let f = next_life_with(f, Brood).await;
    assert_eq!(
        alive(&f).await,
        second,
        "the one that was begun has its place"
    );
    let mut all = vec![first];
    for _ in 0..3 {
        all.push(end(&f).await);
    }
    all.sort();
    assert_eq!(all, ["p-0", "p-1", "p-2", "p-3"]);
    assert!(alive(&f).await.is_empty());
}

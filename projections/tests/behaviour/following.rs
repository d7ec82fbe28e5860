//! Folding from the log: whole, in order, once, before and after the start.

use std::sync::Arc;

use chronicler_domain::{
    Aggregate, AggregateId, Context, Decided, Decision, Event, GlobalPosition, Never, Tenant,
};
use chronicler_projections::{Handlers, Projection, ProjectionsBuilder, StartError, ViewError};
use chronicler_runtime::{RuntimeBuilder, SendOptions};
use chronicler_store::{MemoryStore, Store};
use serde::{Deserialize, Serialize};

use crate::world::{AccountEvent, BalanceRows, Balances, World, moved};

#[tokio::test]
async fn p1_a_view_in_memory_shows_what_happened_before_and_after_its_start() {
    let world = World::new().await;
    world.deposit("alice", 500).await;
    world.noise().await;
    world.send("alice", moved("bob", 200)).await;
    let mut seen = Vec::new();
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = builder
        .start(&world.runtime, |progress| seen.push(progress.to_vec()))
        .await
        .unwrap();
    let last = seen.last().unwrap();
    assert!(
        last[0].ready && last[0].at == GlobalPosition::new(3),
        "{last:?}"
    );
    assert_eq!(&*last[0].name, "balances");

    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.read().unwrap().cents["bob"], 200);
    let held = view.read().unwrap();
    let position = world.deposit("bob", 1).await;
    let now = view.at_least(position).await.unwrap();
    assert_eq!((now.cents["bob"], now.position()), (201, position));
    assert_eq!((held.cents["bob"], held.position().get()), (200, 3));
    let folded: Vec<u64> = now.events.iter().map(|at| at.get()).collect();
    assert_eq!(folded, [1, 3, 4]);
}

#[tokio::test]
async fn p3_many_batches_fold_every_event_once_and_readers_never_see_one_torn() {
    let world = World::new().await;
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = world.start(builder).await;
    let view = projections.view::<Balances>().unwrap();
    let mut held = Vec::new();
    for round in 1..=300 {
        // Two events in one commit that cancel each other out: no reader may see one without the other.
        let mut events = vec![AccountEvent::Deposited { cents: 7 }];
        events.extend(moved("sink", 7));
        let position = world.send("source", events).await;
        let now = view.at_least(position).await.unwrap();
        assert_eq!(now.cents["source"], 0);
        assert_eq!(now.cents["sink"], 7 * round);
        assert!(now.events.is_sorted() && now.events.len() == 2 * round as usize);
        if round % 3 == 0 {
            held.push((now, 7 * round));
        }
    }
    for (view, cents) in held {
        assert_eq!(view.cents["sink"], cents);
    }
    let info = projections.info("balances").unwrap();
    assert_eq!((info.folded_events, info.lag_events), (600, 0));
}

#[tokio::test]
async fn events_that_concern_no_view_move_its_position_all_the_same() {
    let world = World::new().await;
    let builder = ProjectionsBuilder::new()
        .memory(Balances::default())
        .table::<BalanceRows>();
    let projections = world.start(builder).await;
    let position = world.noise().await;
    let view = projections.view::<Balances>().unwrap();
    assert_eq!(view.at_least(position).await.unwrap().position(), position);
    let table = projections.table::<BalanceRows>().unwrap();
    assert_eq!(table.at_least(position).await.unwrap().position(), position);
    let position = world.deposit("alice", 1).await;
    assert_eq!(view.at_least(position).await.unwrap().cents["alice"], 1);
}

#[tokio::test]
async fn tenants_are_visible_and_kept_apart() {
    let world = World::new().await;
    let builder = ProjectionsBuilder::new().memory(Balances::default());
    let projections = world.start(builder).await;
    world.deposit("alice", 1).await;
    let acme = Tenant::new("acme").unwrap();
    let events = vec![AccountEvent::Deposited { cents: 2 }];
    let position = world.send_as(&acme, "alice", events).await;
    let view = projections.view::<Balances>().unwrap();
    let now = view.at_least(position).await.unwrap();
    assert_eq!((now.cents["alice"], now.cents["acme:alice"]), (1, 2));
}

#[tokio::test]
async fn p1_a_restart_builds_a_view_in_memory_anew_and_the_same() {
    let world = World::new().await;
    for round in 0..50 {
        world.deposit("alice", round).await;
        world.send("alice", moved("bob", round / 2)).await;
    }
    let builder = || ProjectionsBuilder::new().memory(Balances::default());
    let first = world.start(builder()).await;
    let before = first.view::<Balances>().unwrap().read().unwrap();
    first.stop().await;
    let world = World::over(world.store.clone()).await;
    let second = world.start(builder()).await;
    let after = second.view::<Balances>().unwrap().read().unwrap();
    assert_eq!(before.cents, after.cents);
    assert_eq!(before.events, after.events);
    assert_eq!(before.position(), after.position());
}

#[tokio::test]
async fn without_waiting_a_view_says_how_far_it_is_until_it_answers() {
    let world = World::new().await;
    for _ in 0..10 {
        world.deposit("alice", 1).await;
    }
    let builder = ProjectionsBuilder::new()
        .memory(Balances::default())
        .table::<BalanceRows>();
    let projections = builder.start_without_waiting(&world.runtime).unwrap();
    let view = projections.view::<Balances>().unwrap();
    let table = projections.table::<BalanceRows>().unwrap();
    let Err(ViewError::Rebuilding { at, of, .. }) = view.read() else {
        panic!("nothing can have been folded before anything else ran");
    };
    assert_eq!((at.get(), of.get()), (0, 10));
    let rebuilding = table.get("alice").await.unwrap_err();
    assert!(matches!(rebuilding, ViewError::Rebuilding { .. }));
    assert!(rebuilding.is_retryable());
    let now = view.at_least(GlobalPosition::new(1)).await.unwrap();
    assert_eq!((now.position().get(), now.cents["alice"]), (10, 10));
    table.at_least(GlobalPosition::new(1)).await.unwrap();
    assert_eq!(table.get("alice").await.unwrap().unwrap().cents, 10);
}

#[tokio::test]
async fn everything_that_is_wrong_with_the_definitions_is_named_at_once() {
    use crate::world::Account;
    use chronicler_projections::{Handlers, Projection};

    #[derive(Clone)]
    struct Silent;
    impl Projection for Silent {
        const NAME: &'static str = "";
        fn define(_: &mut Handlers<Self>) {}
    }
    #[derive(Clone)]
    struct Double;
    impl Projection for Double {
        const NAME: &'static str = "balances";
        fn define(on: &mut Handlers<Self>) {
            on.events::<Account>(|_, _, _| {});
            on.events::<Account>(|_, _, _| {});
        }
    }
    let world = World::new().await;
    let builder = ProjectionsBuilder::new()
        .memory(Balances::default())
        .memory(Silent)
        .memory(Double);
    let error = builder.start_without_waiting(&world.runtime).unwrap_err();
    let StartError::Invalid { problems } = error else {
        panic!("{error}");
    };
    let expected = [
        "projection \"\": it takes no events",
        "projection \"\": its name has 0 bytes",
        "projection \"balances\" is there 2 times",
        "projection \"balances\": category \"account\" has two handlers",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
}

/// A history as an executor of sagas writes it: what was noted, and entries of its own.
#[derive(Clone, Default, Serialize, Deserialize)]
struct History;

#[derive(Serialize, Deserialize)]
enum Written {
    #[serde(rename = "$Started")]
    Started {
        version: u32,
    },
    Noted(String),
    #[serde(rename = "$Ended")]
    Ended,
}

impl Event for Written {}

impl Aggregate for History {
    const CATEGORY: &'static str = "history";
    type Command = ();
    type Event = Written;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, (): (), _: &Context) -> Decided<Self> {
        Ok(Decision::events(vec![
            Written::Started { version: 1 },
            Written::Noted("paid".to_owned()),
            Written::Ended,
        ]))
    }

    fn evolve(&mut self, _: &Written) {}
}

/// The saga's own entries, and its end.
#[derive(Serialize, Deserialize)]
enum Read {
    Noted(String),
    #[serde(rename = "$Ended")]
    Ended,
}

impl Event for Read {}

#[derive(Clone, Default)]
struct Notes(Vec<String>);

impl Projection for Notes {
    const NAME: &'static str = "notes";

    fn define(on: &mut Handlers<Self>) {
        on.category::<Read>("history", |view, event, _| {
            view.0.push(match event {
                Read::Noted(what) => what.clone(),
                Read::Ended => "the end".to_owned(),
            });
            Ok(())
        });
    }
}

#[tokio::test]
async fn b6_a_history_is_followed_past_what_the_executor_enters_for_itself() {
    let store = Arc::new(MemoryStore::new());
    let runtime = RuntimeBuilder::new(store as Arc<dyn Store>)
        .aggregate::<History>()
        .build()
        .await
        .unwrap();
    let id = AggregateId::new("one").unwrap();
    let (tenant, options) = (Tenant::default(), SendOptions::default());
    let sent = runtime.send::<History>(&tenant, &id, (), options);
    sent.await.unwrap();
    let builder = ProjectionsBuilder::new().memory(Notes::default());
    let projections = builder.start(&runtime, |_| {}).await.unwrap();
    let view = projections.view::<Notes>().unwrap();
    assert_eq!(view.read().unwrap().0, ["paid", "the end"]);
    assert_eq!(projections.info("notes").unwrap().parked_events, 0);
}

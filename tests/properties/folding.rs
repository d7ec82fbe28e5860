//! Snapshot and tail is the full replay; a rebuilt view is the one that followed; both are what paper says.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::projections::{FlushPolicy, ProjectionOptions};
use chronicler::runtime::{RuntimeOptions, SnapshotPolicy};
use chronicler::store::journal::JournalOptions;
use chronicler::store::{JournalStore, MemoryStore, Store};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{block_on, cases};

/// A list of numbers: its state depends on the order of its events, and on each of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Pile(Vec<u16>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum PileEvent {
    Pushed(u16),
    Dropped,
    Reversed,
}

impl Event for PileEvent {}

impl Aggregate for Pile {
    const CATEGORY: &'static str = "pile";
    type Command = Vec<PileEvent>;
    type Event = PileEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, events: Vec<PileEvent>, _: &Context) -> Decided<Self> {
        Ok(Decision::events(events))
    }

    fn evolve(&mut self, event: &PileEvent) {
        match event {
            PileEvent::Pushed(number) => self.0.push(*number),
            PileEvent::Dropped => drop(self.0.pop()),
            PileEvent::Reversed => self.0.reverse(),
        }
    }
}

/// How high each pile is, and the number of events that made it so.
struct Heights;

impl TableProjection for Heights {
    const NAME: &'static str = "heights";
    type Row = (i64, u64);

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Pile>(|table, event, info| {
            table.update(info.id(), |row| {
                let (height, events) = row.unwrap_or_default();
                let height = match event {
                    PileEvent::Pushed(_) => height + 1,
                    PileEvent::Dropped => (height - 1).max(0),
                    PileEvent::Reversed => height,
                };
                // A row that is empty again is gone.
                (height > 0 || events % 2 == 0).then_some((height, events + 1))
            });
        });
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8, Vec<PileEvent>),
    /// The actor ends; the next command recovers the instance.
    Passivate(u8),
    /// The snapshots are gone.
    Forget(u8),
    /// The application stops and starts.
    Restart,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![
        4 => any::<u16>().prop_map(PileEvent::Pushed),
        2 => Just(PileEvent::Dropped),
        1 => Just(PileEvent::Reversed),
    ];
    let events = prop::collection::vec(event, 0..6);
    let step = prop_oneof![
        10 => (0..3_u8, events).prop_map(|(pile, events)| Step::Send(pile, events)),
        2 => (0..3_u8).prop_map(Step::Passivate),
        1 => (0..3_u8).prop_map(Step::Forget),
        1 => Just(Step::Restart),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..40)
}

fn policy() -> impl Strategy<Value = SnapshotPolicy> {
    prop_oneof![
        1 => Just(SnapshotPolicy::Never),
        4 => (1..10_u64).prop_map(SnapshotPolicy::EveryEvents),
        1 => (1..60_u64).prop_map(SnapshotPolicy::EveryBytes),
        1 => Just(SnapshotPolicy::OnPassivation),
    ]
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn snapshot_and_tail_is_the_full_replay_and_a_rebuild_the_view_that_followed(
        steps in steps(), policy in policy(), flush in 1..20_u64,
    ) {
        let mut store = Arc::new(MemoryStore::new());
        // The next life finds what the last one made durable.
        let mut open = || {
            store = store.faults().survivor();
            Arc::clone(&store) as Arc<dyn Store>
        };
        block_on(run(steps, policy, flush, &mut open))?;
    }
}

proptest! {
    #![proptest_config(cases(15))]
    #[test]
    fn snapshot_and_tail_is_the_full_replay_on_disk_too(
        steps in steps(), policy in policy(), flush in 1..20_u64,
    ) {
        let folder = TempDir::new()?;
        let open = || JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
        block_on(run(steps, policy, flush, &mut || Arc::new(open())))?;
    }
}

async fn start(store: Arc<dyn Store>, policy: &SnapshotPolicy, flush: u64) -> App {
    let mut options = RuntimeOptions::default();
    options.snapshots = policy.clone();
    let table = ProjectionOptions::default()
        .flush(FlushPolicy::default().events(flush))
        .batch_events_max(3);
    let app = App::over(store)
        .options(options)
        .aggregate::<Pile>()
        .table_with::<Heights>(table);
    app.start().await.unwrap()
}

async fn run(
    steps: Vec<Step>,
    policy: SnapshotPolicy,
    flush: u64,
    open: &mut dyn FnMut() -> Arc<dyn Store>,
) -> Result<(), TestCaseError> {
    let mut app = start(open(), &policy, flush).await;
    let mut paper: BTreeMap<String, (Pile, u64)> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Send(pile, events) => {
                let name = format!("p{pile}");
                app.send::<Pile>(name.as_str(), events.clone())
                    .await
                    .unwrap();
                let (state, version) = paper.entry(name).or_default();
                *version += events.len() as u64;
                events.iter().for_each(|event| state.evolve(event));
            }
            Step::Passivate(pile) => {
                let id = AggregateId::new(format!("p{pile}")).unwrap();
                app.runtime()
                    .aggregate::<Pile>()
                    .unwrap()
                    .passivate(&Tenant::default(), &id)
                    .await;
            }
            Step::Forget(pile) => {
                let stream = chronicler::domain::StreamId::of("pile", &format!("p{pile}")).unwrap();
                let all = chronicler::domain::StreamVersion::MAX;
                app.store().delete_snapshots(&stream, all).await.unwrap();
            }
            Step::Restart => {
                app.stop().await;
                drop(app);
                app = start(open(), &policy, flush).await;
            }
            Step::Rebuild => {
                let before = heights(&app).await;
                app.projections().rebuild(Heights::NAME).await.unwrap();
                prop_assert_eq!(heights(&app).await, before);
            }
        }
        for (name, (state, version)) in &paper {
            let found = app.state::<Pile>(name.as_str()).await.unwrap();
            prop_assert_eq!(&found.state, state);
            prop_assert_eq!(found.version.get(), *version);
        }
    }
    // Everybody recovers once more, with whatever snapshots there are, and then without any.
    let before = heights(&app).await;
    for policy in [policy, SnapshotPolicy::Never] {
        app.stop().await;
        drop(app);
        app = start(open(), &policy, flush).await;
        for (name, (state, _)) in &paper {
            prop_assert_eq!(
                &app.state::<Pile>(name.as_str()).await.unwrap().state,
                state
            );
        }
    }
    prop_assert_eq!(&heights(&app).await, &before);
    app.projections().rebuild(Heights::NAME).await.unwrap();
    prop_assert_eq!(&heights(&app).await, &before);
    app.stop().await;
    Ok(())
}

async fn heights(app: &App) -> Vec<(Vec<u8>, (i64, u64))> {
    let table = app.table::<Heights>().unwrap();
    table.at_least(app.head().position).await.unwrap();
    let page = table.scan("", None, 100).await.unwrap();
    page.rows
        .iter()
        .map(|(key, row)| (key.to_vec(), *row))
        .collect()
}

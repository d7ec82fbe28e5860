//! What comes of damage.

use std::path::Path;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, StreamVersion};
use chronicler_store::journal::JournalReader;
use chronicler_store::{
    AllQuery, EventLog, FactKind, FactQuery, JournalStore, ReadError, Snapshot, SnapshotStore,
    Start, StreamQuery, ViewStore,
};
use futures::TryStreamExt;
use tokio::runtime::Runtime;

use crate::world::{self, STREAMS, World, open};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Everything is there, and nothing had to be done.
    Intact,
    /// Everything is there after something was mended or made again, and the store says so.
    Mended,
    /// An error says what is wrong and where.
    Named,
}

/// Opens a damaged directory, and reads everything.
pub(crate) fn of(world: &World, folder: &Path) -> Outcome {
    let verified = JournalReader::open(folder).map(|reader| reader.verify(&|_| {}));
    let store = match open(folder) {
        Ok(store) => store,
        Err(error) => {
            let text = error.to_string();
            let names = text.contains(folder.to_str().unwrap()) || text.contains("segment");
            assert!(names, "it does not say where: {text}");
            return Outcome::Named;
        }
    };
    let report = store.open_report().clone();
    let outcome = on_a_runtime(|runtime| runtime.block_on(read(world, &store)));
    on_a_runtime(|runtime| runtime.block_on(store.close()));
    drop(store);
    match outcome {
        Err(error) => {
            // What reading finds, `verify` finds before.
            assert!(
                verified.is_ok_and(|found| !found.is_whole()),
                "verify does not see it: {error}"
            );
            assert!(error.to_string().contains("segment"), "{error}");
            Outcome::Named
        }
        Ok(made_again) => {
            // Mended for good: the next time there is nothing to do.
            let store = open(folder).unwrap();
            let again = store.open_report();
            assert!(
                again.marker_slots_damaged == 0 && again.sealed_again == 0,
                "{again:?}"
            );
            let reread = on_a_runtime(|runtime| runtime.block_on(read(world, &store)));
            reread.unwrap();
            let mended = made_again
                // Behind every commit, as was just seen.
                || !report.cut.is_empty()
                || report.marker_missing
                || report.marker_slots_damaged > 0
                || report.sealed_again > 0
                || report.index_set_aside.is_some()
                || report.derived_set_aside.is_some();
            if mended {
                Outcome::Mended
            } else {
                Outcome::Intact
            }
        }
    }
}

/// Reads everything and holds it against what was written. Whether something derived is gone, to be made again.
async fn read(world: &World, store: &JournalStore) -> Result<bool, ReadError> {
    let commits = all_commits(store).await?;
    assert!(commits == world.commits, "commits are lost or others");
    for number in 0..STREAMS {
        let stream = world::stream(number);
        let head = store.stream_head(&stream).await?;
        assert_eq!(head, world.heads[number as usize], "the head of {stream}");
        let of_stream: Vec<_> = store
            .read_stream(StreamQuery::new(stream))
            .try_collect::<Vec<_>>()
            .await?;
        let count: usize = of_stream.iter().map(|batch| batch.len()).sum();
        assert_eq!(count as u64, head.unwrap().version.get());
    }
    let facts = store.facts(FactQuery::all(FactKind::CURSOR)).await?;
    let facts: Vec<_> = facts
        .into_iter()
        .map(|fact| (fact.key, fact.value))
        .collect();
    assert_eq!(facts, world.facts);
    let mut is_gone = false;
    for number in 0..STREAMS {
        let wanted = &world.snapshots[number as usize];
        let found = snapshot(store, number).await;
        assert!(found.is_none() || found == *wanted, "another snapshot");
        is_gone |= found != *wanted;
    }
    // A view is whole or gone.
    match store.view_generations("balances").await {
        Ok(generations) if !generations.is_empty() => {
            assert_eq!(generations[0].1.position, GlobalPosition::new(600));
            match store.view_rows(&world::view(), None, 1_000).await {
                Ok(rows) => assert_eq!(rows, world.rows),
                Err(_) => is_gone = true,
            }
        }
        _ => is_gone = true,
    }
    Ok(is_gone)
}

async fn snapshot(store: &JournalStore, number: u64) -> Option<Snapshot> {
    let stream = world::stream(number);
    let newest = StreamVersion::MAX;
    store.load_snapshot(&stream, newest).await.ok().flatten()
}

/// The bytes of every commit.
pub(crate) async fn all_commits(store: &JournalStore) -> Result<Vec<Bytes>, ReadError> {
    let query = AllQuery::from(Start::Position(GlobalPosition::new(1)));
    let batches: Vec<_> = store.read_all(query).try_collect().await?;
    let commits = batches.iter().flat_map(|batch| batch.iter());
    Ok(commits.map(|commit| commit.as_bytes().clone()).collect())
}

pub(crate) fn on_a_runtime<T>(run: impl FnOnce(&Runtime) -> T) -> T {
    run(&world::runtime())
}

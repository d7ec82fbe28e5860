//! R9: tables are folded by threads that wait for no other thread of the same kind.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{AggregateId, Tenant};
use chronicler_projections::{FlushPolicy, ProjectionOptions, ProjectionsBuilder};
use chronicler_runtime::{RuntimeBuilder, SendOptions, StopOptions};
use chronicler_store::journal::JournalOptions;
use chronicler_store::{EventLog, JournalStore, SledOptions, SledStore, Store};

use crate::world::{Account, AccountEvent, BalanceRows};

/// Longer than any of this takes that nothing holds up.
const GUARD: Duration = Duration::from_secs(60);

#[test]
fn r9_a_store_is_closed_where_no_thread_is_free() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let folder = tempfile::tempdir().unwrap();
    let journal = JournalStore::open(folder.path().join("j"), JournalOptions::default()).unwrap();
    let sled = SledStore::open(folder.path().join("s"), SledOptions::default()).unwrap();
    let stores: [Box<dyn Store>; 2] = [Box::new(journal), Box::new(sled)];
    let closed = tokio.block_on(async move {
        // The application has the only thread.
        drop(tokio::task::spawn_blocking(move || released.recv()));
        tokio::task::yield_now().await;
        tokio::time::timeout(GUARD, async {
            for store in &stores {
                store.close().await;
            }
        })
        .await
    });
    drop(release);
    tokio.shutdown_background();
    closed.unwrap();
    JournalStore::open(folder.path().join("j"), JournalOptions::default()).unwrap();
    SledStore::open(folder.path().join("s"), SledOptions::default()).unwrap();
}

#[test]
fn r9_a_table_is_folded_where_one_thread_does_all_that_blocks() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let life = async move {
        for deposits in 1..=2 {
            let store = JournalStore::open(&data, JournalOptions::default()).unwrap();
            let store = Arc::new(store);
            let runtime = RuntimeBuilder::new(Arc::clone(&store) as Arc<dyn Store>)
                .aggregate::<Account>()
                .build()
                .await
                .unwrap();
            // Rows are read from the store again and again.
            let options = ProjectionOptions::new()
                .flush(FlushPolicy::default().events(3))
                .batch_events_max(3)
                .cached_rows(1);
            let builder = ProjectionsBuilder::new().table_with::<BalanceRows>(options);
            let projections = builder.start(&runtime, |_| {}).await.unwrap();
            let (mut last, tenant) = (Default::default(), Tenant::default());
            for id in ["a", "b", "c", "d", "e", "f"] {
                let (id, events) = (AggregateId::new(id).unwrap(), [10, 20]);
                let events = events
                    .map(|cents| AccountEvent::Deposited { cents })
                    .to_vec();
                let options = SendOptions::default();
                let sent = runtime.send::<Account>(&tenant, &id, events, options);
                last = sent.await.unwrap().position;
            }
            let table = projections.table::<BalanceRows>().unwrap();
            table.at_least(last).await.unwrap();
            let total = table.get("total").await.unwrap().unwrap();
            assert_eq!(total.cents, 180 * deposits);
            projections.stop().await;
            runtime.stop(StopOptions::default()).await;
            store.close().await;
        }
    };
    let life = tokio.block_on(async { tokio::time::timeout(GUARD, life).await });
    // A thread that waits for ever must not be waited for.
    tokio.shutdown_background();
    life.unwrap();
}

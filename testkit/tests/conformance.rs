//! The conformance kit on every store there is.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chronicler_store::journal::JournalOptions;
use chronicler_store::{JournalStore, MemoryStore, SledOptions, SledStore, Store};
use chronicler_testkit::conformance::{self, AppendMatrix};

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance::run(async || MemoryStore::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_store_conforms() {
    let folders = tempfile::tempdir().unwrap();
    let opened = AtomicUsize::new(0);
    conformance::run(async || {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        journal(&folders.path().join(number.to_string()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sled_store_conforms() {
    let folders = tempfile::tempdir().unwrap();
    let opened = AtomicUsize::new(0);
    conformance::run(async || {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        sled(&folders.path().join(number.to_string()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn j25_the_append_matrix_of_the_field_on_the_memory_store() {
    append_matrix(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn j25_the_append_matrix_of_the_field_on_the_journal_store() {
    let folder = tempfile::tempdir().unwrap();
    append_matrix(Arc::new(journal(folder.path()))).await;
}

#[tokio::test]
async fn j25_the_append_matrix_of_the_field_on_the_sled_store() {
    let folder = tempfile::tempdir().unwrap();
    append_matrix(Arc::new(sled(folder.path()))).await;
}

/// A store with small segments, so that the checks cross from one into the next.
fn journal(folder: &Path) -> JournalStore {
    JournalStore::open(folder, JournalOptions::default().segment_bytes(64 << 10)).unwrap()
}

/// The same in sled.
fn sled(folder: &Path) -> JournalStore {
    SledStore::open(folder, SledOptions::default().segment_bytes(64 << 10)).unwrap()
}

/// Runs the shared table, where it is at hand. The kit has the same cases in its own words.
async fn append_matrix(store: Arc<dyn Store>) {
    let shared = std::env::var_os("CHRONICLER_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let file = shared.join("vectors/append_matrix.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: there is no {}", file.display());
        return;
    };
    let matrix: AppendMatrix = serde_json::from_str(&text).unwrap();
    assert_eq!(matrix.cases.len(), 14);
    conformance::append_matrix(store, &matrix).await.unwrap();
}

//! The conformance kit on every store there is.

use std::path::PathBuf;
use std::sync::Arc;

use chronicler_store::conformance::{self, AppendMatrix};
use chronicler_store::{MemoryStore, Store};

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance::run(async || MemoryStore::new()).await.unwrap();
}

#[tokio::test]
async fn j25_the_append_matrix_of_the_field_on_the_memory_store() {
    append_matrix(Arc::new(MemoryStore::new())).await;
}

/// Runs the shared table, where it is at hand. The kit has the same cases in its own words.
#[allow(clippy::unwrap_used, reason = "called by tests only")]
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

//! Any bytes as the last segment of a directory.

use std::fs;
use std::path::Path;

use chronicler_domain::LogSequence;
use chronicler_store::journal::{JournalOptions, JournalReader};
use chronicler_store::{AllQuery, EventLog, JournalStore, Start};
use futures::StreamExt;

use super::look::look_at;

/// Puts a segment in the place of the last one of a golden directory, verifies it, opens it as a store, and reads what
/// is there. Whether it opened.
pub(crate) fn segment(golden: &Path, bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (data, journal) = (folder.path(), folder.path().join("journal"));
    fs::create_dir(&journal).unwrap();
    fs::copy(golden.join("format"), data.join("format")).unwrap();
    for name in ["00000000000000000001.seg", "head"] {
        fs::copy(golden.join("journal").join(name), journal.join(name)).unwrap();
    }
    fs::write(journal.join("00000000000000000002.seg"), bytes).unwrap();
    if let Ok(reader) = JournalReader::open(data) {
        let verified = reader.verify(&|_| {});
        verified
            .damage
            .iter()
            .for_each(|damage| drop(damage.to_string()));
    }
    let Ok(store) = JournalStore::open(data, JournalOptions::default()) else {
        return false;
    };
    let everything = AllQuery {
        eventless: true,
        ..AllQuery::from(Start::Sequence(LogSequence::new(1)))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let entered = runtime.enter();
    let mut commits = store.read_all(everything);
    drop(entered);
    while let Some(batch) = runtime.block_on(commits.next()) {
        match batch {
            Ok(commits) => commits.iter().for_each(look_at),
            Err(_) => break,
        }
    }
    true
}

//! The decoders of frames and segments, given any bytes: they read them or say what is wrong, and never panic. Used by
//! the tests here on mutated golden bytes, and by the fuzzer in `store/fuzz`.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use chronicler_domain::LogSequence;
use chronicler_store::RecordedCommit;
use chronicler_store::frame::HEADER_BYTES;
use chronicler_store::journal::{JournalOptions, JournalReader};
use chronicler_store::{AllQuery, EventLog, JournalStore, Start};
use futures::StreamExt;

/// Reads a frame, and everything in it.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    match RecordedCommit::parse(&Bytes::copy_from_slice(bytes), 0) {
        Ok(commit) => {
            look_at(&commit);
            true
        }
        Err(error) => {
            // What is wrong can be said.
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The same under the checksum that the bytes give: what faulty code could have written.
pub(crate) fn resealed_frame(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_BYTES {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
    frame(&bytes)
}

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

fn look_at(commit: &RecordedCommit) {
    drop(commit.metadata());
    for part in commit.parts() {
        drop((part.stream(), part.first_version(), part.previous_offset()));
    }
    for event in commit.events() {
        drop((
            event.id(),
            event.event_type().to_owned(),
            event.payload().len(),
            event.metadata().len(),
        ));
    }
    drop(
        commit
            .records()
            .map(|record| format!("{record:?}"))
            .collect::<Vec<_>>(),
    );
}

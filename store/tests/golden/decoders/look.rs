//! Everything that a commit says.

use chronicler_store::RecordedCommit;

/// Reads all of it.
pub(crate) fn look_at(commit: &RecordedCommit) {
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

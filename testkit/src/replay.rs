//! A journal that was recorded in production, against the definition of today.

use chronicler_sagas::{Saga, replay};
use chronicler_store::EventLog;

/// Gives every instance that a log holds its inputs once more: the definition of today decides each as it was decided
/// then. The log is a copy of the one in production, of a backup or an import. How many inputs were decided.
///
/// # Panics
/// When it decides an input otherwise, with both decisions; when the log cannot be read, or holds no instance.
pub async fn assert_replays<S: Saga>(log: &dyn EventLog, saga: S) -> usize {
    let replayed = match replay(log, &saga).await {
        Ok(replayed) => replayed,
        Err(error) => panic!("the log cannot be replayed: {error}"),
    };
    assert!(
        replayed.instances > 0,
        "the log holds no instance of saga {:?}",
        S::NAME
    );
    assert!(
        replayed.differences.is_empty(),
        "saga {:?} decides {} of {} inputs otherwise than they were; the first: {:#?}",
        S::NAME,
        replayed.differences.len(),
        replayed.inputs,
        replayed.differences.first()
    );
    replayed.inputs
}

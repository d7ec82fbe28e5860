//! Reads one event of the log again.

use chronicler_domain::GlobalPosition;
use chronicler_store::{AllQuery, EventRef, ReadError, Start, Store};
use futures::StreamExt;

/// Gives what is made of the event at a position; `None` if there is none.
pub(super) async fn event_at<T>(
    store: &dyn Store,
    position: GlobalPosition,
    make: impl FnOnce(&EventRef<'_>) -> T,
) -> Result<Option<T>, ReadError> {
    let query = AllQuery {
        to: position,
        ..AllQuery::from(Start::Position(position))
    };
    let mut commits = store.read_all(query);
    while let Some(batch) = commits.next().await {
        for commit in batch? {
            if let Some(event) = commit.events().find(|event| event.position() == position) {
                return Ok(Some(make(&event)));
            }
        }
    }
    Ok(None)
}

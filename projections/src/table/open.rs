//! Which generation of a table a start goes on with, and how a new one begins.

use std::fmt;

use chronicler_store::{ViewCheckpoint, ViewName};

use super::generation::Generation;
use super::parts::TableParts;
use super::row::{RowFault, from_store};
use super::taken;
use crate::error::RunError;
use crate::projection::TableProjection;

/// How many rows are read when a table is opened, to see whether they are what the type is now. Rows of one type differ in
/// which options and variants they have; more would cost time at each start. A row of another shape that is met later has the
/// same effect.
const ROWS_LOOKED_AT: usize = 64;

/// The oldest generation of this shape that the store has, or a new one. The others of this shape are what interrupted
/// rebuilds left behind, and are removed. Generations of another shape stay until this one answers, so that going back to an
/// older release costs nothing.
pub(super) async fn stored<T: TableProjection>(
    parts: &TableParts<T>,
) -> Result<Generation<T::Row>, RunError> {
    let found = readable::<T>(parts).await?;
    let newest = found.last().map_or(0, |(view, _)| view.generation);
    let fingerprint = parts.fingerprint;
    // Facts of an earlier layout may be of another view than this one. Nobody can tell, so it is built again.
    let is_doubtful = parts.facts().are_unowned().await?;
    if is_doubtful {
        tracing::warn!(
            projection = T::NAME,
            "an earlier release has set events of a table aside, and the table is built again, once"
        );
    }
    let mut ours = found
        .into_iter()
        .filter(|(_, checkpoint)| checkpoint.fingerprint == fingerprint && !is_doubtful);
    match ours.next() {
        Some((name, checkpoint)) => {
            for (leftover, _) in ours {
                parts.store.drop_view(&leftover).await?;
            }
            let store = parts.store.clone();
            Ok(Generation::new(
                store,
                name,
                fingerprint,
                Some(checkpoint.position),
            ))
        }
        None => begin::<T>(parts, newest + 1).await,
    }
}

/// The generations that the store has, without those of this fingerprint whose rows are not what a row is now: somebody
/// changed the type and left [`ROW_VERSION`](TableProjection::ROW_VERSION) as it was. They are removed, and built again.
async fn readable<T: TableProjection>(
    parts: &TableParts<T>,
) -> Result<Vec<(ViewName, ViewCheckpoint)>, RunError> {
    let mut found = parts.store.view_generations(T::NAME).await?;
    let mut at = 0;
    while let Some((view, checkpoint)) = found.get(at) {
        at += 1;
        if checkpoint.fingerprint != parts.fingerprint {
            continue;
        }
        let rows = parts.store.view_rows(view, None, ROWS_LOOKED_AT).await?;
        let mut rows = rows.into_iter().filter(|row| row.key != taken::KEY);
        let unreadable =
            rows.find_map(
                |row| match from_store::<T::Row>(Some(row), checkpoint.position) {
                    Err(RowFault::Codec(error)) => Some(error),
                    _ => None,
                },
            );
        if let Some(error) = unreadable {
            warn_of_another_shape::<T>(&error);
            parts.current.doubt();
            at -= 1;
            let (view, _) = found.remove(at);
            parts.store.drop_view(&view).await?;
        }
    }
    Ok(found)
}

pub(super) fn warn_of_another_shape<T: TableProjection>(why: &dyn fmt::Display) {
    tracing::warn!(
        projection = T::NAME,
        %why,
        "a table has rows of another shape and is built again: raise ROW_VERSION with the row's type"
    );
}

/// A new generation, known to the store from now on.
pub(super) async fn begin<T: TableProjection>(
    parts: &TableParts<T>,
    number: u64,
) -> Result<Generation<T::Row>, RunError> {
    let name = ViewName {
        name: T::NAME.into(),
        generation: number,
    };
    let generation = Generation::new(parts.store.clone(), name, parts.fingerprint, None);
    generation.register().await?;
    Ok(generation)
}

//! Where the events of an accepted append go.

use chronicler_domain::GlobalPosition;

use crate::append::{Append, PlacedPart, Positions, StreamAppend};
use crate::index::HeadRow;

/// The places of an accepted append whose first event gets `first_position`.
pub(crate) fn accepted_parts(
    append: &Append,
    heads: &[Option<HeadRow>],
    first_position: GlobalPosition,
) -> Vec<PlacedPart> {
    let mut first = first_position;
    let place = |(part, head): (&StreamAppend, &Option<HeadRow>)| {
        let version = head.map(|head| head.version).unwrap_or_default();
        let count = part.events.len() as u64;
        let placed = PlacedPart {
            first_version: version.next(),
            last_version: version.plus(count),
            positions: Positions::Run {
                first: if count == 0 {
                    GlobalPosition::ZERO
                } else {
                    first
                },
                count: u32::try_from(count).unwrap_or(u32::MAX),
            },
        };
        first = first.plus(count);
        placed
    };
    append.parts.iter().zip(heads).map(place).collect()
}

/// For each part whether it is recorded in the frame, and so moves its stream's head: it has events, or it
/// is the first one and owns the commit's records.
pub(crate) fn recorded_parts(append: &Append) -> impl Iterator<Item = bool> + '_ {
    let owns = append.owns_records();
    let parts = append.parts.iter().enumerate();
    parts.map(move |(index, part)| !part.events.is_empty() || (index == 0 && owns))
}

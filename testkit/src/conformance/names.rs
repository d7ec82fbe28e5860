//! Streams whose names or hashes are close to each other never mix.

use bytes::Bytes;
use chronicler_domain::{AggregateId, Category, StreamId, StreamVersion, Tenant};
use chronicler_store::{NewEvent, Snapshot, StreamQuery};

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, event, version};

/// Ids of the category `account` whose stream keys have the same 64-bit FNV-1a hash, which the journal's segments
/// name streams by (and so the same 32 bits of it). The tests below recompute both.
const SAME_FNV: [&str; 2] = ["25te4fa6959p", "vlf6jl95sfn3"];
/// Ids of the category `account` whose stream keys have the same CRC32C, the hash that is nearest at hand.
const SAME_CRC: [&str; 2] = ["ccaoacux", "wcjifoae"];

pub(super) async fn j34_names_that_are_prefixes_never_mix(
    subject: &Subject,
) -> Result<(), Violation> {
    let mut streams = Vec::new();
    for tenant in ["", "a", "ab"] {
        for (category, id) in [
            ("a", "b"),
            ("a", "bc"),
            ("ab", "c"),
            ("abc", "d"),
            ("a", "b/c"),
            ("a/b", "c"),
            ("a", "b\u{ff}"),
            ("a", "B"),
        ] {
            let tenant = Tenant::try_from(tenant.to_owned())?;
            let (category, id) = (Category::new(category)?, AggregateId::new(id)?);
            streams.push(StreamId::new(&tenant, &category, &id));
        }
    }
    stay_apart(subject, &streams, 3, 0).await
}

pub(super) async fn j35_streams_whose_hashes_collide_never_mix(
    subject: &Subject,
) -> Result<(), Violation> {
    let ids = SAME_FNV.iter().chain(&SAME_CRC);
    let streams: Vec<StreamId> = ids
        .map(|id| StreamId::of("account", id))
        .collect::<Result<_, _>>()?;
    // Enough bytes for a store with small segments to seal some of them.
    stay_apart(subject, &streams, 24, 4 << 10).await
}

/// Appends to each stream in turn, `rounds` times, and looks that none has anything of another.
async fn stay_apart(
    subject: &Subject,
    streams: &[StreamId],
    rounds: u64,
    padding: usize,
) -> Result<(), Violation> {
    for round in 0..rounds {
        for (number, stream) in streams.iter().enumerate() {
            if round == 0 {
                // Those before it in the list have been written to.
                let head = subject.store().stream_head(stream).await?;
                equal(format_args!("the head of {stream:?} at first"), head, None)?;
            }
            let mut payload = number.to_le_bytes().to_vec();
            payload.resize(payload.len() + padding, 0);
            let own = NewEvent {
                payload: payload.into(),
                ..event("Happened", 0)
            };
            let append = subject
                .commit()
                .stream(stream.clone(), version(round), vec![own]);
            subject.append(append).await?;
        }
    }
    have_their_own(subject, streams, rounds).await
}

/// After so many rounds, each stream has its own events, its own head and its own snapshot.
async fn have_their_own(
    subject: &Subject,
    streams: &[StreamId],
    rounds: u64,
) -> Result<(), Violation> {
    let durable = subject.store().head().sequence;
    for (number, stream) in streams.iter().enumerate() {
        let found = subject.events(stream).await?;
        let own = found.iter().all(|event| {
            event.stream == *stream && event.payload.starts_with(&number.to_le_bytes())
        });
        ensure(
            own,
            format_args!("{stream:?} has an event of another stream"),
        )?;
        equal(
            format_args!("events of {stream:?}"),
            found.len() as u64,
            rounds,
        )?;
        let commits = subject
            .stream_commits(StreamQuery::new(stream.clone()))
            .await?;
        equal("its commits", commits.len() as u64, rounds)?;
        let head = subject.store().stream_head(stream).await?;
        equal(
            "its last commit",
            head.map(|head| head.commit_id),
            commits.last().map(|commit| commit.commit_id()),
        )?;
        let snapshot = Snapshot {
            version: StreamVersion::new(rounds),
            sequence: durable,
            commit_id: subject.commit().commit_id,
            schema_version: 1,
            payload: Bytes::from(number.to_le_bytes().to_vec()),
        };
        subject.store().save_snapshot(stream, snapshot).await?;
    }
    for (number, stream) in streams.iter().enumerate() {
        let latest = StreamVersion::MAX;
        let found = subject.store().load_snapshot(stream, latest).await?;
        let wanted = Bytes::from(number.to_le_bytes().to_vec());
        equal(
            format_args!("the snapshot of {stream:?}"),
            found.map(|snapshot| snapshot.payload),
            Some(wanted),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronicler_store::Fnv;

    #[test]
    fn the_keys_collide_as_they_are_said_to() {
        let keys =
            |ids: [&str; 2]| ids.map(|id| StreamId::of("account", id).unwrap().key().to_owned());
        let fnv = |key: &String| Fnv::new().with(key.as_bytes()).value();
        let [one, other] = keys(SAME_FNV);
        assert!(one != other && fnv(&one) == fnv(&other));
        let [one, other] = keys(SAME_CRC);
        assert!(one != other && crc32c::crc32c(one.as_bytes()) == crc32c::crc32c(other.as_bytes()));
    }
}

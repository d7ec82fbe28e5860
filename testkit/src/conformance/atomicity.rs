//! All or nothing: several events, several streams, too much, and nothing at all.

use bytes::Bytes;
use chronicler_domain::StreamId;
use chronicler_store::{AllQuery, Append, AppendError, Expected, NewEvent, Outcome, Start};

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, commits, event, events, rejection, version};

/// More than any store under test may take in one commit.
const OVERSIZE_BYTES: usize = 33 << 20;

pub(super) async fn j21_several_events_are_atomic(subject: &Subject) -> Result<(), Violation> {
    const COMMITS: usize = 40;
    const EVENTS_EACH: usize = 3;
    let stream = account("atomic")?;
    let writing = async {
        let appends = (0..COMMITS).map(|_| subject.write(&stream, EVENTS_EACH));
        for appended in futures::future::join_all(appends).await {
            let appended = appended?;
            let [part] = appended.parts.as_slice() else {
                return Err(Violation::new("one stream, and not one place"));
            };
            let positions: Vec<u64> = part.positions.to_vec().iter().map(|p| p.get()).collect();
            let first = positions.first().copied().unwrap_or_default();
            let wanted = (first..).take(EVENTS_EACH).collect();
            equal("the positions of one commit", positions, wanted)?;
        }
        Ok(())
    };
    let reading = async {
        loop {
            let query = AllQuery::from(Start::Position(1.into()));
            let found = commits(subject.store().read_all(query)).await?;
            let whole = found
                .iter()
                .all(|c| c.event_count() as usize == EVENTS_EACH);
            ensure(whole, "a reader saw half a commit")?;
            let events = subject.events(&stream).await?.len();
            equal("events beyond whole commits", events % EVENTS_EACH, 0)?;
            if found.len() == COMMITS {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    };
    futures::try_join!(writing, reading).map(|_| ())
}

pub(super) async fn j27_zero_events_make_no_stream(subject: &Subject) -> Result<(), Violation> {
    let stream = account("nothing")?;
    for expected in [Expected::Any, Expected::NoStream, version(0)] {
        let append = subject
            .commit()
            .stream(stream.clone(), expected, Vec::new());
        let appended = subject.append(append).await?;
        let places: Vec<_> = appended
            .parts
            .iter()
            .map(|part| (part.first_version.get(), part.last_version.get()))
            .collect();
        equal("the place of nothing", places, vec![(1, 0)])?;
    }
    let unmet = subject
        .commit()
        .stream(stream.clone(), version(1), Vec::new());
    let refused = subject.append(unmet).await;
    ensure(
        matches!(refused, Err(AppendError::WrongExpectedVersion { .. })),
        format_args!("a check alone that does not hold got {refused:?}"),
    )?;
    equal(
        "the head of the stream",
        subject.store().stream_head(&stream).await?,
        None,
    )?;
    equal(
        "the head of the log",
        subject.store().head(),
        chronicler_store::Head::default(),
    )?;
    subject.append(subject.commit()).await?;
    equal("commits", subject.all_commits().await?.len(), 0)
}

pub(super) async fn j28_over_the_size_limit_nothing_is_written(
    subject: &Subject,
) -> Result<(), Violation> {
    let (large, other) = (account("large")?, account("other")?);
    subject.write(&large, 1).await?;
    let before = subject.all_commits().await?;
    let one = vec![of_size(OVERSIZE_BYTES)];
    let many = (0..33).map(|_| of_size(OVERSIZE_BYTES / 33)).collect();
    for events in [one, many] {
        let append = subject
            .commit()
            .stream(other.clone(), Expected::Any, super::subject::events(1))
            .stream(large.clone(), Expected::Any, events);
        match subject.append(append).await {
            Err(error @ AppendError::TooLarge { bytes, bytes_max }) => {
                equal("what became of it", error.outcome(), Outcome::NotApplied)?;
                ensure(
                    bytes > bytes_max && bytes >= OVERSIZE_BYTES as u64,
                    format_args!("it says: {error}"),
                )?;
            }
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Violation::new("it was accepted")),
        }
    }
    subject.is_unchanged_since(&before).await?;
    equal(
        "the stream of the small part",
        subject.store().stream_head(&other).await?,
        None,
    )?;
    subject.write(&large, 1).await?;
    equal("the version", subject.version(&large).await?, 2)
}

pub(super) async fn j40_several_streams_all_or_nothing(subject: &Subject) -> Result<(), Violation> {
    let [alice, bob, watched] = [account("alice")?, account("bob")?, account("watched")?];
    subject.write(&watched, 2).await?;
    let transfer = |bob_is_at: u64, watched_is_at: u64| {
        subject
            .commit()
            .stream(alice.clone(), Expected::Any, events(1))
            .stream(watched.clone(), version(watched_is_at), Vec::new())
            .stream(bob.clone(), version(bob_is_at), events(2))
    };
    let appended = subject.append(transfer(0, 2)).await?;
    let places: Vec<_> = appended
        .parts
        .iter()
        .map(|part| {
            let positions = part.positions.to_vec();
            (
                part.last_version.get(),
                positions.iter().map(|p| p.get()).collect(),
            )
        })
        .collect();
    equal(
        "the places, in the order of the append",
        places,
        vec![(1, vec![3]), (2, vec![]), (2, vec![4, 5])],
    )?;
    let before = subject.all_commits().await?;
    let last = before.last().ok_or_else(|| Violation::new("no commits"))?;
    let recorded: Vec<_> = last.parts().filter_map(|part| part.stream()).collect();
    equal(
        "streams in the frame: what is only checked is not among them",
        recorded,
        vec![alice.clone(), bob.clone()],
    )?;
    for (bob_is_at, watched_is_at) in [(0, 2), (2, 1), (3, 2)] {
        let refused = subject.append(transfer(bob_is_at, watched_is_at)).await;
        ensure(
            matches!(refused, Err(AppendError::WrongExpectedVersion { .. })),
            format_args!("with {bob_is_at} and {watched_is_at} expected: {refused:?}"),
        )?;
        subject.is_unchanged_since(&before).await?;
    }
    equal(
        "versions",
        (
            subject.version(&alice).await?,
            subject.version(&bob).await?,
            subject.version(&watched).await?,
        ),
        (1, 2, 2),
    )
}

pub(super) async fn an_invalid_append_is_refused(subject: &Subject) -> Result<(), Violation> {
    let stream = account("invalid")?;
    let one = |events: Vec<NewEvent>| {
        subject
            .commit()
            .stream(stream.clone(), Expected::Any, events)
    };
    let twice = one(events(1)).stream(stream.clone(), Expected::Any, events(1));
    let nameless = one(vec![event("", 1)]);
    let long_name = one(vec![NewEvent {
        event_type: "n".repeat(256).into(),
        ..event("", 1)
    }]);
    let homeless = subject.commit().record(rejection());
    for append in [twice, nameless, long_name, homeless] {
        let streams: Vec<StreamId> = append.parts.iter().map(|p| p.stream.clone()).collect();
        is_invalid(subject, append, &streams).await?;
    }
    equal("commits", subject.all_commits().await?.len(), 0)
}

async fn is_invalid(
    subject: &Subject,
    append: Append,
    streams: &[StreamId],
) -> Result<(), Violation> {
    let result = subject.append(append).await;
    ensure(
        matches!(&result, Err(error @ AppendError::Invalid { .. }) if error.outcome() == Outcome::NotApplied),
        format_args!("{result:?}"),
    )?;
    for stream in streams {
        let head = subject.store().stream_head(stream).await?;
        equal("the stream of a refused append", head, None)?;
    }
    Ok(())
}

fn of_size(bytes: usize) -> NewEvent {
    NewEvent {
        payload: Bytes::from(vec![7; bytes]),
        ..event("Large", 0)
    }
}

//! The same commit again: the answer it got the first time, and nothing written.

use chronicler_domain::StreamId;
use chronicler_store::{Append, AppendError, Appended, Expected, NewEvent, Outcome};
use uuid::Uuid;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, decided, event, events, rejection, version};

pub(super) async fn a_commit_id_again_is_a_repetition(subject: &Subject) -> Result<(), Violation> {
    for (number, expected) in [
        Expected::Any,
        Expected::NoStream,
        version(0),
        decided(0, None),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = account(&format!("again-{number}"))?;
        let append = subject.commit().stream(stream.clone(), expected, events(3));
        let original = subject.append(append.clone()).await?;
        ensure(!original.duplicate, "the first is no repetition")?;
        again(subject, &append, &original).await?;
        subject.write(&stream, 2).await?;
        again(subject, &append, &original).await?;
    }
    Ok(())
}

pub(super) async fn a_commit_id_with_other_events_is_refused(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("reused")?;
    let append = subject
        .commit()
        .stream(stream.clone(), Expected::NoStream, events(1));
    subject.append(append.clone()).await?;
    let before = subject.all_commits().await?;
    let mut other = append.clone();
    for part in &mut other.parts {
        part.events = vec![event("Another", 1)];
    }
    match subject.append(other).await {
        Err(AppendError::IdReused {
            commit_id,
            stream: named,
        }) => {
            equal("the commit", commit_id, append.commit_id)?;
            equal("the stream", named, stream)?;
        }
        result => {
            return Err(Violation::new(format_args!(
                "another commit under the same id got {result:?}"
            )));
        }
    }
    subject.is_unchanged_since(&before).await
}

pub(super) async fn an_outcome_without_events_is_recognised(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("rejected")?;
    let append = subject
        .commit()
        .stream(stream.clone(), decided(0, None), Vec::new())
        .record(rejection());
    let original = subject.append(append.clone()).await?;
    again(subject, &append, &original).await?;
    equal("the version", subject.version(&stream).await?, 0)
}

pub(super) async fn a_repetition_is_answered_with_scattered_places(
    subject: &Subject,
) -> Result<(), Violation> {
    let (stream, other) = (account("scattered")?, account("between")?);
    let identified = |number: usize| NewEvent {
        id: Some(Uuid::from_u128(number as u128)),
        ..event("Happened", number)
    };
    for number in 1..=3 {
        let events = vec![identified(number)];
        let append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events);
        subject.append(append).await?;
        subject.write(&other, 1).await?;
    }
    let all = (1..=3).map(identified).collect();
    let repeated = subject.commit().stream(stream, Expected::NoStream, all);
    let appended = subject.append(repeated).await?;
    ensure(appended.duplicate, "nothing of it was new")?;
    let positions: Vec<u64> = appended
        .parts
        .iter()
        .flat_map(|part| part.positions.to_vec())
        .map(|position| position.get())
        .collect();
    equal("the places", positions, vec![1, 3, 5])?;
    equal("the commit of its first event", appended.sequence.get(), 1)
}

pub(super) async fn ids_count_within_their_stream_only(subject: &Subject) -> Result<(), Violation> {
    let identified = || NewEvent {
        id: Some(Uuid::from_u128(7)),
        ..event("Happened", 7)
    };
    let commit_id = subject.commit().commit_id;
    for name in ["one", "two", "three"] {
        let stream = StreamId::of("account", name)?;
        let mut append =
            subject
                .commit()
                .stream(stream.clone(), Expected::NoStream, vec![identified()]);
        append.commit_id = commit_id;
        let appended = subject.append(append).await?;
        ensure(
            !appended.duplicate,
            format_args!("{stream} is not the stream before"),
        )?;
    }
    let derived: Vec<Uuid> = {
        let mut ids = Vec::new();
        for name in ["four", "five"] {
            let stream = account(name)?;
            let mut append = subject
                .commit()
                .stream(stream.clone(), Expected::NoStream, events(2));
            append.commit_id = commit_id;
            subject.append(append).await?;
            ids.extend(subject.events(&stream).await?.iter().map(|event| event.id));
        }
        ids
    };
    let distinct: std::collections::BTreeSet<_> = derived.iter().collect();
    equal("distinct ids that were given", distinct.len(), 4)
}

/// Appends once more: the original places, marked as a repetition, and the log as it was.
async fn again(subject: &Subject, append: &Append, original: &Appended) -> Result<(), Violation> {
    let before = subject.all_commits().await?;
    match subject.append(append.clone()).await {
        Ok(appended) => {
            let wanted = Appended {
                duplicate: true,
                ..original.clone()
            };
            equal("the answer to a repetition", appended, wanted)?;
        }
        Err(error) => {
            equal("a refused repetition", error.outcome(), Outcome::NotApplied)?;
            return Err(error.into());
        }
    }
    subject.is_unchanged_since(&before).await
}

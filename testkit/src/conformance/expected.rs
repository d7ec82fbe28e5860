//! What must be true of a stream for an append to be accepted: versions, races and fences.

use std::sync::Arc;

use chronicler_store::{Append, AppendError, AppendResult, Expected, Outcome, Store};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, decided, events, rejection, version};

const WRITERS: usize = 8;
const APPENDS_EACH: usize = 25;

pub(super) async fn j22_the_expected_version_table(subject: &Subject) -> Result<(), Violation> {
    let stranger = Uuid::from_u128(1);
    let missing = [
        (Expected::Any, true),
        (Expected::NoStream, true),
        (Expected::Exists, false),
        (version(0), true),
        (version(1), false),
        (decided(0, None), true),
        (decided(0, Some(stranger)), false),
        (decided(1, None), false),
    ];
    for (number, (expected, accepted)) in missing.into_iter().enumerate() {
        let id = format!("missing-{number}");
        try_one(subject, &id, expected, accepted, 0).await?;
    }
    for (number, accepted) in [true, false, true, true, false, false, true, false, false]
        .into_iter()
        .enumerate()
    {
        let id = format!("existing-{number}");
        let first = subject
            .commit()
            .stream(account(&id)?, Expected::NoStream, events(2));
        let head = Some(first.commit_id);
        subject.append(first).await?;
        let expected = [
            Expected::Any,
            Expected::NoStream,
            Expected::Exists,
            version(2),
            version(1),
            version(3),
            decided(2, head),
            decided(2, Some(stranger)),
            decided(1, head),
        ];
        let expected = expected.get(number).copied().unwrap_or(Expected::Any);
        try_one(subject, &id, expected, accepted, 2).await?;
    }
    // A stream that has only a rejection has no events, and yet a commit to be fenced by.
    for (number, accepted) in [true, false, true, true, false].into_iter().enumerate() {
        let id = format!("rejected-{number}");
        let first = subject
            .commit()
            .stream(account(&id)?, Expected::NoStream, Vec::new())
            .record(rejection());
        let head = Some(first.commit_id);
        subject.append(first).await?;
        let expected = [
            Expected::NoStream,
            Expected::Exists,
            version(0),
            decided(0, head),
            decided(0, None),
        ];
        let expected = expected.get(number).copied().unwrap_or(Expected::Any);
        try_one(subject, &id, expected, accepted, 0).await?;
    }
    Ok(())
}

pub(super) async fn j23_the_same_expected_version_twice_at_once(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("contested")?;
    for round in 0..APPENDS_EACH {
        let rivals = (0..WRITERS)
            .map(|_| {
                let expected = version(round as u64);
                vec![subject.commit().stream(stream.clone(), expected, events(1))]
            })
            .collect();
        let (mut won, mut lost) = (0, 0);
        for result in at_once(subject.shared(), rivals).await {
            match result {
                Ok(_) => won += 1,
                Err(AppendError::WrongExpectedVersion { .. }) => lost += 1,
                Err(other) => return Err(other.into()),
            }
        }
        equal("winners and losers", (won, lost), (1, WRITERS - 1))?;
    }
    equal(
        "the version",
        subject.version(&stream).await?,
        APPENDS_EACH as u64,
    )
}

pub(super) async fn j24_any_at_once(subject: &Subject) -> Result<(), Violation> {
    let (shared, count) = (account("shared")?, (WRITERS * APPENDS_EACH) as u64);
    let writer = |_| {
        (0..APPENDS_EACH)
            .map(|_| {
                subject
                    .commit()
                    .stream(shared.clone(), Expected::Any, events(1))
            })
            .collect()
    };
    for result in at_once(subject.shared(), (0..WRITERS).map(writer).collect()).await {
        ensure(
            !result?.duplicate,
            "a new commit was taken for a repetition",
        )?;
    }
    let found = subject.events(&shared).await?;
    let places: Vec<_> = found
        .iter()
        .map(|event| (event.version.get(), event.position.get()))
        .collect();
    equal(
        "versions and positions",
        places,
        (1..=count).map(|n| (n, n)).collect(),
    )
}

pub(super) async fn a18_a_second_writer_is_fenced(subject: &Subject) -> Result<(), Violation> {
    let stream = account("fenced")?;
    let first = subject
        .commit()
        .stream(stream.clone(), decided(0, None), events(1));
    let (mine, foreign) = (first.commit_id, subject.commit());
    subject.append(first).await?;
    let foreign_id = foreign.commit_id;
    // The foreign writer leaves the version as it is: only the commit gives it away.
    let foreign = foreign
        .stream(stream.clone(), Expected::Any, Vec::new())
        .record(rejection());
    subject.append(foreign).await?;
    let before = subject.all_commits().await?;
    let second = subject
        .commit()
        .stream(stream.clone(), decided(1, Some(mine)), events(1));
    match subject.append(second).await {
        Err(AppendError::Fenced {
            stream: named,
            version,
            decided_on,
            actual,
        }) => {
            equal("the stream", named, stream.clone())?;
            equal("the version", version.get(), 1)?;
            equal(
                "both commits",
                (decided_on, actual),
                (Some(mine), Some(foreign_id)),
            )?;
        }
        other => {
            return Err(Violation::new(format_args!(
                "the second writer got {other:?}"
            )));
        }
    }
    subject.is_unchanged_since(&before).await?;
    let anew = subject
        .commit()
        .stream(stream, decided(1, Some(foreign_id)), events(1));
    subject.append(anew).await?;
    Ok(())
}

pub(super) async fn a24_a_foreign_append_between_two_pipelined_ones(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("pipelined")?;
    let base = subject
        .commit()
        .stream(stream.clone(), Expected::NoStream, events(1));
    let base_id = base.commit_id;
    subject.append(base).await?;
    // The foreign event takes the place of the first one; its version is what the second was decided on.
    let foreign = subject
        .commit()
        .stream(stream.clone(), Expected::Any, events(1));
    let first = subject
        .commit()
        .stream(stream.clone(), decided(1, Some(base_id)), events(1));
    let second =
        subject
            .commit()
            .stream(stream.clone(), decided(2, Some(first.commit_id)), events(1));
    let answers = futures::future::join_all([
        subject.store().append(foreign),
        subject.store().append(first),
        subject.store().append(second),
    ])
    .await;
    let [foreign, first, second] = answers.as_slice() else {
        return Err(Violation::new("three appends, three answers"));
    };
    ensure(
        foreign.is_ok(),
        format_args!("the foreign append: {foreign:?}"),
    )?;
    ensure(
        matches!(first, Err(AppendError::WrongExpectedVersion { .. })),
        format_args!("the first: {first:?}"),
    )?;
    ensure(
        matches!(second, Err(AppendError::Fenced { .. })),
        format_args!("what was decided on the first: {second:?}"),
    )?;
    equal("the version", subject.version(&stream).await?, 2)?;
    // Undisturbed, a pipeline goes through without waiting for answers.
    let stream = account("undisturbed")?;
    let (mut head, mut answers) = (None, Vec::new());
    for at in 0..APPENDS_EACH as u64 {
        let append = subject
            .commit()
            .stream(stream.clone(), decided(at, head), events(1));
        head = Some(append.commit_id);
        answers.push(subject.store().append(append));
    }
    for answer in answers {
        answer.await?;
    }
    equal(
        "the version",
        subject.version(&stream).await?,
        APPENDS_EACH as u64,
    )
}

/// Appends one event where there are `before` of them, and looks whether it is answered as it should be.
async fn try_one(
    subject: &Subject,
    id: &str,
    expected: Expected,
    accepted: bool,
    before: u64,
) -> Result<(), Violation> {
    let stream = account(id)?;
    let append = subject.commit().stream(stream.clone(), expected, events(1));
    let case = format!("{expected:?} on {id}");
    match subject.append(append).await {
        Ok(appended) => {
            ensure(accepted, format_args!("{case} was accepted"))?;
            ensure(
                !appended.duplicate,
                format_args!("{case} was taken for a repetition"),
            )?;
        }
        Err(error) => {
            ensure(!accepted, format_args!("{case} was refused: {error}"))?;
            equal("what became of it", error.outcome(), Outcome::NotApplied)?;
            let fits = match &error {
                AppendError::WrongExpectedVersion { actual, .. } => actual.get() == before,
                AppendError::Fenced { version, .. } => {
                    matches!(expected, Expected::Decided { version: on, .. } if on == *version)
                }
                _ => false,
            };
            ensure(fits, format_args!("{case} got {error:?}"))?;
        }
    }
    equal(
        format_args!("the version after {case}"),
        subject.version(&stream).await?,
        before + u64::from(accepted),
    )
}

/// Submits each writer's appends from a thread of its own, all at the same time, and waits for all answers.
async fn at_once(store: Arc<dyn Store>, writers: Vec<Vec<Append>>) -> Vec<AppendResult> {
    let start = std::sync::Barrier::new(writers.len());
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .into_iter()
            .map(|appends| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    start.wait();
                    let submit = |append| {
                        let (answer, answered) = oneshot::channel();
                        store.submit(append, Box::new(move |result| drop(answer.send(result))));
                        answered
                    };
                    appends.into_iter().map(submit).collect::<Vec<_>>()
                })
            })
            .collect();
        answers.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
    });
    let mut results = Vec::new();
    for answer in answers.into_iter().flatten() {
        results.push(answer.await.unwrap_or(Err(AppendError::Lost)));
    }
    results
}

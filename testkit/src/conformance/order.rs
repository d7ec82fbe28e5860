//! Order in time: timestamps, answers, barriers, and when something may be seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use chronicler_store::{
    AllQuery, Append, Expected, FactKind, FactQuery, Outcome, SideRecord, Start,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, commits, decided, events, rejection, version};

const SUBMITTED: usize = 200;

pub(super) async fn j37_timestamps_never_go_back(subject: &Subject) -> Result<(), Violation> {
    let stream = account("clock")?;
    let mut answered = Vec::new();
    for at in [100, 50, 100, 0, 101, 99] {
        let mut append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(1));
        append.at = Timestamp::from_micros(at);
        answered.push(subject.append(append).await?.timestamp.as_micros());
    }
    equal(
        "timestamps of the answers",
        answered.clone(),
        vec![100, 100, 100, 100, 101, 101],
    )?;
    let commits = subject.all_commits().await?;
    let written: Vec<u64> = commits.iter().map(|c| c.timestamp().as_micros()).collect();
    equal("timestamps in the log", written, answered)?;
    let head = subject.store().head();
    equal("the head's", head.timestamp.as_micros(), 101)
}

pub(super) async fn j38_stream_facts(subject: &Subject) -> Result<(), Violation> {
    let (stream, other) = (account("facts")?, account("other")?);
    let mut last = None;
    for (at, count) in [(10, 2), (20, 3)] {
        let mut append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(count));
        append.at = Timestamp::from_micros(at);
        last = Some(append.commit_id);
        subject.append(append).await?;
        subject.write(&other, 1).await?;
    }
    let facts = async || {
        let head = subject.store().stream_head(&stream).await?;
        let head = head.ok_or_else(|| Violation::new("the stream is unknown"))?;
        Ok::<_, Violation>((
            head.version.get(),
            head.sequence.get(),
            Some(head.commit_id),
            head.first_at.as_micros(),
        ))
    };
    let (version, sequence, commit_id, first_at) = facts().await?;
    equal(
        "version, sequence, commit and first time",
        (version, sequence, commit_id, first_at),
        (5, 3, last, 10),
    )?;
    let found = subject.events(&stream).await?.len() as u64;
    equal("the version is the count", version, found)?;
    let head = subject.store().stream_head(&stream).await?;
    let third = subject.all_commits().await?.get(2).map(|c| c.timestamp());
    equal("the last time", head.map(|head| head.last_at), third)?;
    // A rejection moves the last commit and not the version.
    let append = subject
        .commit()
        .stream(stream.clone(), Expected::Any, Vec::new())
        .record(rejection());
    let rejected = Some(append.commit_id);
    subject.append(append).await?;
    equal("after a rejection", facts().await?, (5, 5, rejected, 10))
}

pub(super) async fn completions_come_in_order(subject: &Subject) -> Result<(), Violation> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let streams = [account("a")?, account("b")?, account("c")?];
    for (number, stream) in streams.iter().cycle().take(SUBMITTED).enumerate() {
        let append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(1));
        let order = Arc::clone(&order);
        let done = move |result: chronicler_store::AppendResult| {
            order
                .lock()
                .push((number, result.map(|a| a.sequence.get())));
        };
        subject.store().submit(append, Box::new(done));
    }
    barrier(subject).await?;
    let order = order.lock().clone();
    equal("answers", order.len(), SUBMITTED)?;
    for (at, (number, result)) in order.into_iter().enumerate() {
        equal("the number of the submission", number, at)?;
        equal("its sequence", result?, at as u64 + 1)?;
    }
    Ok(())
}

pub(super) async fn a_barrier_waits_for_what_was_submitted_before(
    subject: &Subject,
) -> Result<(), Violation> {
    // With nothing before it, it is answered all the same.
    barrier(subject).await?;
    let answered = Arc::new(AtomicUsize::new(0));
    let stream = account("barrier")?;
    for round in 1..=4 {
        for number in 0..SUBMITTED / 4 {
            // Refusals are waited for like everything else.
            let expected = if number % 5 == 0 {
                Expected::NoStream
            } else {
                Expected::Any
            };
            let append = subject.commit().stream(stream.clone(), expected, events(1));
            let answered = Arc::clone(&answered);
            let done = move |_| {
                answered.fetch_add(1, Ordering::SeqCst);
            };
            subject.store().submit(append, Box::new(done));
        }
        let (told, seen) = oneshot::channel();
        let count = Arc::clone(&answered);
        let done = move || told.send(count.load(Ordering::SeqCst)).unwrap_or_default();
        subject.store().barrier(Box::new(done));
        equal(
            "answers before the barrier",
            seen.await?,
            round * (SUBMITTED / 4),
        )?;
    }
    Ok(())
}

pub(super) async fn what_is_answered_is_visible(subject: &Subject) -> Result<(), Violation> {
    let stream = account("visible")?;
    for number in 1..=20_u64 {
        let key = Bytes::from(number.to_be_bytes().to_vec());
        let append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(1))
            .record(SideRecord::Fact {
                kind: FactKind::CURSOR,
                key: key.clone(),
                value: Some(key.clone()),
            });
        let (told, seen) = oneshot::channel();
        let store = subject.shared();
        // Within the completion itself the head is there already.
        let done = move |result: chronicler_store::AppendResult| {
            drop(told.send(result.map(|appended| (appended.sequence, store.head()))));
        };
        subject.store().submit(append, Box::new(done));
        let (sequence, head) = seen.await??;
        ensure(
            head.sequence >= sequence && head.position.get() >= number,
            format_args!("commit {sequence} was answered while the head was {head:?}"),
        )?;
        equal("the version", subject.version(&stream).await?, number)?;
        equal(
            "events",
            subject.events(&stream).await?.len() as u64,
            number,
        )?;
        let query = AllQuery::from(Start::Sequence(sequence));
        let found = commits(subject.store().read_all(query)).await?;
        equal("commits from there", found.len(), 1)?;
        let fact = subject.store().fact(FactKind::CURSOR, key).await?;
        equal(
            "the fact's commit",
            fact.map(|fact| fact.sequence),
            Some(sequence),
        )?;
        let facts = subject
            .store()
            .facts(FactQuery::all(FactKind::CURSOR))
            .await?;
        equal("facts", facts.len() as u64, number)?;
    }
    Ok(())
}

/// Appends that lose to one that was handed in just before them, and is not durable when they are judged.
pub(super) async fn what_a_refusal_tells_of_is_durable(subject: &Subject) -> Result<(), Violation> {
    let stream = account("refused")?;
    for round in 0..20_u64 {
        let winner = subject
            .commit()
            .stream(stream.clone(), version(round), events(1));
        let reused = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(2));
        let reused = Append {
            commit_id: winner.commit_id,
            ..reused
        };
        let losers = [
            subject
                .commit()
                .stream(stream.clone(), version(round), events(1)),
            subject
                .commit()
                .stream(stream.clone(), decided(round + 1, None), events(1)),
            // One whose other stream is as expected.
            subject
                .commit()
                .stream(account("beside")?, Expected::NoStream, events(1))
                .stream(stream.clone(), version(round), Vec::new()),
            reused,
        ];
        let won = subject.store().append(winner);
        let mut lost = Vec::new();
        for loser in losers {
            let (told, seen) = oneshot::channel();
            let store = subject.shared();
            // Within the completion itself the log goes as far as the refusal says.
            let done = move |result: chronicler_store::AppendResult| {
                drop(told.send((result, store.head())));
            };
            subject.store().submit(loser, Box::new(done));
            lost.push(seen);
        }
        for seen in lost {
            let (result, head) = seen.await?;
            let error = match result {
                Err(error) => error,
                Ok(appended) => {
                    return Err(Violation::new(format_args!(
                        "{appended:?} was to be refused"
                    )));
                }
            };
            equal("the outcome", error.outcome(), Outcome::NotApplied)?;
            ensure(
                head.position.get() > round,
                format_args!("\"{error}\" was answered while the head was {head:?}"),
            )?;
        }
        won.await?;
        equal("the version", subject.version(&stream).await?, round + 1)?;
    }
    Ok(())
}

pub(super) async fn the_head_is_followed(subject: &Subject) -> Result<(), Violation> {
    let mut watched = subject.store().watch_head();
    equal(
        "an empty head",
        *watched.borrow_and_update(),
        chronicler_store::Head::default(),
    )?;
    let stream = account("followed")?;
    subject.write(&stream, 3).await?;
    let append = subject
        .commit()
        .stream(stream, Expected::Any, Vec::new())
        .record(rejection());
    subject.append(append).await?;
    let wanted = (LogSequence::new(2), GlobalPosition::new(3));
    let head = watched
        .wait_for(|head| head.sequence == wanted.0)
        .await
        .map(|head| *head)?;
    equal("the head", (head.sequence, head.position), wanted)?;
    equal("the head at once", subject.store().head(), head)?;
    equal(
        "health",
        subject.store().health(),
        chronicler_store::Health::Healthy,
    )
}

async fn barrier(subject: &Subject) -> Result<(), Violation> {
    let (told, reached) = oneshot::channel();
    subject
        .store()
        .barrier(Box::new(move || told.send(()).unwrap_or_default()));
    Ok(reached.await?)
}

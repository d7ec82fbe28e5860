//! Reading within bounds, in batches, backwards, from a time, through a filter.

use chronicler_domain::{GlobalPosition, LogSequence, StreamId, StreamVersion, Timestamp};
use chronicler_store::{
    AllQuery, Direction, Expected, Filter, Start, StreamQuery, read_all_events, read_events,
};

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, commits, event, events, rejection};

/// How many events each commit of the stream under test has: ten in all.
const COMMITS: [usize; 5] = [1, 3, 1, 2, 3];
const EVENTS: u64 = 10;

pub(super) async fn j1_replay_all(subject: &Subject) -> Result<(), Violation> {
    let stream = ten_events(subject).await?;
    let versions: Vec<u64> = subject
        .events(&stream)
        .await?
        .iter()
        .map(|e| e.version.get())
        .collect();
    equal("versions", versions, (1..=EVENTS).collect())?;
    let all = subject.all_events().await?;
    let positions: Vec<u64> = all.iter().map(|e| e.position.get()).collect();
    equal(
        "positions",
        positions,
        (1..=subject.store().head().position.get()).collect(),
    )
}

pub(super) async fn j2_lower_bound(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 7, u64::MAX, 4, 7..=10).await
}

pub(super) async fn j3_upper_bound(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 1, 3, usize::MAX, 1..=3).await
}

pub(super) async fn j4_count_limit(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 1, u64::MAX, 6, 1..=6).await
}

pub(super) async fn j5_both_bounds(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 3, 6, usize::MAX, 3..=6).await
}

pub(super) async fn j6_both_bounds_and_limit(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 3, 9, 4, 3..=6).await
}

pub(super) async fn j7_lower_equals_upper(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 4, 4, usize::MAX, 4..=4).await
}

pub(super) async fn j8_limit_one(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 3, 9, 1, 3..=3).await
}

pub(super) async fn j9_limit_zero(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 3, 9, 0, empty()).await
}

pub(super) async fn j10_lower_above_upper(subject: &Subject) -> Result<(), Violation> {
    bounded(subject, 6, 5, usize::MAX, empty()).await?;
    let stream = account("ten")?;
    let query = StreamQuery {
        from: StreamVersion::new(6),
        to: StreamVersion::new(5),
        ..StreamQuery::new(stream)
    };
    let found = subject.stream_commits(query).await?.len();
    equal("commits between 6 and 5", found, 0)
}

pub(super) async fn j11_a_stream_never_written_is_unknown(
    subject: &Subject,
) -> Result<(), Violation> {
    let (unknown, rejected) = (account("unknown")?, account("rejected")?);
    subject.write(&account("known")?, 1).await?;
    let eventless = subject
        .commit()
        .stream(rejected.clone(), Expected::Any, Vec::new())
        .record(rejection());
    subject.append(eventless).await?;
    equal(
        "an unknown head",
        subject.store().stream_head(&unknown).await?,
        None,
    )?;
    let read = async |stream: &StreamId| {
        let (from, to) = (StreamVersion::new(1), StreamVersion::MAX);
        read_events(
            subject.store(),
            stream,
            from,
            to,
            usize::MAX,
            Direction::Forward,
        )
        .await
    };
    equal("an unknown stream", read(&unknown).await?, None)?;
    equal(
        "a stream with a rejection only",
        read(&rejected).await?,
        Some(Vec::new()),
    )?;
    let found = subject.stream_commits(StreamQuery::new(unknown)).await?;
    equal("commits of an unknown stream", found.len(), 0)
}

pub(super) async fn j30_batches_of_any_size_give_the_same(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = ten_events(subject).await?;
    for direction in [Direction::Forward, Direction::Backward] {
        let whole = StreamQuery {
            direction,
            ..StreamQuery::new(stream.clone())
        };
        let wanted = sequences(&subject.stream_commits(whole.clone()).await?);
        equal("commits of the stream", wanted.len(), COMMITS.len())?;
        let all = AllQuery {
            direction,
            ..AllQuery::from(Start::Sequence(LogSequence::new(1)))
        };
        let wanted_of_all = sequences(&commits(subject.store().read_all(all.clone())).await?);
        for size in [1, 2, 3, 100] {
            let (mut found, mut query) = (Vec::new(), whole.clone());
            query.commits_max = size;
            loop {
                let page = subject.stream_commits(query.clone()).await?;
                ensure(
                    page.len() <= size,
                    format_args!("{} commits, {size} asked for", page.len()),
                )?;
                let Some(last) = page.last() else { break };
                let part = last
                    .parts()
                    .find(|part| part.stream_key() == stream.key())
                    .ok_or_else(|| Violation::new("a commit without a part of the stream"))?;
                match direction {
                    Direction::Forward => query.from = part.last_version().next(),
                    Direction::Backward => query.to = part.first_version().previous(),
                }
                found.extend(sequences(&page));
            }
            equal(
                format_args!("{direction:?} in pages of {size}"),
                found,
                wanted.clone(),
            )?;
            let (mut found, mut query) = (Vec::new(), all.clone());
            query.commits_max = size;
            loop {
                let page = commits(subject.store().read_all(query.clone())).await?;
                let Some(last) = page.last() else { break };
                match direction {
                    Direction::Forward => query.start = Start::Sequence(last.sequence().next()),
                    Direction::Backward => query.to = last.first_position().previous(),
                }
                found.extend(sequences(&page));
            }
            equal(
                format_args!("all, {direction:?} in pages of {size}"),
                found,
                wanted_of_all.clone(),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn j31_backward_is_the_reverse(subject: &Subject) -> Result<(), Violation> {
    let stream = ten_events(subject).await?;
    let limit = usize::MAX;
    for from in 1..=EVENTS + 1 {
        for to in from..=EVENTS + 1 {
            let (lower, upper) = (StreamVersion::new(from), StreamVersion::new(to));
            let read = async |direction| {
                let found = read_events(subject.store(), &stream, lower, upper, limit, direction);
                found.await.map(Option::unwrap_or_default)
            };
            let mut backward = read(Direction::Backward).await?;
            backward.reverse();
            equal(
                format_args!("versions {from} to {to} backwards"),
                backward,
                read(Direction::Forward).await?,
            )?;
            let (lower, upper) = (GlobalPosition::new(from), GlobalPosition::new(to));
            let read = |direction| {
                let filter = Filter::default();
                read_all_events(subject.store(), lower, upper, filter, limit, direction)
            };
            let mut backward = read(Direction::Backward).await?;
            backward.reverse();
            equal(
                format_args!("positions {from} to {to} backwards"),
                backward,
                read(Direction::Forward).await?,
            )?;
        }
    }
    Ok(())
}

pub(super) async fn a_read_from_a_time_begins_at_it(subject: &Subject) -> Result<(), Violation> {
    let stream = account("timed")?;
    for at in [100, 200, 200, 300] {
        let mut append = subject
            .commit()
            .stream(stream.clone(), Expected::Any, events(1));
        append.at = Timestamp::from_micros(at);
        subject.append(append).await?;
    }
    for (at, direction, wanted) in [
        (0, Direction::Forward, vec![1, 2, 3, 4]),
        (100, Direction::Forward, vec![1, 2, 3, 4]),
        (101, Direction::Forward, vec![2, 3, 4]),
        (200, Direction::Forward, vec![2, 3, 4]),
        (300, Direction::Forward, vec![4]),
        (301, Direction::Forward, vec![]),
        (200, Direction::Backward, vec![4, 3, 2]),
    ] {
        let query = AllQuery {
            direction,
            ..AllQuery::from(Start::Time(Timestamp::from_micros(at)))
        };
        let found = commits(subject.store().read_all(query)).await?;
        equal(
            format_args!("{direction:?} from time {at}"),
            sequences(&found),
            wanted,
        )?;
    }
    Ok(())
}

pub(super) async fn a_filter_gives_whole_commits_and_only_wanted_ones(
    subject: &Subject,
) -> Result<(), Violation> {
    let (alice, order) = (account("alice")?, StreamId::of("order", "1")?);
    let tenant = chronicler_domain::Tenant::new("acme")?;
    let foreign = StreamId::new(
        &tenant,
        &chronicler_domain::Category::new("account")?,
        &chronicler_domain::AggregateId::new("alice")?,
    );
    let one = |stream: &StreamId, event_type| {
        let events = vec![event(event_type, 1)];
        subject
            .commit()
            .stream(stream.clone(), Expected::Any, events)
    };
    subject.append(one(&alice, "Opened")).await?;
    subject.append(one(&order, "Opened")).await?;
    subject.append(one(&foreign, "Opened")).await?;
    let both = one(&alice, "Closed").stream(order.clone(), Expected::Any, events(1));
    subject.append(both).await?;
    let filter = |categories: &[&str], event_types: &[&str], tenant: Option<&str>| Filter {
        categories: categories.iter().map(|name| (*name).to_owned()).collect(),
        event_types: event_types.iter().map(|name| (*name).to_owned()).collect(),
        tenant: tenant.map(str::to_owned),
        stream: None,
    };
    let of_stream = |stream: &StreamId, event_types: &[&str]| Filter {
        stream: Some(stream.clone()),
        ..filter(&[], event_types, None)
    };
    for (filter, wanted) in [
        (filter(&[], &[], None), vec![1, 2, 3, 4]),
        (filter(&["account"], &[], None), vec![1, 3, 4]),
        (filter(&["order"], &[], None), vec![2, 4]),
        (filter(&["account"], &["Opened"], None), vec![1, 3]),
        (filter(&[], &["Happened"], None), vec![4]),
        (filter(&["account"], &["Happened"], None), vec![]),
        (filter(&[], &[], Some("acme")), vec![3]),
        (filter(&[], &["Opened"], Some("")), vec![1, 2]),
        (filter(&["account", "order"], &["Closed"], None), vec![4]),
        (filter(&["acc"], &[], None), vec![]),
        (of_stream(&alice, &[]), vec![1, 4]),
        (of_stream(&foreign, &[]), vec![3]),
        (of_stream(&order, &["Opened"]), vec![2]),
        (of_stream(&account("ali")?, &[]), vec![]),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let query = AllQuery {
                filter: filter.clone(),
                direction,
                ..AllQuery::from(Start::Sequence(LogSequence::new(1)))
            };
            let found = commits(subject.store().read_all(query)).await?;
            let mut wanted = wanted.clone();
            if direction == Direction::Backward {
                wanted.reverse();
            }
            equal(format_args!("{filter:?}"), sequences(&found), wanted)?;
            let whole = found
                .iter()
                .find(|commit| commit.sequence().get() == 4)
                .is_none_or(|commit| commit.event_count() == 2);
            ensure(whole, "a filtered commit was not given whole")?;
        }
    }
    Ok(())
}

pub(super) async fn commits_without_events_are_given_when_asked_for(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("alice")?;
    let eventless = || {
        subject
            .commit()
            .stream(stream.clone(), Expected::Any, Vec::new())
            .record(rejection())
    };
    subject.append(eventless()).await?; // commit 1, version 0
    subject.write(&stream, 2).await?; // commit 2, versions 1 and 2
    subject.append(eventless()).await?; // commit 3
    subject.write(&account("bob")?, 1).await?; // commit 4
    subject.write(&stream, 1).await?; // commit 5, version 3
    of_a_stream(subject, &stream).await?;
    up_to_a_commit(subject, &stream).await?;
    of_the_whole_log(subject).await
}

/// Those of the five commits that a stream has, with and without events, from a version and after a commit.
async fn of_a_stream(subject: &Subject, stream: &StreamId) -> Result<(), Violation> {
    for (from, after, eventless, wanted) in [
        (1, 0, false, vec![2, 5]),
        (1, 0, true, vec![1, 2, 3, 5]),
        (3, 0, true, vec![3, 5]),
        (2, 0, true, vec![2, 3, 5]),
        (1, 2, true, vec![3, 5]),
        (1, 2, false, vec![5]),
        (1, 5, true, vec![]),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let query = StreamQuery {
                from: StreamVersion::new(from),
                after: LogSequence::new(after),
                eventless,
                direction,
                ..StreamQuery::new(stream.clone())
            };
            let mut found = sequences(&subject.stream_commits(query).await?);
            if direction == Direction::Backward {
                found.reverse();
            }
            equal(
                format_args!("{direction:?} from {from} after {after}, eventless: {eventless}"),
                found,
                wanted.clone(),
            )?;
        }
    }
    Ok(())
}

/// The same, up to a commit.
async fn up_to_a_commit(subject: &Subject, stream: &StreamId) -> Result<(), Violation> {
    for (until, wanted) in [
        (0, vec![]),
        (1, vec![1]),
        (2, vec![1, 2]),
        (3, vec![1, 2, 3]),
        (4, vec![1, 2, 3]), // the fourth is of another stream
        (5, vec![1, 2, 3, 5]),
        (6, vec![1, 2, 3, 5]),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let query = StreamQuery {
                until: LogSequence::new(until),
                eventless: true,
                direction,
                ..StreamQuery::new(stream.clone())
            };
            let mut found = sequences(&subject.stream_commits(query).await?);
            if direction == Direction::Backward {
                found.reverse();
            }
            let what = format_args!("{direction:?} until {until}");
            equal(what, found, wanted.clone())?;
        }
    }
    Ok(())
}

/// The five commits, with and without events, and between two positions.
async fn of_the_whole_log(subject: &Subject) -> Result<(), Violation> {
    let all = sequences(&subject.all_commits().await?);
    equal("all commits", all, vec![1, 2, 3, 4, 5])?;
    let query = AllQuery::from(Start::Sequence(LogSequence::new(1)));
    let with_events = sequences(&commits(subject.store().read_all(query)).await?);
    equal("commits with events", with_events, vec![2, 4, 5])?;
    for (from, to, wanted) in [
        (1, u64::MAX, vec![1, 2, 3, 4, 5]),
        (2, u64::MAX, vec![2, 3, 4, 5]),
        (3, u64::MAX, vec![3, 4, 5]),
        (5, u64::MAX, vec![]),
        (1, 2, vec![1, 2]),
        (1, 3, vec![1, 2, 3, 4]),
        (3, 3, vec![3, 4]),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let query = AllQuery {
                to: GlobalPosition::new(to),
                eventless: true,
                direction,
                ..AllQuery::from(Start::Position(GlobalPosition::new(from)))
            };
            let mut found = sequences(&commits(subject.store().read_all(query)).await?);
            if direction == Direction::Backward {
                found.reverse();
            }
            equal(
                format_args!("{direction:?} with positions {from} to {to}"),
                found,
                wanted.clone(),
            )?;
        }
    }
    Ok(())
}

/// Ten events of one stream in several commits, each followed by one of another stream.
async fn ten_events(subject: &Subject) -> Result<StreamId, Violation> {
    let (stream, other) = (account("ten")?, account("other")?);
    for count in COMMITS {
        subject.write(&stream, count).await?;
        subject.write(&other, 1).await?;
    }
    Ok(stream)
}

/// Reads the stream by versions and the log by positions, both with the same bounds and limit.
async fn bounded(
    subject: &Subject,
    from: u64,
    to: u64,
    limit: usize,
    wanted: std::ops::RangeInclusive<u64>,
) -> Result<(), Violation> {
    let stream = ten_events(subject).await?;
    let (lower, upper) = (StreamVersion::new(from), StreamVersion::new(to));
    let found = read_events(
        subject.store(),
        &stream,
        lower,
        upper,
        limit,
        Direction::Forward,
    )
    .await?
    .unwrap_or_default();
    let versions: Vec<u64> = found.iter().map(|event| event.version.get()).collect();
    equal(
        format_args!("versions {from} to {to}, at most {limit}"),
        versions,
        wanted.clone().collect(),
    )?;
    let (lower, upper) = (GlobalPosition::new(from), GlobalPosition::new(to));
    let filter = Filter::default();
    let found = read_all_events(
        subject.store(),
        lower,
        upper,
        filter,
        limit,
        Direction::Forward,
    )
    .await?;
    let positions: Vec<u64> = found.iter().map(|event| event.position.get()).collect();
    equal(
        format_args!("positions {from} to {to}, at most {limit}"),
        positions,
        wanted.collect(),
    )
}

fn sequences(commits: &[chronicler_store::RecordedCommit]) -> Vec<u64> {
    commits.iter().map(|c| c.sequence().get()).collect()
}

/// A range with nothing in it.
fn empty() -> std::ops::RangeInclusive<u64> {
    std::ops::RangeInclusive::new(1, 0)
}

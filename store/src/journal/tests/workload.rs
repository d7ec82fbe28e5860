//! Commits of every kind by chance, and what must be true of a log that they were given to.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chronicler_domain::{LogSequence, SchemaVersion, Timestamp};
use uuid::Uuid;

use super::support::{all, event, stream};
use crate::append::{Append, Appended, Expected};
use crate::codec::CodecId;
use crate::error::Outcome;
use crate::frame::{
    FactKind, OutcomeRecord, OutcomeResult, PartRef, RecordRef, RecordedCommit, SideRecord,
};
use crate::journal::disk::simulated::Random;
use crate::journal::log::JournalLog;
use crate::log::EventLog;
use crate::query::{AllQuery, Direction, FactQuery, Start, StreamQuery};

/// Few, so that streams grow long and facts are replaced.
const STREAMS: u64 = 6;
const FACT_KEYS: u64 = 5;

/// What was handed to a log, what it answered, and what it showed.
#[derive(Clone, Default)]
pub(super) struct Expectations {
    submitted: HashMap<Uuid, Append>,
    acknowledged: BTreeMap<LogSequence, (Uuid, Appended)>,
    /// The frames that readers have seen, in order.
    seen: Vec<Bytes>,
    /// What must not be in the log, and what may be.
    not_applied: HashSet<Uuid>,
    unknown: HashSet<Uuid>,
    checks: u64,
}

impl Expectations {
    /// The next commit by chance.
    pub(super) fn next(&mut self, random: &mut Random) -> Append {
        let number = self.submitted.len() as u128 + 1;
        let append = any_append(number, random);
        self.submitted.insert(append.commit_id, append.clone());
        append
    }

    /// One that was handed in before, if there is any that a repetition can be recognised of.
    pub(super) fn earlier(&self, random: &mut Random) -> Option<Append> {
        let number = u128::from(random.below(self.submitted.len().max(1) as u64)) + 1;
        let earlier = self.submitted.get(&Uuid::from_u128(number))?;
        let first = earlier.parts.first()?;
        (!first.events.is_empty()).then(|| earlier.clone())
    }

    /// The log has answered.
    pub(super) fn acknowledged(&mut self, commit_id: Uuid, appended: Appended) {
        self.not_applied.remove(&commit_id);
        let known = self.acknowledged.get(&appended.sequence);
        if let Some((known_id, known)) = known {
            assert!(appended.duplicate, "two commits have one number");
            assert_eq!(*known_id, commit_id);
            assert_eq!(known.parts, appended.parts);
        } else {
            let entry = (commit_id, appended);
            self.acknowledged.insert(entry.1.sequence, entry);
        }
    }

    /// The log has refused.
    pub(super) fn failed(&mut self, commit_id: Uuid, outcome: Outcome) {
        let before = |(id, _): &(Uuid, Appended)| *id == commit_id;
        if outcome == Outcome::Unknown {
            self.not_applied.remove(&commit_id);
            self.unknown.insert(commit_id);
        } else if !self.unknown.contains(&commit_id) && !self.acknowledged.values().any(before) {
            self.not_applied.insert(commit_id);
        }
    }

    /// The power went at `Os`, and the log ends here now: what came after that is lost for good, and nothing else is.
    pub(super) fn lose_tail(&mut self, end: LogSequence) {
        let lost = self.acknowledged.split_off(&end.next());
        self.unknown.extend(lost.into_values().map(|(id, _)| id));
        self.seen.truncate(end.get() as usize);
    }

    /// Everything is there that was acknowledged or seen, and nothing else than was submitted, in order.
    pub(super) async fn check(&mut self, log: &JournalLog) {
        let mut query = AllQuery::from(Start::Sequence(LogSequence::new(1)));
        query.eventless = true;
        let commits = all(log.read_all(query.clone())).await.unwrap();
        check_chain(&commits);
        assert_eq!(log.head().sequence.get(), commits.len() as u64);
        let last = commits
            .last()
            .map(|last| (last.last_position(), last.timestamp()));
        let head = log.head();
        assert_eq!(
            last.unwrap_or_default(),
            (head.position, head.timestamp),
            "the head"
        );
        for (number, seen) in self.seen.iter().enumerate() {
            let there = commits.get(number).map(RecordedCommit::as_bytes);
            assert_eq!(there, Some(seen), "commit {} was seen before", number + 1);
        }
        for (sequence, (commit_id, appended)) in &self.acknowledged {
            let there = commits.get(sequence.get() as usize - 1);
            let there = there.unwrap_or_else(|| panic!("acknowledged commit {sequence} is gone"));
            assert_eq!(there.commit_id(), *commit_id, "commit {sequence}");
            check_places(there, appended);
        }
        let mut ids: Vec<_> = commits.iter().map(RecordedCommit::commit_id).collect();
        for commit in &commits {
            assert!(!self.not_applied.contains(&commit.commit_id()));
            let submitted = self.submitted.get(&commit.commit_id());
            check_content(commit, submitted.expect("it was submitted"));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), commits.len(), "a commit is there twice");
        check_heads(log, &commits).await;
        check_facts(log, &commits).await;
        // The other ways to read in turn: each costs a thread's wake-up.
        self.checks += 1;
        if self.checks.is_multiple_of(3) {
            check_stream(log, &commits, self.checks % STREAMS).await;
        } else if self.checks % 3 == 1 {
            query.direction = Direction::Backward;
            let mut backward = all(log.read_all(query)).await.unwrap();
            backward.reverse();
            assert!(
                bytes_of(&backward).eq(bytes_of(&commits)),
                "backward is forward turned round"
            );
        }
        self.seen = bytes_of(&commits).cloned().collect();
    }
}

fn any_append(number: u128, random: &mut Random) -> Append {
    let append = Append::new(
        Uuid::from_u128(number),
        Timestamp::from_micros(random.below(1_000)),
    );
    let id = |random: &mut Random| stream(&format!("a{}", random.below(STREAMS)));
    match random.below(10) {
        0 => append.record(any_fact(random)),
        1 => {
            let outcome = outcome(number, random);
            append
                .stream(id(random), Expected::Any, Vec::new())
                .record(outcome)
        }
        2 | 3 => {
            let mut append = append;
            let first = random.below(STREAMS);
            for n in 0..2 + random.below(2) {
                let id = stream(&format!("a{}", (first + n) % STREAMS));
                append = append.stream(id, Expected::Any, any_events(random));
            }
            append.record(any_fact(random))
        }
        _ => append.stream(id(random), Expected::Any, any_events(random)),
    }
}

fn any_events(random: &mut Random) -> Vec<crate::append::NewEvent> {
    let some = 1 + random.below(3);
    let events = (0..some).map(|_| {
        let bytes = match random.below(40) {
            0 => 66_000 + random.below(10_000),
            1 => 10_000 + random.below(30_000),
            2..=15 => 500 + random.below(6_000),
            _ => random.below(300),
        };
        let mut event = event(0);
        let number = random.next();
        let mut payload = vec![number as u8; bytes as usize];
        payload.extend_from_slice(&number.to_le_bytes());
        event.payload = payload.into();
        event
    });
    events.collect()
}

fn any_fact(random: &mut Random) -> SideRecord {
    let key = format!("k{}", random.below(FACT_KEYS));
    let value = random.next().to_le_bytes();
    SideRecord::Fact {
        kind: FactKind::CURSOR,
        key: key.into(),
        value: (!random.one_in(4)).then(|| Bytes::copy_from_slice(&value)),
    }
}

fn outcome(number: u128, random: &mut Random) -> SideRecord {
    SideRecord::Outcome(OutcomeRecord {
        result: OutcomeResult::Rejection,
        decided_at: None,
        command_hash: Some(number as u64),
        type_name: "No".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::copy_from_slice(&random.next().to_le_bytes()),
    })
}

fn check_chain(commits: &[RecordedCommit]) {
    let (mut checksum, mut position, mut offset) = (0, 0, 0);
    let mut timestamp = Timestamp::default();
    for (number, commit) in (1..).zip(commits) {
        assert_eq!(commit.sequence().get(), number, "the sequence has no gaps");
        assert_eq!(commit.header().previous_checksum, checksum);
        assert_eq!(commit.log_offset(), offset);
        assert_eq!(
            commit.first_position().get(),
            position + 1,
            "positions have no gaps"
        );
        assert!(commit.timestamp() >= timestamp, "time goes on");
        (checksum, timestamp) = (commit.header().checksum, commit.timestamp());
        position = commit.last_position().get();
        offset += commit.as_bytes().len() as u64;
    }
}

fn check_places(commit: &RecordedCommit, appended: &Appended) {
    let mut position = commit.first_position();
    for placed in &appended.parts {
        for given in placed.positions.to_vec() {
            assert_eq!(given, position, "the position that was acknowledged");
            position = position.next();
        }
    }
    for (part, placed) in commit.parts().zip(&appended.parts) {
        assert_eq!(part.first_version(), placed.first_version);
        assert_eq!(part.last_version(), placed.last_version);
    }
}

/// A commit is whole: all of its parts, events and records are as submitted.
fn check_content(commit: &RecordedCommit, submitted: &Append) {
    assert_eq!(commit.parts().count(), submitted.parts.len());
    for (part, wanted) in commit.parts().zip(&submitted.parts) {
        assert_eq!(part.stream_key(), wanted.stream.key());
        let payloads = part.events().map(|event| event.payload());
        assert!(payloads.eq(wanted.events.iter().map(|event| event.payload.as_ref())));
    }
    assert_eq!(commit.records().count(), submitted.records.len());
    for (record, wanted) in commit.records().zip(&submitted.records) {
        match (record, wanted) {
            (
                RecordRef::Fact { key, value, .. },
                SideRecord::Fact {
                    key: k, value: v, ..
                },
            ) => {
                assert_eq!((key, value), (k.as_ref(), v.as_deref()));
            }
            (RecordRef::Outcome { payload, .. }, SideRecord::Outcome(outcome)) => {
                assert_eq!(payload, outcome.payload.as_ref());
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn check_heads(log: &JournalLog, commits: &[RecordedCommit]) {
    for number in 0..STREAMS {
        let id = stream(&format!("a{number}"));
        let of_stream = commits_of(commits, id.key());
        let head = log.stream_head(&id).await.unwrap();
        let newest = of_stream
            .last()
            .map(|(commit, part)| (commit.sequence(), part.last_version()));
        assert_eq!(
            head.map(|head| (head.sequence, head.version)),
            newest,
            "{id}"
        );
        let first = of_stream.first().map(|(commit, _)| commit.timestamp());
        assert_eq!(head.map(|head| head.first_at), first, "{id}");
    }
}

async fn check_stream(log: &JournalLog, commits: &[RecordedCommit], number: u64) {
    let id = stream(&format!("a{number}"));
    let of_stream = commits_of(commits, id.key());
    let mut query = StreamQuery::new(id);
    query.eventless = true;
    let found = all(log.read_stream(query)).await.unwrap();
    let found: Vec<_> = found.iter().map(RecordedCommit::sequence).collect();
    let wanted: Vec<_> = of_stream
        .iter()
        .map(|(commit, _)| commit.sequence())
        .collect();
    assert_eq!(found, wanted);
}

fn commits_of<'a>(
    commits: &'a [RecordedCommit],
    key: &str,
) -> Vec<(&'a RecordedCommit, PartRef<'a>)> {
    let part = |commit: &'a RecordedCommit| {
        let part = commit.parts().find(|part| part.stream_key() == key);
        part.map(|part| (commit, part))
    };
    commits.iter().filter_map(part).collect()
}

fn bytes_of(commits: &[RecordedCommit]) -> impl Iterator<Item = &Bytes> {
    commits.iter().map(RecordedCommit::as_bytes)
}

async fn check_facts(log: &JournalLog, commits: &[RecordedCommit]) {
    let mut facts = BTreeMap::new();
    for commit in commits {
        for record in commit.records() {
            match record {
                RecordRef::Fact {
                    key,
                    value: Some(value),
                    ..
                } => {
                    facts.insert(key.to_vec(), (value.to_vec(), commit.sequence()));
                }
                RecordRef::Fact {
                    key, value: None, ..
                } => {
                    facts.remove(key);
                }
                _ => {}
            }
        }
    }
    let found = log.facts(FactQuery::all(FactKind::CURSOR)).await.unwrap();
    let found = found
        .into_iter()
        .map(|fact| (fact.key.to_vec(), (fact.value.to_vec(), fact.sequence)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), facts);
}

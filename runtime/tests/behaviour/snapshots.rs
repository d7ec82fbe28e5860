//! Snapshots: when they are taken, and what is used of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chronicler_domain::{
    Aggregate, Context, Decided, Decision, Event, Never, StreamId, StreamVersion, Tenant,
};
use chronicler_runtime::{RuntimeBuilder, RuntimeOptions, SendOptions, SnapshotPolicy};
use chronicler_store::memory::AppendFault;
use chronicler_store::{MemoryStore, SnapshotStore};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::fixture::{Command, Counter, Fixture, fixture, id, settle, stream, with};

pub(crate) async fn snapshots(f: &Fixture, name: &str) -> Option<u64> {
    settle().await;
    let found = f
        .store
        .load_snapshot(&stream(name), StreamVersion::MAX)
        .await
        .unwrap();
    found.map(|snapshot| snapshot.version.get())
}

#[tokio::test]
async fn s12_with_the_policy_off_none_is_taken_and_an_existing_one_ignored() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for _ in 0..3 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    assert_eq!(snapshots(&f, "a").await, Some(2), "s13: at the interval");
    options.snapshots = SnapshotPolicy::Never;
    let off = with(f.store.clone(), options).await;
    off.store.faults().corrupt_newest_snapshot(&stream("a"));
    assert_eq!(off.total("a").await, 3);
    off.send("b", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&off, "b").await, None);
}

#[tokio::test]
async fn s13_a_batch_that_crosses_the_interval_takes_one_at_its_end() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(3);
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, None);
    f.send("a", Command::AddTwice(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(4));
}

#[tokio::test]
async fn s14_restores_from_none_from_one_and_from_one_with_newer_events() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for expected in 1..=5 {
        f.send("a", Command::Add(1)).await.unwrap();
        settle().await;
        let again = with(f.store.clone(), options.clone()).await;
        assert_eq!(again.total("a").await, expected);
    }
}

#[tokio::test]
async fn s15_s16_s17_what_cannot_be_used_is_ignored_for_an_older_one_or_the_events() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(2);
    let f = with(MemoryStore::new(), options.clone()).await;
    for _ in 0..4 {
        f.send("a", Command::Add(1)).await.unwrap();
        settle().await;
    }
    f.store.faults().corrupt_newest_snapshot(&stream("a"));
    let again = with(f.store.clone(), options.clone()).await;
    assert_eq!(
        again.total("a").await,
        4,
        "s17: the one before, then events"
    );
    let newest = f
        .store
        .load_snapshot(&stream("a"), StreamVersion::MAX)
        .await
        .unwrap()
        .unwrap();
    let other = chronicler_store::Snapshot {
        schema_version: 77,
        ..newest
    };
    f.store.save_snapshot(&stream("a"), other).await.unwrap();
    let again = with(f.store.clone(), options).await;
    assert_eq!(again.total("a").await, 4, "s15: another schema version");
}

#[tokio::test]
async fn s18_a_failed_save_never_stops_the_actor() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let f = with(MemoryStore::new(), options).await;
    f.store.faults().fail_snapshots(true);
    for expected in 1..=3 {
        assert_eq!(f.send("a", Command::Add(1)).await.unwrap().reply, expected);
        settle().await;
    }
    assert_eq!(snapshots(&f, "a").await, None);
    f.store.faults().fail_snapshots(false);
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(4));
}

#[tokio::test]
async fn s21_taken_after_a_recovery_when_missing_and_due() {
    let f = fixture().await;
    for _ in 0..5 {
        f.send("a", Command::Add(1)).await.unwrap();
    }
    assert_eq!(snapshots(&f, "a").await, None);
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(5);
    let again = with(f.store.clone(), options).await;
    assert_eq!(again.total("a").await, 5);
    assert_eq!(snapshots(&again, "a").await, Some(5));
}

#[tokio::test]
async fn s24_passivation_takes_its_snapshot_and_is_honoured_afterwards() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::OnPassivation;
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    settle().await;
    let handle = f.runtime.aggregate::<Counter>().unwrap().clone();
    assert!(handle.passivate(&Tenant::default(), &id("a")).await);
    assert_eq!((snapshots(&f, "a").await, f.live()), (Some(1), 0));
}

#[tokio::test]
async fn s18_a_state_whose_append_failed_is_never_saved() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    assert_eq!(snapshots(&f, "a").await, Some(1));
    f.store.faults().fail_append(AppendFault::Overloaded);
    f.send("a", Command::Add(100)).await.unwrap_err();
    assert_eq!(snapshots(&f, "a").await, Some(1), "it never became true");
    assert_eq!(f.total("a").await, 1);
}

#[tokio::test]
async fn t5_snapshots_that_wait_are_bounded_and_the_newest_is_taken() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    options.snapshots_waiting_max = 3;
    let f = with(MemoryStore::new(), options).await;
    f.store.faults().hold_snapshots();
    for round in 0..20 {
        for name in ["a", "b", "c", "d", "e"] {
            f.send(name, Command::Add(1)).await.unwrap();
        }
        settle().await;
        let (each, all) = (f.store.faults().snapshots_waiting(), 3);
        assert_eq!(each, all, "round {round}: one of an instance, three in all");
    }
    f.store.faults().release_snapshots();
    settle().await;
    for name in ["a", "b", "c", "d", "e"] {
        f.send(name, Command::Add(1)).await.unwrap();
        assert_eq!(snapshots(&f, name).await, Some(21), "the newest of {name}");
    }
    // One that is passivated and finds no place ends without.
    f.store.faults().hold_snapshots();
    for name in ["a", "b", "c", "d"] {
        f.send(name, Command::Add(1)).await.unwrap();
    }
    settle().await;
    let counters = f.runtime.aggregate::<Counter>().unwrap().clone();
    let (tenant, name) = (Tenant::default(), id("d"));
    let passivated = counters.passivate(&tenant, &name);
    tokio::pin!(passivated);
    assert!(futures::poll!(&mut passivated).is_pending());
    settle().await;
    assert_eq!(passivated.now_or_never(), Some(true));
    assert_eq!(f.store.faults().snapshots_waiting(), 3);
    f.store.faults().release_snapshots();
    assert_eq!(f.total("d").await, 22);
}

#[tokio::test]
async fn s24_a_command_waits_for_no_snapshot_of_an_instance_that_is_passivated() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::OnPassivation;
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    settle().await;
    f.store.faults().hold_snapshots();
    let counters = f.runtime.aggregate::<Counter>().unwrap().clone();
    let (tenant, name) = (Tenant::default(), id("a"));
    let passivated = counters.passivate(&tenant, &name);
    tokio::pin!(passivated);
    assert!(futures::poll!(&mut passivated).is_pending());
    settle().await;
    assert_eq!(f.store.faults().snapshots_waiting(), 1);
    let sent = f.send("a", Command::Add(1));
    tokio::pin!(sent);
    assert!(futures::poll!(&mut sent).is_pending());
    settle().await;
    let reply = sent.now_or_never().expect("it is answered").unwrap().reply;
    assert_eq!(reply, 2);
    assert!(!passivated.await, "it is used");

    f.store.faults().release_snapshots();
    settle().await;
    assert!(counters.passivate(&tenant, &name).await);
    assert_eq!((snapshots(&f, "a").await, f.live()), (Some(2), 0));
}

/// Keeps everything that it is told.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Notes(Vec<String>);

#[derive(Clone, Serialize, Deserialize)]
struct Note(String);

impl Event for Note {}

impl Aggregate for Notes {
    const CATEGORY: &'static str = "notes";
    type Command = Note;
    type Event = Note;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, note: Note, _: &Context) -> Decided<Self> {
        Ok(note.into())
    }

    fn evolve(&mut self, note: &Note) {
        self.0.push(note.0.clone());
    }
}

#[tokio::test]
async fn e6_snapshots_of_a_long_state_cost_in_proportion_to_its_events() {
    let (store, mut options) = (MemoryStore::new(), RuntimeOptions::default());
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let builder = RuntimeBuilder::new(Arc::new(store.clone())).options(options);
    let runtime = builder.aggregate::<Notes>().build().await.unwrap();
    let (tenant, name) = (Tenant::default(), id("a"));
    let stream = StreamId::of("notes", "a").unwrap();
    let (mut taken, mut bytes) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..400 {
        let note = Note("x".repeat(4_096));
        let sent = runtime.send::<Notes>(&tenant, &name, note, SendOptions::default());
        sent.await.unwrap();
        settle().await;
        let newest = store.load_snapshot(&stream, StreamVersion::MAX).await;
        let newest = newest.unwrap().unwrap();
        if taken.insert(newest.version) {
            bytes += newest.payload.len();
        }
    }
    // The first are short: each is taken. 400 events have 1.6 MB; all that were taken have a few times that, not 200 times.
    assert!(taken.len() > 15, "{}", taken.len());
    assert!(bytes < 4 * 400 * 4_096, "{bytes} bytes of snapshots");
}

/// What no snapshot can be made of: how often one was tried is counted.
struct Tries(AtomicU64);

impl Tries {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

static UNWRITABLE: Tries = Tries(AtomicU64::new(0));
static UNREADABLE: Tries = Tries(AtomicU64::new(0));

/// A state that cannot be encoded.
#[derive(Clone, Default)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        UNWRITABLE.0.fetch_add(1, Ordering::AcqRel);
        Err(serde::ser::Error::custom("there are no bytes for it"))
    }
}

impl<'de> Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// A state that is encoded, and hides its shape.
#[derive(Clone, Default)]
struct Unreadable;

impl Serialize for Unreadable {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        UNREADABLE.0.fetch_add(1, Ordering::AcqRel);
        to.serialize_u64(7)
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(serde::de::IgnoredAny).map(|_| Self)
    }
}

macro_rules! hosted {
    ($state:ident, $category:literal) => {
        impl Aggregate for $state {
            const CATEGORY: &'static str = $category;
            type Command = ();
            type Event = Noted;
            type Reply = ();
            type Rejection = Never;

            fn decide(&self, (): (), _: &Context) -> Decided<Self> {
                Ok(Decision::event(Noted::Noted))
            }

            fn evolve(&mut self, _: &Noted) {}
        }
    };
}

#[derive(Serialize, Deserialize)]
enum Noted {
    Noted,
}

impl Event for Noted {}

hosted!(Unwritable, "unwritable");
hosted!(Unreadable, "unreadable");

#[tokio::test]
async fn b5_a_state_of_which_no_snapshot_can_be_made_is_tried_once_an_interval_or_once_a_type() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(3);
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .options(options)
        .aggregate::<Unwritable>()
        .aggregate::<Unreadable>()
        .build()
        .await
        .unwrap();
    let tenant = Tenant::default();
    for number in 1..=9 {
        for name in ["a", "b"] {
            let (id, options) = (id(name), SendOptions::default());
            runtime
                .send::<Unwritable>(&tenant, &id, (), options.clone())
                .await
                .unwrap();
            runtime
                .send::<Unreadable>(&tenant, &id, (), options)
                .await
                .unwrap();
            settle().await;
        }
        // Two instances, an attempt of each at every third event.
        assert_eq!(UNWRITABLE.count(), 2 * (number / 3), "after {number}");
        assert_eq!(UNREADABLE.count(), u64::from(number >= 3), "after {number}");
    }
    for category in ["unwritable", "unreadable"] {
        let stream = StreamId::of(category, "a").unwrap();
        let found = store
            .load_snapshot(&stream, StreamVersion::MAX)
            .await
            .unwrap();
        assert!(found.is_none(), "{category}");
    }
}

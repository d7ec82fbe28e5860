//! The follower: nothing is passed over in silence, and nobody holds up anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::Timestamp;
use chronicler_runtime::{
    Consumer, FollowerHandle, FollowerSpec, Plan, Planned, RuntimeOptions, Selection, SetAside,
    Trouble, WorkerHandle, WorkerSpec,
};
use chronicler_store::{Append, EventLog, EventRef, FactKind, Filter, SideRecord};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fixture::{Command, Fixture, fixture, with};

/// What a consumer took, and what it is told to do.
#[derive(Default)]
struct Books {
    taken: BTreeMap<String, Vec<u64>>,
    /// Keys that cannot be taken at present.
    away: BTreeSet<String>,
    broken: BTreeSet<String>,
    /// Keys whose events are done when somebody says so.
    stuck: BTreeSet<String>,
    unplannable: BTreeSet<String>,
    tries: usize,
}

/// Takes events by the id of their aggregate.
#[derive(Clone, Default)]
struct Taker(Arc<Mutex<Books>>, Arc<Notify>);

impl Consumer for Taker {
    type Item = u64;

    fn plan(&self, event: &EventRef<'_>, _: bool) -> Result<Plan<u64>, String> {
        let id = event.part().id();
        assert!(
            !self.0.lock().unplannable.contains(id),
            "no plan for event {}",
            event.position()
        );
        let position = event.position().get();
        Ok(Plan::of(vec![Planned {
            key: id.into(),
            item: position,
        }]))
    }

    fn keep(&self, item: &u64) -> Vec<u8> {
        item.to_be_bytes().to_vec()
    }

    fn restore(&self, event: &EventRef<'_>, kept: &[u8]) -> Result<u64, String> {
        assert_eq!(kept, event.position().get().to_be_bytes());
        Ok(event.position().get())
    }

    fn take<'a>(&'a self, key: &'a Arc<str>, item: &'a u64) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            {
                let mut books = self.0.lock();
                books.tries += 1;
                if books.away.contains(&**key) {
                    return Err(Trouble::Passing("it is away".to_owned()));
                }
                if books.broken.contains(&**key) {
                    return Err(Trouble::Lasting(format!("event {item} broke it")));
                }
                if !books.stuck.contains(&**key) {
                    books.taken.entry(key.to_string()).or_default().push(*item);
                    return Ok(());
                }
            }
            self.1.notified().await;
            let mut books = self.0.lock();
            books.taken.entry(key.to_string()).or_default().push(*item);
            Ok(())
        }
        .boxed()
    }
}

struct Following {
    handle: FollowerHandle,
    worker: WorkerHandle,
}

fn follow(f: &Fixture, taker: &Taker, change: impl FnOnce(&mut FollowerSpec)) -> Following {
    let mut spec = FollowerSpec::new("taker", Filter::default());
    change(&mut spec);
    let handle = FollowerHandle::new(&f.runtime, spec);
    let (own, taker) = (handle.clone(), Arc::new(taker.clone()));
    let run = move |context| {
        let (handle, taker) = (own.clone(), Arc::clone(&taker));
        async move { handle.run(taker, context).await }.boxed()
    };
    let worker = f.runtime.workers().spawn(WorkerSpec::new("taker"), run);
    Following { handle, worker }
}

async fn settle() {
    for _ in 0..300 {
        tokio::task::yield_now().await;
    }
}

impl Taker {
    fn taken(&self, key: &str) -> Vec<u64> {
        self.0.lock().taken.get(key).cloned().unwrap_or_default()
    }
}

async fn add(f: &Fixture, ids: &[&str]) {
    for id in ids {
        f.send(id, Command::Add(1)).await.unwrap();
    }
    settle().await;
}

async fn causes(following: &Following) -> Vec<(u64, SetAside, u32)> {
    let parked = following.handle.parked().await.unwrap().into_iter();
    parked
        .map(|event| (event.position.get(), event.cause, event.tries))
        .collect()
}

#[tokio::test]
async fn n5_what_lasts_waits_with_its_key_until_somebody_asks_and_all_else_goes_on() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |_| {});
    taker.0.lock().broken.insert("a".to_owned());
    add(&f, &["a", "b", "a", "b"]).await;
    assert_eq!(taker.taken("b"), [2, 4]);
    let behind = following.handle.parked().await.unwrap()[0].position;
    let expected = [(1, SetAside::Parked, 1), (3, SetAside::Held { behind }, 0)];
    assert_eq!(causes(&following).await, expected);
    assert_eq!(
        following.handle.status().through,
        f.runtime.head().position.min(4.into())
    );
    f.clock.advance(Duration::from_secs(3_600));
    settle().await;
    assert_eq!(causes(&following).await, expected, "nobody asked");
    taker.0.lock().broken.clear();
    assert_eq!(
        following
            .handle
            .retry(Selection::Key("a".into()))
            .await
            .unwrap(),
        1
    );
    add(&f, &["a"]).await;
    assert_eq!(taker.taken("a").len(), 3);
    assert!(taker.taken("a").is_sorted());
    assert_eq!(causes(&following).await, []);
}

#[tokio::test]
async fn n6_what_may_pass_is_tried_again_without_anybody_and_in_order() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |_| {});
    taker.0.lock().away.insert("a".to_owned());
    add(&f, &["a", "b", "a"]).await;
    assert_eq!(taker.taken("b"), [2]);
    assert_eq!(causes(&following).await[0].1, SetAside::Retrying);
    assert!(following.handle.status().is_retrying);
    for _ in 0..20 {
        f.clock.advance(Duration::from_secs(30));
        settle().await;
    }
    let tries = causes(&following).await[0].2;
    assert!((15..=21).contains(&tries), "{tries}");
    taker.0.lock().away.clear();
    f.clock.advance(Duration::from_secs(30));
    settle().await;
    assert_eq!(taker.taken("a"), [1, 3]);
    assert_eq!(causes(&following).await, []);
    assert!(!following.handle.status().is_retrying);
}

#[tokio::test]
async fn n5_a_start_takes_up_what_is_parked_and_no_event_is_passed_over_by_a_crash() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |_| {});
    taker.0.lock().broken.insert("a".to_owned());
    taker.0.lock().unplannable.insert("c".to_owned());
    add(&f, &["a", "b", "c", "a", "c"]).await;
    assert_eq!(causes(&following).await.len(), 4);
    // The cursor was not recorded: all of it is read once more, and nothing is parked twice.
    let store = f.store.clone();
    f.runtime.abandon();
    settle().await;
    drop((following, f));
    let cursor = SideRecord::Fact {
        kind: FactKind::CURSOR,
        key: "taker".into(),
        value: None,
    };
    let id = uuid::Uuid::from_u128(7);
    let append = Append::new(id, Timestamp::EPOCH).record(cursor);
    store.append(append).await.unwrap();
    let f = with(store, RuntimeOptions::default()).await;
    let following = follow(&f, &taker, |_| {});
    settle().await;
    assert_eq!(causes(&following).await.len(), 4);
    following.worker.stop().await;
    taker.0.lock().broken.clear();
    taker.0.lock().unplannable.clear();
    let following = follow(&f, &taker, |_| {});
    settle().await;
    assert_eq!(causes(&following).await, []);
    assert_eq!(
        (taker.taken("a"), taker.taken("c")),
        (vec![1, 4], vec![3, 5])
    );
    assert_eq!(taker.taken("b"), [2, 2], "at least once");
}

#[tokio::test]
async fn n7_a_slow_key_costs_the_others_nothing() {
    let (f, taker) = (fixture().await, Taker::default());
    let limits = |spec: &mut FollowerSpec| spec.outstanding_max = 16;
    let following = follow(&f, &taker, limits);
    taker.0.lock().stuck.insert("a".to_owned());
    for _ in 0..40 {
        add(&f, &["a", "b"]).await;
        f.clock.advance(Duration::from_secs(3));
        settle().await;
    }
    assert_eq!(taker.taken("b").len(), 40);
    let status = following.handle.status();
    assert!(status.outstanding <= 16, "{status:?}");
    // Nor does it hold the cursor: after a minute what is under way is parked, and goes on.
    f.clock.advance(Duration::from_secs(60));
    settle().await;
    assert_eq!(
        following.handle.status().through,
        f.runtime.head().position.min(80.into())
    );
    assert_eq!(causes(&following).await[0].1, SetAside::Retrying);
    // The next life takes what was not taken, in order and once.
    following.worker.stop().await;
    taker.0.lock().stuck.clear();
    let following = follow(&f, &taker, limits);
    settle().await;
    assert_eq!(taker.taken("a").len(), 40);
    assert!(taker.taken("a").is_sorted());
    assert_eq!(causes(&following).await, []);
}

#[tokio::test]
async fn z4_keys_that_hang_keep_no_places_from_the_others_however_many_they_are() {
    let (f, taker) = (fixture().await, Taker::default());
    let limits = |spec: &mut FollowerSpec| spec.lanes_max = 4;
    let following = follow(&f, &taker, limits);
    let stuck: Vec<_> = (0..12).map(|n| format!("stuck {n:02}")).collect();
    let stuck: Vec<&str> = stuck.iter().map(String::as_str).collect();
    taker
        .0
        .lock()
        .stuck
        .extend(stuck.iter().map(|key| (*key).to_owned()));
    taker.0.lock().away.insert("away".to_owned());
    add(&f, &["away"]).await;
    add(&f, &stuck).await;
    add(&f, &["well"]).await;
    assert!(taker.taken("well").is_empty(), "all places are taken");
    for _ in 0..10 {
        f.clock.advance(Duration::from_secs(5));
        settle().await;
    }
    assert_eq!(taker.taken("well"), [14]);
    assert_eq!(causes(&following).await.len(), 13);
    // Nor those of others that are tried again, in this life or the next one, where all of them are tried at once.
    taker.0.lock().away.clear();
    f.clock.advance(Duration::from_secs(30));
    settle().await;
    assert_eq!(taker.taken("away"), [1]);
    taker.0.lock().away.insert("away".to_owned());
    add(&f, &["away"]).await;
    following.worker.stop().await;
    let tries = taker.0.lock().tries;
    let following = follow(&f, &taker, limits);
    settle().await;
    let tried = taker.0.lock().tries - tries;
    assert_eq!(tried, 3, "one that fails at once, and half of the places");
    add(&f, &["well"]).await;
    assert_eq!(taker.taken("well"), [14, 16], "others have theirs");
    taker.0.lock().away.clear();
    for _ in 0..40 {
        f.clock.advance(Duration::from_secs(1));
        settle().await;
    }
    assert_eq!(taker.taken("away"), [1, 15]);
    assert_eq!(causes(&following).await.len(), 12);
    // What hung is done some day, each once.
    taker.0.lock().stuck.clear();
    taker.1.notify_waiters();
    settle().await;
    assert_eq!(causes(&following).await, []);
    for (key, position) in stuck.iter().zip(2..) {
        assert_eq!(taker.taken(key), [position]);
    }
}

#[tokio::test]
async fn n8_what_is_dropped_never_comes_and_what_waited_for_it_does() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |_| {});
    taker
        .0
        .lock()
        .broken
        .extend(["a".to_owned(), "b".to_owned()]);
    add(&f, &["a", "b", "a"]).await;
    let groups = following.handle.parked_groups().await.unwrap();
    assert_eq!((groups.len(), groups[0].events, groups[0].held), (1, 2, 1));
    taker.0.lock().broken.clear();
    let first = following.handle.parked().await.unwrap()[0].position;
    assert_eq!(
        following
            .handle
            .drop_parked(Selection::Event(first))
            .await
            .unwrap(),
        1
    );
    settle().await;
    assert_eq!(taker.taken("a"), [3]);
    // Not after a crash either, though the cursor had not passed it.
    let store = f.store.clone();
    f.runtime.abandon();
    drop((following, f));
    let f = with(store, RuntimeOptions::default()).await;
    let following = follow(&f, &taker, |_| {});
    settle().await;
    assert!(!taker.taken("a").contains(&1));
    assert_eq!(taker.taken("b"), [2]);
    // When the cursor has passed it, it is forgotten.
    add(&f, &["c"]).await;
    f.clock.advance(Duration::from_secs(2));
    settle().await;
    assert_eq!(causes(&following).await, []);
    following.worker.stop().await;
    let asked = following.handle.retry(Selection::All).await;
    assert!(asked.unwrap_err().to_string().contains("not running"));
}

#[tokio::test]
async fn n9_nothing_more_is_read_when_as_many_are_parked_as_may_be() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |spec| spec.parked_max = 4);
    taker.0.lock().broken.insert("a".to_owned());
    for _ in 0..8 {
        add(&f, &["a"]).await;
    }
    add(&f, &["b"]).await;
    assert!(following.handle.status().is_full);
    assert!(taker.taken("b").is_empty());
    taker.0.lock().broken.clear();
    following.handle.retry(Selection::All).await.unwrap();
    settle().await;
    assert_eq!(taker.taken("a").len(), 8);
    assert_eq!(taker.taken("b").len(), 1);
    assert!(!following.handle.status().is_full);
}

#[tokio::test]
async fn n8_what_comes_after_all_of_a_slow_key_was_dropped_is_taken() {
    let (f, taker) = (fixture().await, Taker::default());
    let following = follow(&f, &taker, |_| {});
    taker.0.lock().stuck.insert("a".to_owned());
    add(&f, &["a"]).await;
    f.clock.advance(Duration::from_secs(60));
    settle().await;
    f.clock.advance(Duration::from_secs(60));
    settle().await;
    assert_eq!(causes(&following).await.len(), 1);
    assert_eq!(
        following.handle.drop_parked(Selection::All).await.unwrap(),
        1
    );
    add(&f, &["a"]).await;
    taker.0.lock().stuck.clear();
    taker.1.notify_waiters();
    settle().await;
    assert_eq!(taker.taken("a"), [1, 2]);
    assert_eq!(following.handle.status().outstanding, 0);
}

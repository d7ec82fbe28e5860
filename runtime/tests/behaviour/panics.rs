//! Code of the application that panics where it is looked at, written, read, shown or dropped: it costs the request that
//! it was called for, and nothing else.

use std::sync::atomic::{AtomicU8, Ordering};

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never, Tenant};
use chronicler_runtime::{
    DispatchError, Runtime, RuntimeBuilder, RuntimeOptions, SendError, SendOptions, SnapshotPolicy,
};
use chronicler_store::{EventLog, MemoryStore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fixture::{id, settle};

const NOTHING: u8 = 0;
const CLONE: u8 = 1;
const DROP: u8 = 2;
const WRITE: u8 = 3;
const WRITE_REPLY: u8 = 4;
const READ_REPLY: u8 = 5;

/// What panics. These tests run one at a time.
static PANICS: AtomicU8 = AtomicU8::new(NOTHING);
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn panic_at(what: u8) {
    assert!(PANICS.load(Ordering::SeqCst) != what, "on purpose");
}

#[derive(Default)]
struct Fragile(u64);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        panic_at(CLONE);
        Self(self.0)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_at(DROP);
        }
    }
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        panic_at(WRITE);
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(Self)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Reply(u64);

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        panic_at(WRITE_REPLY);
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        panic_at(READ_REPLY);
        u64::deserialize(from).map(Self)
    }
}

#[derive(Serialize, Deserialize)]
struct Touch;

#[derive(Serialize, Deserialize)]
struct Touched;

impl Event for Touched {}

impl Aggregate for Fragile {
    const CATEGORY: &'static str = "fragile";
    type Command = Touch;
    type Event = Touched;
    type Reply = Reply;
    type Rejection = Never;

    fn decide(&self, _: Touch, _: &Context) -> Decided<Self> {
        Ok(Decision::event(Touched).reply(Reply(self.0 + 1)))
    }

    fn evolve(&mut self, _: &Touched) {
        self.0 += 1;
    }
}

async fn start(store: MemoryStore) -> Runtime {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    RuntimeBuilder::new(std::sync::Arc::new(store))
        .options(options)
        .aggregate::<Fragile>()
        .build()
        .await
        .unwrap()
}

async fn touch(runtime: &Runtime, options: SendOptions) -> Result<Reply, SendError<Never>> {
    let (tenant, name) = (Tenant::default(), id("a"));
    let sent = runtime.send::<Fragile>(&tenant, &name, Touch, options);
    sent.await.map(|receipt| receipt.reply)
}

fn named(runtime: &Runtime, name: &str) -> SendOptions {
    SendOptions {
        command_id: Some(chronicler_domain::CommandId::derived(
            runtime.clock().now(),
            name,
        )),
        ..SendOptions::default()
    }
}

#[track_caller]
fn is_panic<T>(answered: Result<T, DispatchError>) {
    let error = answered.map(drop).unwrap_err();
    assert!(matches!(error, DispatchError::Panicked { .. }), "{error}");
}

#[tokio::test]
async fn t4_a_look_that_panics_costs_the_look_alone() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let runtime = start(MemoryStore::new()).await;
    let (tenant, name) = (Tenant::default(), id("a"));
    touch(&runtime, SendOptions::default()).await.unwrap();
    let all = runtime.aggregate::<Fragile>().unwrap().clone();
    let recovered = runtime.head().sequence;
    for _ in 0..20 {
        let looked = all.query(&tenant, &name, |state, _| -> u64 { 10 / (state.0 - 1) });
        is_panic(looked.await);
    }
    PANICS.store(CLONE, Ordering::SeqCst);
    for _ in 0..20 {
        is_panic(runtime.state::<Fragile>(&tenant, &name).await);
    }
    PANICS.store(NOTHING, Ordering::SeqCst);
    assert_eq!(all.live(), 1);
    assert!(runtime.quarantined().is_empty());
    assert_eq!(runtime.head().sequence, recovered, "nothing was journaled");
    let next = touch(&runtime, SendOptions::default()).await.unwrap();
    assert_eq!(next, Reply(2));
}

#[tokio::test]
async fn t4_what_panics_when_it_is_written_read_or_dropped_costs_its_request_alone() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let store = MemoryStore::new();
    let runtime = start(store.clone()).await;
    let first = named(&runtime, "first");
    touch(&runtime, first.clone()).await.unwrap();
    settle().await;
    PANICS.store(WRITE, Ordering::SeqCst);
    for touched in 2..20 {
        let reply = touch(&runtime, SendOptions::default()).await.unwrap();
        assert_eq!(reply, Reply(touched), "only its snapshot fails");
    }
    PANICS.store(WRITE_REPLY, Ordering::SeqCst);
    for n in 0..20 {
        let written = touch(&runtime, named(&runtime, &format!("w{n}"))).await;
        let Err(SendError::Failed(error)) = written else {
            panic!("{written:?}")
        };
        is_panic::<()>(Err(error));
    }
    PANICS.store(READ_REPLY, Ordering::SeqCst);
    for _ in 0..20 {
        let again = touch(&runtime, first.clone()).await.unwrap_err();
        assert!(again.to_string().contains("on purpose"), "{again}");
    }
    PANICS.store(NOTHING, Ordering::SeqCst);
    assert_eq!(touch(&runtime, first).await.unwrap(), Reply(1));
    // A state that panics when its instance ends, or when it has to be recovered.
    PANICS.store(DROP, Ordering::SeqCst);
    let all = runtime.aggregate::<Fragile>().unwrap().clone();
    assert!(all.passivate(&Tenant::default(), &id("a")).await);
    PANICS.store(NOTHING, Ordering::SeqCst);
    settle().await;
    let next = touch(&runtime, SendOptions::default()).await.unwrap();
    assert_eq!(next, Reply(20));
    assert!(runtime.quarantined().is_empty());
    assert_eq!(store.head().position.get(), 20);
}

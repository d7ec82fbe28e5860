//! Types that change between releases, while what they were written as waits in the store.

use std::sync::Arc;

use chronicler_domain::{Aggregate, CommandId, Context, Decided, Decision, Event, Tenant};
use chronicler_runtime::{
    Receipt, Runtime, RuntimeBuilder, RuntimeOptions, SendError, SendOptions, SnapshotPolicy,
};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use chronicler_store::{MemoryStore, SnapshotStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fixture::{id, settle};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Transfer {
    Move(u64, u64),
    Refuse,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Moved(u64, u64);

impl Event for Moved {}

/// One release of an account: its state, and what it answers.
macro_rules! release {
    ($name:ident { $($field:ident: $type:ty = $fold:expr;)* } $mode:tt, $reply:tt, $rejection:tt) => {
        mod $name {
            use super::*;

            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            pub(super) enum Mode $mode

            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            pub(super) struct Account {
                pub(super) mode: Mode,
                $(#[serde(default)] pub(super) $field: $type),*
            }

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub(super) enum Reply $reply

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
            #[error("no")]
            pub(super) enum No $rejection

            impl Aggregate for Account {
                const CATEGORY: &'static str = "account";
                type Command = Transfer;
                type Event = Moved;
                type Reply = Reply;
                type Rejection = No;

                fn decide(&self, command: Transfer, _: &Context) -> Decided<Self> {
                    match command {
                        Transfer::Move(paid_in, paid_out) => {
                            Ok(Decision::event(Moved(paid_in, paid_out)).reply(Reply::Taken {
                                paid_in,
                                paid_out,
                            }))
                        }
                        Transfer::Refuse => Err(No::Closed),
                    }
                }

                fn evolve(&mut self, event: &Moved) {
                    self.mode = Mode::Used;
                    $({
                        let fold: fn(&mut $type, &Moved) = $fold;
                        fold(&mut self.$field, event);
                    })*
                }
            }
        }
    };
}

release!(first {
    paid_in: u64 = |sum, event| *sum += event.0;
    paid_out: u64 = |sum, event| *sum += event.1;
} { #[default] New, Used }, { Taken { paid_in: u64, paid_out: u64 }, Noted }, { Closed, Late });
release!(swapped {
    paid_out: u64 = |sum, event| *sum += event.1;
    paid_in: u64 = |sum, event| *sum += event.0;
} { Locked, #[default] New, Held, Used }, { Noted, Taken { paid_out: u64, paid_in: u64 } }, { Late, Other, Closed });
release!(added {
    paid_in: u64 = |sum, event| *sum += event.0;
    paid_out: u64 = |sum, event| *sum += event.1;
    first: Option<u64> = |first, event| *first = first.or(Some(event.0));
    moves: u64 = |moves, _| *moves += 1;
} { #[default] New, Used }, { Taken { paid_in: u64, paid_out: u64 }, Noted }, { Closed, Late });
release!(removed {
    paid_out: u64 = |sum, event| *sum += event.1;
} { Used, #[default] New }, { Taken { paid_in: u64, paid_out: u64 } }, { Closed });

async fn runtime<A: Aggregate>(store: &MemoryStore) -> Runtime {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(5);
    let builder = RuntimeBuilder::new(Arc::new(store.clone())).options(options);
    builder.aggregate::<A>().build().await.unwrap()
}

async fn send<A: Aggregate>(
    runtime: &Runtime,
    command: A::Command,
    options: SendOptions,
) -> Result<Receipt<A::Reply>, SendError<A::Rejection>> {
    let (tenant, id) = (Tenant::default(), id("a"));
    runtime.send::<A>(&tenant, &id, command, options).await
}

async fn state<A: Aggregate + Clone>(store: &MemoryStore) -> A {
    let runtime = runtime::<A>(store).await;
    let state = runtime.state::<A>(&Tenant::default(), &id("a")).await;
    state.unwrap().state
}

#[tokio::test]
async fn c2_a_snapshot_of_another_shape_is_never_read_as_something_else() {
    let store = MemoryStore::new();
    let writing = runtime::<first::Account>(&store).await;
    for _ in 0..12 {
        let options = SendOptions::default();
        let sent = send::<first::Account>(&writing, Transfer::Move(100, 1), options);
        sent.await.unwrap();
        settle().await;
    }
    let stream = chronicler_domain::StreamId::of("account", "a").unwrap();
    let newest = store.load_snapshot(&stream, chronicler_domain::StreamVersion::MAX);
    assert_eq!(newest.await.unwrap().unwrap().version.get(), 10);
    let swapped = state::<swapped::Account>(&store).await;
    assert_eq!((swapped.paid_in, swapped.paid_out), (1_200, 12));
    assert_eq!(swapped.mode, swapped::Mode::Used);
    let added = state::<added::Account>(&store).await;
    assert_eq!((added.paid_in, added.paid_out), (1_200, 12));
    assert_eq!(
        (added.first, added.moves),
        (Some(100), 12),
        "as the events say"
    );
    let removed = state::<removed::Account>(&store).await;
    assert_eq!((removed.paid_out, removed.mode), (12, removed::Mode::Used));
    let first = state::<first::Account>(&store).await;
    assert_eq!((first.paid_in, first.paid_out), (1_200, 12));
}

#[tokio::test]
async fn c3_a_later_release_answers_a_repetition_with_the_same_reply_or_rejection() {
    let store = MemoryStore::new();
    let before = runtime::<first::Account>(&store).await;
    let with = |name: &str| SendOptions {
        command_id: Some(CommandId::derived(before.clock().now(), name)),
        ..SendOptions::default()
    };
    let (moved, refused) = (with("moved"), with("refused"));
    let sent = send::<first::Account>(&before, Transfer::Move(100, 1), moved.clone());
    sent.await.unwrap();
    let sent = send::<first::Account>(&before, Transfer::Refuse, refused.clone());
    sent.await.unwrap_err();
    let after = runtime::<swapped::Account>(&store).await;
    let again = send::<swapped::Account>(&after, Transfer::Move(100, 1), moved);
    let again = again.await.unwrap();
    assert!(again.duplicate);
    let expected = swapped::Reply::Taken {
        paid_out: 1,
        paid_in: 100,
    };
    assert_eq!(again.reply, expected);
    let again = send::<swapped::Account>(&after, Transfer::Refuse, refused);
    match again.await {
        Err(SendError::Rejected(rejection)) => assert_eq!(rejection, swapped::No::Closed),
        other => panic!("another answer than the first: {other:?}"),
    }
}

#[test]
fn c3_an_answer_is_read_by_its_name_or_not_at_all() {
    fn read<T: DeserializeOwned>(written: &impl Serialize) -> Option<T> {
        let bytes = encode(PayloadCodec::ByName, written).unwrap();
        decode(CodecId::BY_NAME, &bytes).ok()
    }
    let noted = first::Reply::Noted;
    assert_eq!(read(&noted), Some(swapped::Reply::Noted));
    assert_eq!(read(&noted), Some(added::Reply::Noted));
    assert_eq!(read::<removed::Reply>(&noted), None);
    let late = first::No::Late;
    assert_eq!(read(&late), Some(swapped::No::Late));
    assert_eq!(read(&late), Some(added::No::Late));
    assert_eq!(read::<removed::No>(&late), None);
    assert_eq!(read::<first::No>(&swapped::No::Other), None);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Careless;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Method {
    Card,
    #[serde(skip)]
    Internal,
    Cash,
    Cheque,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Paid(Method);

impl Event for Paid {}

impl Aggregate for Careless {
    const CATEGORY: &'static str = "careless";
    type Command = Method;
    type Event = Paid;
    type Reply = ();
    type Rejection = chronicler_domain::Never;

    fn decide(&self, method: Method, _: &Context) -> Decided<Self> {
        Ok(Paid(method).into())
    }

    fn evolve(&mut self, _: &Paid) {}
}

#[tokio::test]
async fn c4_an_event_that_would_be_read_as_another_value_is_not_written() {
    let store = MemoryStore::new();
    let runtime = runtime::<Careless>(&store).await;
    let options = SendOptions::default();
    let sent = send::<Careless>(&runtime, Method::Cash, options.clone());
    let refused = sent.await.unwrap_err();
    assert!(refused.to_string().contains("another value"), "{refused}");
    // It has no bytes at all.
    let sent = send::<Careless>(&runtime, Method::Internal, options.clone());
    sent.await.unwrap_err();
    assert_eq!(runtime.head().position.get(), 0, "nothing is written");
    let sent = send::<Careless>(&runtime, Method::Card, options);
    sent.await.unwrap();
}

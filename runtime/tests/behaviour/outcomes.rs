//! What an error says became of the command is true.

use std::collections::HashMap;
use std::sync::Arc;

use chronicler_domain::{
    Aggregate, CommandId, Context, Decided, Decision, Event, GlobalPosition, Metadata, Tenant,
};
use chronicler_runtime::{
    DispatchError, EffectCommand, RuntimeBuilder, RuntimeOptions, SendError, SendOptions,
    SubscriptionOptions,
};
use chronicler_store::codec::{PayloadCodec, encode};
use chronicler_store::memory::AppendFault;
use chronicler_store::{
    Append, EventLog, Expected, MemoryStore, Outcome, OutcomeRecord, OutcomeResult, ReadError,
    SideRecord,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fixture::{Command, Happened, command_id, fixture, id, settle, stream, with};

/// The counter of another release: it answers in another way.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Other<R>(std::marker::PhantomData<R>);

#[derive(Clone, Serialize, Deserialize, thiserror::Error, Debug)]
#[error("no")]
struct No(Vec<String>);

impl<R> Aggregate for Other<R>
where
    R: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    const CATEGORY: &'static str = "counter";
    type Command = Command;
    type Event = Happened;
    type Reply = R;
    type Rejection = No;

    fn decide(&self, _: Command, _: &Context) -> Decided<Self> {
        Ok(Decision::nothing().reply(R::default()))
    }

    fn evolve(&mut self, _: &Happened) {}
}

#[tokio::test]
async fn d1_an_answer_that_cannot_be_read_any_more_says_what_became_of_its_command() {
    let f = fixture().await;
    let (paid, refused) = (command_id(&f, "paid"), command_id(&f, "refused"));
    f.send_with("a", Command::Add(5), paid.clone())
        .await
        .unwrap();
    let no = f
        .send_with("a", Command::Add(-9), refused.clone())
        .await
        .unwrap_err();
    assert!(no.rejection().is_some());
    let later = RuntimeBuilder::new(Arc::new(f.store.clone()))
        .clock(Arc::new(f.clock.clone()))
        .aggregate::<Other<Vec<String>>>()
        .build()
        .await
        .unwrap();
    for (command, options, became) in [
        (Command::Add(5), paid, Outcome::Applied),
        (Command::Add(-9), refused, Outcome::NotApplied),
    ] {
        let again = later
            .send::<Other<Vec<String>>>(&Tenant::default(), &id("a"), command, options)
            .await;
        let error = again.unwrap_err();
        let unreadable = matches!(
            &error,
            SendError::Failed(DispatchError::AnswerUnreadable { .. })
        );
        assert!(unreadable, "{error}");
        assert_eq!((error.outcome(), error.is_retryable()), (became, false));
    }
}

/// A reply that is written once, and once more to see that it is read back as it was, and never again.
#[derive(Clone, Default, Deserialize)]
struct Once;

impl Serialize for Once {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        match WRITTEN.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => serializer.serialize_unit(),
            _ => Err(serde::ser::Error::custom("only once")),
        }
    }
}

#[tokio::test]
async fn d1_an_effect_whose_answer_cannot_be_given_was_applied() {
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store))
        .aggregate::<Other<Once>>()
        .build()
        .await
        .unwrap();
    let command = encode(PayloadCodec::Bincode, &Command::Add(1)).unwrap();
    let effect = EffectCommand {
        target: stream("a"),
        codec: PayloadCodec::Bincode.id(),
        command,
        effect_id: runtime.new_id(),
        decided_at: Default::default(),
        metadata: Metadata::origin(runtime.new_id()),
        deadline: None,
    };
    let error = runtime.effects().dispatch(effect).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Applied, "{error}");
}

#[tokio::test]
async fn d2_no_refusal_tells_of_what_is_not_durable() {
    let f = fixture().await;
    let once = command_id(&f, "x");
    f.store.faults().hold();
    let first = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    let other = f.spawn_with("a", Command::Add(6), once.clone());
    settle().await;
    assert!(!other.is_finished(), "what it would tell of is not durable");
    f.store.faults().release();
    first.await.unwrap().unwrap();
    let error = other.await.unwrap().unwrap_err();
    let reused = matches!(error, SendError::Failed(DispatchError::IdReused { .. }));
    assert!(reused && error.outcome() == Outcome::Unknown, "{error}");
}

/// An account of a later release: its deposits have a currency, and another name.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Account(i64);

#[derive(Serialize, Deserialize)]
enum Deposit {
    Pay {
        cents: i64,
        #[serde(default)]
        currency: String,
    },
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "counter";
    type Command = Deposit;
    type Event = Happened;
    type Reply = i64;
    type Rejection = chronicler_domain::Never;

    fn decide(&self, command: Deposit, _: &Context) -> Decided<Self> {
        let Deposit::Pay { cents, .. } = command;
        Ok(Decision::event(Happened::Added(cents)).reply(self.0 + cents))
    }

    fn evolve(&mut self, event: &Happened) {
        if let Happened::Added(cents) = event {
            self.0 += cents;
        }
    }
}

#[tokio::test]
async fn d1_a_command_whose_type_changed_since_it_was_carried_out_is_not_denied() {
    let f = fixture().await;
    let once = command_id(&f, "deposit");
    f.send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    let later = RuntimeBuilder::new(Arc::new(f.store.clone()))
        .clock(Arc::new(f.clock.clone()))
        .aggregate::<Account>()
        .build()
        .await
        .unwrap();
    let again = Deposit::Pay {
        cents: 5,
        currency: String::new(),
    };
    let error = later
        .send::<Account>(&Tenant::default(), &id("a"), again, once)
        .await
        .unwrap_err();
    let reused = matches!(error, SendError::Failed(DispatchError::IdReused { .. }));
    assert!(reused && error.outcome() == Outcome::Unknown, "{error}");
    let state = later
        .state::<Account>(&Tenant::default(), &id("a"))
        .await
        .unwrap();
    assert_eq!(state.state.0, 5, "the deposit is there, once");
}

#[tokio::test]
async fn d2_another_command_under_an_id_is_not_told_of_as_denied_when_a_later_commit_fails() {
    let f = fixture().await;
    let once = command_id(&f, "x");
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().hold();
    f.store.faults().pass_append();
    f.store.faults().fail_append(AppendFault::Overloaded);
    let first = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    let refused = f.spawn("a", Command::Add(1));
    settle().await;
    // It waits for both, of which the second fails.
    let other = f.spawn_with("a", Command::Add(6), once);
    settle().await;
    f.store.faults().release();
    first.await.unwrap().unwrap();
    assert!(refused.await.unwrap().is_err());
    let error = other.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
}

#[tokio::test]
async fn d2_a_repetition_of_what_is_durable_is_answered_though_something_later_fails() {
    let f = fixture().await;
    let once = command_id(&f, "x");
    f.send_with("a", Command::Add(5), once.clone())
        .await
        .unwrap();
    f.store.faults().hold();
    // Somebody else takes the place that the next command is decided on.
    let foreign = Append::new(f.runtime.new_id(), f.runtime.clock().now()).stream(
        stream("a"),
        Expected::Any,
        vec![event()],
    );
    let foreign = f.store.append(foreign);
    let lost = f.spawn("a", Command::Add(1));
    let again = f.spawn_with("a", Command::Add(5), once);
    settle().await;
    f.store.faults().release();
    foreign.await.unwrap();
    assert!(lost.await.unwrap().is_err());
    assert!(again.await.unwrap().unwrap().duplicate);
}

fn event() -> chronicler_store::NewEvent {
    chronicler_store::codec::encode_event(PayloadCodec::Bincode, &Happened::Added(1)).unwrap()
}

#[tokio::test]
async fn d2_a_repetition_whose_first_sending_is_lost_is_unknown_and_can_be_sent_again() {
    let f = fixture().await;
    let once = command_id(&f, "x");
    f.send("a", Command::Add(1)).await.unwrap();
    f.store.faults().hold();
    f.store.faults().pass_append();
    f.store.faults().fail_append(AppendFault::Overloaded);
    let first = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    let again = f.spawn_with("a", Command::Add(5), once.clone());
    settle().await;
    // This one is refused while the first is under way.
    let refused = f.spawn("a", Command::Add(1));
    settle().await;
    f.store.faults().release();
    assert!(refused.await.unwrap().is_err());
    let first = first.await.unwrap();
    let error = again.await.unwrap();
    if let Err(error) = &error {
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert!(error.is_retryable());
    }
    let receipt = f.send_with("a", Command::Add(5), once).await.unwrap();
    assert_eq!(receipt.duplicate, first.is_ok());
    assert_eq!(f.total("a").await, 6);
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Basket(u64);
#[derive(Serialize, Deserialize)]
struct Fill(HashMap<String, u64>);
#[derive(Serialize, Deserialize)]
struct Filled(u64);
impl Event for Filled {}
impl Aggregate for Basket {
    const CATEGORY: &'static str = "basket";
    type Command = Fill;
    type Event = Filled;
    type Reply = u64;
    type Rejection = chronicler_domain::Never;
    fn decide(&self, command: Fill, _: &Context) -> Decided<Self> {
        let sum = command.0.values().sum();
        Ok(Decision::event(Filled(sum)).reply(sum))
    }
    fn evolve(&mut self, event: &Filled) {
        self.0 += event.0;
    }
}

#[tokio::test]
async fn d4_a_command_with_a_map_is_the_same_when_it_is_sent_again() {
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store))
        .aggregate::<Basket>()
        .build()
        .await
        .unwrap();
    for _ in 0..50 {
        let command_id = CommandId::from_uuid(runtime.new_id()).ok();
        for repeated in [false, true] {
            let fill = Fill((0..9).map(|n| (format!("{n}"), n)).collect());
            let options = SendOptions {
                command_id,
                ..SendOptions::default()
            };
            let sent = runtime
                .send::<Basket>(&Tenant::default(), &id("b"), fill, options)
                .await;
            assert_eq!(sent.unwrap().duplicate, repeated);
        }
    }
}

#[tokio::test]
async fn d4_a_command_that_an_earlier_release_remembered_is_known() {
    let f = fixture().await;
    let command = Command::Add(5);
    let options = command_id(&f, "then");
    let commit_id = options.command_id.unwrap().as_uuid();
    // FNV-1a over the bytes of bincode, as releases before this one kept it.
    let bytes = encode(PayloadCodec::Bincode, &command).unwrap();
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let command_hash = Some(bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix));
    let record = OutcomeRecord {
        result: OutcomeResult::Reply,
        decided_at: None,
        command_hash,
        type_name: "i64".to_owned(),
        schema_version: chronicler_domain::SchemaVersion::FIRST,
        codec: PayloadCodec::Bincode.id(),
        payload: encode(PayloadCodec::Bincode, &5_i64).unwrap(),
    };
    let append = Append::new(commit_id, f.runtime.clock().now())
        .stream(stream("a"), Expected::NoStream, vec![event()])
        .record(SideRecord::Outcome(record));
    f.store.append(append).await.unwrap();
    let again = f
        .send_with("a", Command::Add(5), options.clone())
        .await
        .unwrap();
    assert!(again.duplicate && again.reply == 5);
    let other = f.send_with("a", Command::Add(6), options).await;
    assert!(matches!(
        other,
        Err(SendError::Failed(DispatchError::IdReused { .. }))
    ));
}

#[tokio::test]
async fn d5_a_subscription_that_begins_beyond_the_log_says_so_for_good() {
    let f = with(MemoryStore::new(), RuntimeOptions::default()).await;
    f.send("a", Command::AddTwice(1)).await.unwrap();
    let after = |position| SubscriptionOptions {
        after: GlobalPosition::new(position),
        ..SubscriptionOptions::default()
    };
    let mut beyond = f.runtime.subscribe(after(3));
    let mut at_the_end = f.runtime.subscribe(after(2));
    for _ in 0..3 {
        let refused = beyond.next().await;
        assert!(
            matches!(refused, Err(ReadError::BeyondHead { .. })),
            "{refused:?}"
        );
        f.send("a", Command::AddTwice(1)).await.unwrap();
    }
    assert_eq!(at_the_end.next().await.unwrap().commits.len(), 3);
}

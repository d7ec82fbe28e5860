//! What is done on the log's own thread, which everybody waits for, and what is not.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{AggregateId, Category, Context, StreamId, StreamVersion, Tenant};
use chronicler_runtime::{
    AggregateEntity, Draft, EncodedOutcome, Entity, FoldError, Refusal, RuntimeBuilder,
    RuntimeOptions, SendOptions, SnapshotPolicy,
};
use chronicler_store::codec::{CodecError, CodecId, PayloadCodec};
use chronicler_store::{MemoryStore, OutcomeResult, PartRef, RecordedCommit, SnapshotStore};
use parking_lot::Mutex;

use crate::fixture::{Command, Counter, Negative, settle, stream};

type Seen = Arc<Mutex<Option<ThreadId>>>;

/// The counter. Of the state that it encodes for a snapshot it says on which thread it was let go of: where it was
/// copied.
struct Observed {
    counter: AggregateEntity<Counter>,
    let_go_on: Seen,
}

struct Encoded(Bytes, Seen);

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        *self.1.lock() = Some(std::thread::current().id());
    }
}

impl Entity for Observed {
    type State = Counter;
    type Command = Command;
    type Reply = i64;
    type Rejection = Negative;

    fn category(&self) -> &Category {
        self.counter.category()
    }
    fn initial(&self, stream: &StreamId) -> Counter {
        self.counter.initial(stream)
    }
    fn fold(
        &self,
        state: &mut Counter,
        commit: &RecordedCommit,
        part: &PartRef<'_>,
    ) -> Result<(), FoldError> {
        self.counter.fold(state, commit, part)
    }
    fn decide(
        &self,
        state: &mut Counter,
        command: Command,
        ctx: &Context,
    ) -> Result<Draft<i64>, Refusal<Negative>> {
        self.counter.decide(state, command, ctx)
    }
    fn snapshot_version(&self) -> u32 {
        self.counter.snapshot_version()
    }
    fn snapshot(&self, state: &Counter) -> Result<Bytes, CodecError> {
        let bytes = self.counter.snapshot(state)?;
        let seen = Arc::clone(&self.let_go_on);
        Ok(Bytes::from_owner(Encoded(bytes, seen)))
    }
    fn restore(&self, stream: &StreamId, payload: &[u8]) -> Result<Counter, CodecError> {
        self.counter.restore(stream, payload)
    }
    fn decode_command(&self, codec: CodecId, payload: &[u8]) -> Result<Command, CodecError> {
        self.counter.decode_command(codec, payload)
    }
    fn encode_outcome(
        &self,
        outcome: Result<&i64, &Negative>,
    ) -> Result<EncodedOutcome, CodecError> {
        self.counter.encode_outcome(outcome)
    }
    fn decode_outcome(
        &self,
        result: OutcomeResult,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<Result<i64, Negative>, CodecError> {
        self.counter.decode_outcome(result, codec, payload)
    }
}

#[tokio::test]
async fn t5_a_snapshot_is_not_put_together_on_the_logs_own_thread() {
    let let_go_on = Seen::default();
    let observed = Observed {
        counter: AggregateEntity::new(PayloadCodec::Bincode).unwrap(),
        let_go_on: Arc::clone(&let_go_on),
    };
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(1);
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .options(options)
        .entity(Arc::new(observed))
        .build()
        .await
        .unwrap();
    store.faults().hold();
    let counters = runtime.entity::<Observed>().unwrap();
    let (tenant, id) = (Tenant::default(), AggregateId::new("a").unwrap());
    let sent = counters.send(&tenant, &id, Command::Add(1), SendOptions::default());
    let released = async {
        settle().await;
        let store = store.clone();
        // Whoever releases the store answers what waits, as the writer of a log does.
        let releasing = std::thread::spawn(move || store.faults().release());
        let thread = releasing.thread().id();
        releasing.join().unwrap();
        thread
    };
    let (sent, log_thread) = tokio::join!(sent, released);
    sent.unwrap();
    let saved = || store.load_snapshot(&stream("a"), StreamVersion::MAX);
    let saving = async {
        while saved().await.unwrap().is_none() {
            settle().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), saving)
        .await
        .expect("no snapshot was saved");
    let let_go_on = let_go_on.lock().unwrap();
    assert_ne!(let_go_on, log_thread);
}

//! A command that fails each time it is decided costs nobody a recovery, as long as the state was not touched.

use std::sync::Arc;

use chronicler_domain::{Aggregate, CommandId, Context, Decided, Decision, Event, Tenant};
use chronicler_runtime::{DispatchError, Receipt, RuntimeBuilder, SendError, SendOptions};
use chronicler_store::memory::ReadFault;
use chronicler_store::{EventLog, MemoryStore, Outcome};
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};

use crate::fixture::{id, settle};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Picky(u64);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Do {
    Count,
    PanicInDecide,
    WriteInVain,
    PanicWhenWritten,
    RejectInVain,
}

#[derive(Deserialize)]
struct Done(Kind);

#[derive(Clone, Copy, Deserialize, Serialize)]
enum Kind {
    Plain,
    Unwritable,
    Panicking,
}

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Kind::Plain => to.serialize_newtype_struct("Done", &self.0),
            Kind::Unwritable => Err(S::Error::custom("it cannot be written")),
            Kind::Panicking => panic!("it panics when it is written"),
        }
    }
}

impl Event for Done {}

#[derive(Clone, Debug, Deserialize, thiserror::Error)]
#[error("no")]
struct No;

impl Serialize for No {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("it cannot be written either"))
    }
}

impl Aggregate for Picky {
    const CATEGORY: &'static str = "picky";
    type Command = Do;
    type Event = Done;
    type Reply = u64;
    type Rejection = No;

    fn decide(&self, command: Do, _: &Context) -> Decided<Self> {
        let kind = match command {
            Do::Count => Kind::Plain,
            Do::PanicInDecide => panic!("decide broke"),
            Do::WriteInVain => Kind::Unwritable,
            Do::PanicWhenWritten => Kind::Panicking,
            Do::RejectInVain => return Err(No),
        };
        Ok(Decision::event(Done(kind)).reply(self.0 + 1))
    }

    fn evolve(&mut self, _: &Done) {
        self.0 += 1;
    }
}

#[tokio::test]
async fn y2_a_command_that_fails_each_time_costs_no_recovery() {
    let store = MemoryStore::new();
    let runtime = RuntimeBuilder::new(Arc::new(store.clone()))
        .aggregate::<Picky>()
        .build()
        .await
        .unwrap();
    let send = |command: Do| {
        let (runtime, id) = (runtime.clone(), id("a"));
        let options = SendOptions {
            command_id: CommandId::from_uuid(runtime.new_id()).ok(),
            ..SendOptions::default()
        };
        #[expect(clippy::disallowed_methods, reason = "a test joins what it spawns")]
        tokio::spawn(async move {
            let tenant = Tenant::default();
            runtime.send::<Picky>(&tenant, &id, command, options).await
        })
    };
    let counted = |sent: Result<Receipt<u64>, SendError<No>>| sent.unwrap().reply;
    assert_eq!(counted(send(Do::Count).await.unwrap()), 1);
    // Whoever had to recover now could not.
    store.faults().fail_reads(Some(ReadFault::Hangs));
    let poison = [
        Do::PanicInDecide,
        Do::WriteInVain,
        Do::PanicWhenWritten,
        Do::RejectInVain,
    ];
    for (n, command) in (2..).zip(poison) {
        let head = store.head();
        let error = send(command).await.unwrap().unwrap_err();
        let failed = matches!(
            error,
            SendError::Failed(DispatchError::Panicked { .. } | DispatchError::Codec(_))
        );
        assert!(failed && error.outcome() == Outcome::NotApplied, "{error}");
        assert_eq!(store.head(), head, "{command:?} wrote something");
        let next = send(Do::Count);
        settle().await;
        assert!(next.is_finished(), "{command:?} costs a recovery");
        assert_eq!(counted(next.await.unwrap()), n);
    }
}

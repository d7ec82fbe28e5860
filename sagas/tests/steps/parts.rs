//! Who takes part: aggregates that do, refuse and undo what they are told to, and a service that can be silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never};
use chronicler_sagas::{CallResult, ExternalService};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

/// One who takes part: does what it is told, unless it was told to refuse that.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    refuses: Vec<String>,
    pub(crate) done: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum PartCommand {
    Do(String),
    Refuse(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum PartEvent {
    Did(String),
    Refuses(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{0} is refused")]
pub(crate) struct Refused(pub(crate) String);

impl Event for PartEvent {}

impl Aggregate for Part {
    const CATEGORY: &'static str = "part";
    type Command = PartCommand;
    type Event = PartEvent;
    /// How much it has done by now.
    type Reply = u64;
    type Rejection = Refused;

    fn decide(&self, command: PartCommand, _: &Context) -> Decided<Self> {
        match command {
            PartCommand::Do(what) if self.refuses.contains(&what) => Err(Refused(what)),
            PartCommand::Do(what) => {
                Ok(Decision::event(PartEvent::Did(what)).reply(self.done.len() as u64 + 1))
            }
            PartCommand::Refuse(what) => Ok(Decision::event(PartEvent::Refuses(what)).reply(0)),
        }
    }

    fn evolve(&mut self, event: &PartEvent) {
        match event {
            PartEvent::Did(what) => self.done.push(what.clone()),
            PartEvent::Refuses(what) => self.refuses.clone_from(what),
        }
    }
}

/// One who never refuses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Willing;

impl Aggregate for Willing {
    const CATEGORY: &'static str = "willing";
    type Command = String;
    type Event = PartEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: String, _: &Context) -> Decided<Self> {
        Ok(PartEvent::Did(command).into())
    }

    fn evolve(&mut self, _: &PartEvent) {}
}

/// A service that answers as it is told to, and acts once for each key.
#[derive(Clone, Default)]
pub(crate) struct Service(pub(crate) Arc<Mutex<Behaviour>>);

#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) refuses: Vec<String>,
    pub(crate) loses: Vec<String>,
    /// How often the reply is lost before one arrives.
    pub(crate) loses_first: BTreeMap<String, u32>,
    /// Calls whose answer is held back until this is told.
    pub(crate) holds: BTreeMap<String, Arc<Notify>>,
    /// Calls that arrived, in order.
    pub(crate) calls: Vec<String>,
    done: BTreeMap<Uuid, String>,
}

impl Behaviour {
    /// What took effect, each key once.
    pub(crate) fn effects(&self) -> Vec<String> {
        let mut effects: Vec<_> = self.done.values().cloned().collect();
        effects.sort();
        effects
    }
}

impl ExternalService for Service {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let what: String = chronicler_store::codec::decode(
            chronicler_store::codec::PayloadCodec::default().id(),
            &request,
        )
        .unwrap();
        let mut inner = self.0.lock();
        inner.calls.push(what.clone());
        let result = if inner.refuses.contains(&what) {
            CallResult::rejected(&format!("{what} is refused"))
        } else {
            inner.done.insert(key, what.clone());
            let left = inner.loses_first.get_mut(&what).filter(|left| **left > 0);
            let is_lost = left.map(|left| *left -= 1).is_some();
            if is_lost || inner.loses.contains(&what) {
                CallResult::Unknown("the reply was lost".to_owned())
            } else {
                CallResult::done(&what.len())
            }
        };
        let held = inner.holds.get(&what).cloned();
        async move {
            if let Some(held) = held {
                held.notified().await;
            }
            result
        }
        .boxed()
    }
}

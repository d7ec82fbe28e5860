//! A saga that has a clerk do three things, and a clerk who does not always do them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chronicler_domain::Event;
use chronicler_sagas::{
    CallResult, ExternalService, Input, Next, Route, Routes, Saga, SagaContext,
};
use chronicler_store::codec::{CodecId, decode};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::shop::{Order, OrderEvent};

/// Has a clerk do `a`, `b` and `c`, one after the other.
pub(crate) struct Errand;

#[derive(Serialize, Deserialize)]
pub(crate) struct Nothing;

impl Event for Nothing {}

pub(crate) const NODES: [&str; 3] = ["a", "b", "c"];

fn ask(node: &str) -> Next<Errand> {
    let undo = (format!("undo {node}"), format!("undo {node} if done"));
    Next::stay()
        .call(node, "clerk", &node)
        .undo_call("clerk", &undo.0, &undo.1)
}

impl Saga for Errand {
    const NAME: &'static str = "errand";
    type State = ();
    type Event = Nothing;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => ask("a"),
            Input::Answer(outcome) if !outcome.is_done() => Next::stay().compensate(outcome.key()),
            Input::Answer(outcome) => match outcome.key() {
                "a" => ask("b"),
                "b" => ask("c"),
                _ => Next::stay().complete(),
            },
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Nothing) {}
}

/// How one call goes that does not just go well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Refuses,
    /// Nothing is done, and nobody knows.
    Fails,
    /// It is done, and nobody knows.
    LosesReply,
    Panics,
}

/// Does what it is asked once per key, in the ways that are planned for it.
#[derive(Clone, Default)]
pub(crate) struct Clerk(pub(crate) Arc<Mutex<Desk>>);

#[derive(Default)]
pub(crate) struct Desk {
    ways: BTreeMap<String, VecDeque<Way>>,
    /// Everything it was asked, and under which key.
    pub(crate) calls: Vec<(String, Uuid)>,
    done: BTreeSet<Uuid>,
    /// What took effect, in order.
    took: Vec<String>,
}

impl Clerk {
    pub(crate) fn plan(&self, request: &str, way: Way, times: usize) {
        let mut desk = self.0.lock();
        let ways = desk.ways.entry(request.to_owned()).or_default();
        ways.extend(vec![way; times]);
    }

    pub(crate) fn calls(&self, request: &str) -> usize {
        let desk = self.0.lock();
        desk.calls
            .iter()
            .filter(|(text, _)| text == request)
            .count()
    }

    pub(crate) fn took(&self) -> Vec<String> {
        self.0.lock().took.clone()
    }
}

impl ExternalService for Clerk {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let request: String = decode(CodecId::BINCODE, &request).unwrap();
        let mut desk = self.0.lock();
        desk.calls.push((request.clone(), key));
        let ways = desk.ways.get_mut(&request);
        let way = ways.and_then(VecDeque::pop_front);
        assert!(way != Some(Way::Panics), "the clerk falls down");
        if matches!(way, None | Some(Way::LosesReply)) && desk.done.insert(key) {
            desk.took.push(request);
        }
        let result = match way {
            None => CallResult::done(&()),
            Some(Way::Refuses) => CallResult::rejected(&"no"),
            Some(_) => CallResult::Unknown("nobody knows".to_owned()),
        };
        ready(result).boxed()
    }
}

//! Outcomes that are hard to take in: reasons without end, panics beside the decision, what fails during a pause, and
//! answers that wait while their instance continues as new.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{Event, Tenant};
use chronicler_runtime::{ManualClock, RuntimeBuilder, StopOptions};
use chronicler_sagas::{
    Answer, CallResult, EffectState, ExternalService, Input, Next, Route, Routes, Saga,
    SagaContext, SagaOptions, SagaStatus, SagaVerb, SagaView, SagasBuilder, StartFrom,
};
use chronicler_store::MemoryStore;
use chronicler_store::codec::{CodecId, decode};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::fixture::{Fixture, id, impatient, settle};
use crate::shop::{Gateway, Order, OrderCommand, OrderEvent};

/// A service that answers when it is told to, and what it is told.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    calls: Vec<String>,
    waiting: VecDeque<oneshot::Sender<CallResult>>,
}

impl Counter {
    /// Answers the call that waits longest.
    pub(crate) async fn answers(&self, result: CallResult) {
        let first = self.0.lock().waiting.pop_front();
        drop(first.unwrap().send(result));
        settle().await;
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.lock().calls.clone()
    }
}

impl ExternalService for Counter {
    fn call(&self, _: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.0.lock();
        queue
            .calls
            .push(decode(CodecId::BINCODE, &request).unwrap());
        queue.waiting.push_back(answer);
        answered.map(Result::unwrap).boxed()
    }
}

thread_local! {
    /// What panics in this release; each test has a thread of its own.
    static PANICS: Cell<Option<Panics>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Panics {
    /// When the state is copied.
    Clone,
    /// When what was decided is written.
    Serialize,
    /// When what was decided is dropped.
    Drop,
}

fn broken(when: Panics) {
    assert!(PANICS.get() != Some(when), "{when:?} broke");
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Heard(pub(crate) Vec<String>);

impl Clone for Heard {
    fn clone(&self) -> Self {
        broken(Panics::Clone);
        Self(self.0.clone())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Noted {
    Heard(What),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct What(String);

impl What {
    fn is_new(&self) -> bool {
        self.0 != "begun"
    }
}

impl Serialize for What {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_new() {
            broken(Panics::Serialize);
        }
        serializer.serialize_newtype_struct("What", &self.0)
    }
}

impl Drop for What {
    fn drop(&mut self) {
        if self.is_new() && !std::thread::panicking() {
            broken(Panics::Drop);
        }
    }
}

impl Event for Noted {}

/// Has something carried. What it does more is told by the first word of its id.
pub(crate) struct Porter;

impl Saga for Porter {
    const NAME: &'static str = "porter";
    type State = Heard;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, Heard(heard): &Heard, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let hear = |what: &str| Noted::Heard(What(what.to_owned()));
        let call = |next: Next<Self>, key: &str| {
            let undo = format!("not {key}");
            next.call(key, "counter", &key)
                .undo_call("counter", &undo, &undo)
        };
        let begin = || call(Next::stay().record(hear("begun")), "carry");
        let word = ctx.id.split('-').next().unwrap_or_default();
        match (word, input) {
            ("pair", Input::Event(_)) if heard.is_empty() => call(begin(), "sign"),
            ("room", Input::Event(_)) if heard.is_empty() => begin().at_most(1, "room"),
            (_, Input::Event(_)) if heard.is_empty() => {
                begin().timer("late", Duration::from_secs(20))
            }
            ("anew", Input::Event(_)) => Next::stay().continue_as_new(hear("anew")),
            (_, Input::Event(_)) => Next::stay().record(hear("event")),
            (_, Input::Cancelled { .. }) => Next::stay().record(hear("cancelled")),
            (_, Input::Timer(_)) => Next::stay().record(hear("timer")),
            (_, Input::Answer(answer)) => {
                let what = match answer.answer() {
                    Answer::Done(_) => "done",
                    Answer::Rejected(_) => "rejected",
                    Answer::Unknown(_) => "unknown",
                };
                Next::stay().record(hear(&format!("{what} {}", answer.key())))
            }
            _ => Next::stay(),
        }
    }

    fn evolve(Heard(heard): &mut Heard, Noted::Heard(what): &Noted) {
        heard.push(what.0.clone());
    }
}

pub(crate) async fn porter() -> (Fixture, Counter) {
    porter_with(impatient()).await
}

pub(crate) async fn porter_with(options: SagaOptions) -> (Fixture, Counter) {
    over(MemoryStore::new(), ManualClock::default(), options).await
}

async fn over(store: MemoryStore, clock: ManualClock, options: SagaOptions) -> (Fixture, Counter) {
    let counter = Counter::default();
    let sagas = SagasBuilder::default()
        .options(options)
        .saga(Porter, StartFrom::Now)
        .service("counter", Arc::new(counter.clone()));
    let builder = RuntimeBuilder::new(Arc::new(store.clone()))
        .clock(Arc::new(clock.clone()))
        .aggregate::<Order>();
    let runtime = sagas.register(builder).build().await.unwrap();
    let sagas = sagas.start(&runtime).await.unwrap();
    let gateway = Gateway::default();
    let fixture = Fixture {
        store,
        clock,
        gateway,
        runtime,
        sagas,
    };
    (fixture, counter)
}

pub(crate) async fn touch(f: &Fixture, name: &str) {
    f.order(name, OrderCommand::Touch).await;
}

pub(crate) async fn view(f: &Fixture, name: &str) -> SagaView<Porter> {
    let handle = f.sagas.saga::<Porter>().unwrap();
    handle.get(&Tenant::default(), &id(name)).await.unwrap()
}

pub(crate) async fn operate(f: &Fixture, name: &str, verb: SagaVerb) -> Result<SagaStatus, String> {
    let handle = f.sagas.saga::<Porter>().unwrap();
    let done = handle
        .operate(&Tenant::default(), &id(name), verb.by("ann", "looked"))
        .await;
    settle().await;
    done.map_err(|error| error.to_string())
}

pub(crate) fn carry() -> String {
    "carry".to_owned()
}

pub(crate) fn unknown() -> CallResult {
    CallResult::Unknown("nobody knows".to_owned())
}

#[tokio::test]
async fn m61_a_failure_whose_reason_has_no_end_is_seen_and_tried_again() {
    let long = "x".repeat(17 << 20);
    let results: [fn(String) -> CallResult; 2] = [CallResult::Unavailable, CallResult::Unknown];
    for (result, is_unknown) in results.into_iter().zip([false, true]) {
        let (f, counter) = porter().await;
        touch(&f, "call-a").await;
        for attempt in 1..=2 {
            assert_eq!(counter.calls().len(), attempt as usize);
            counter.answers(result(long.clone())).await;
            let status = view(&f, "call-a").await.status;
            assert!(
                matches!(status, SagaStatus::Retrying { attempt: failed, .. } if failed == attempt),
                "{status:?}"
            );
            f.advance(10).await;
        }
        counter.answers(result(long.clone())).await;
        let goes_on = view(&f, "call-a").await;
        let is_retrying = matches!(goes_on.status, SagaStatus::Retrying { .. });
        assert_ne!(is_retrying, is_unknown, "{:?}", goes_on.status);
        // The third was the last that asked, and nobody knew.
        let told = goes_on.state.0.iter().any(|what| what == "unknown carry");
        assert_eq!(told, is_unknown);
    }
}

#[tokio::test]
async fn m86_a_panic_beside_the_decision_quarantines_its_instance_alone_whatever_the_input_is() {
    for panics in [Panics::Clone, Panics::Serialize, Panics::Drop] {
        for what in ["event", "done carry", "timer"] {
            let (f, counter) = porter().await;
            touch(&f, "call-a").await;
            PANICS.set(Some(panics));
            match what {
                "event" => touch(&f, "call-a").await,
                "timer" => f.advance(21).await,
                _ => counter.answers(CallResult::done(&())).await,
            }
            // What is looked at is copied, too.
            PANICS.set(None);
            let stands = view(&f, "call-a").await;
            let SagaStatus::Quarantined { reason } = &stands.status else {
                panic!("{panics:?} {what}: {:?}", stands.status)
            };
            assert!(reason.contains("broke"), "{reason}");
            assert_eq!((stands.state.0.len(), stands.stalled), (1, 1), "{what}");
            operate(&f, "call-a", SagaVerb::Release).await.unwrap();
            assert_eq!(view(&f, "call-a").await.state.0, ["begun", what]);
        }
    }
}

#[tokio::test]
async fn m76_an_instance_that_panics_when_it_is_told_can_be_cancelled_all_the_same() {
    let (f, counter) = porter().await;
    touch(&f, "call-a").await;
    counter.answers(CallResult::done(&())).await;
    PANICS.set(Some(Panics::Clone));
    operate(&f, "call-a", SagaVerb::Cancel).await.unwrap();
    PANICS.set(None);
    let status = view(&f, "call-a").await.status;
    assert!(
        matches!(status, SagaStatus::Compensating { .. }),
        "{status:?}"
    );
    assert_eq!(counter.calls(), ["carry", "not carry"]);
}

#[tokio::test]
async fn m27_what_fails_while_it_is_paused_can_be_skipped_or_settled_however_late() {
    let verbs = [
        SagaVerb::Skip {
            key: carry(),
            output: "null".to_owned(),
        },
        SagaVerb::Settle {
            key: carry(),
            outcome: Answer::Done("null".to_owned()),
        },
    ];
    for verb in verbs {
        let (f, counter) = porter().await;
        touch(&f, "call-a").await;
        operate(&f, "call-a", SagaVerb::Pause).await.unwrap();
        counter.answers(unknown()).await;
        f.advance(3_600).await;
        operate(&f, "call-a", verb.clone()).await.unwrap();
        // One that waited for room, and was not begun.
        touch(&f, "room-a").await;
        touch(&f, "room-b").await;
        operate(&f, "room-b", SagaVerb::Pause).await.unwrap();
        let refused = operate(&f, "room-a", verb.clone()).await.unwrap_err();
        assert!(!refused.is_empty(), "it is under way");
        counter.answers(CallResult::done(&())).await;
        f.advance(3_600).await;
        operate(&f, "room-b", verb).await.unwrap();
        assert_eq!(counter.calls().len(), 2);
    }
}

#[tokio::test]
async fn m27_what_was_under_way_when_its_process_ended_can_be_skipped_or_settled_while_it_is_paused()
 {
    for verb in [
        SagaVerb::Skip {
            key: carry(),
            output: "null".to_owned(),
        },
        SagaVerb::Settle {
            key: carry(),
            outcome: Answer::Done("null".to_owned()),
        },
    ] {
        let (f, _) = porter().await;
        touch(&f, "call-a").await;
        operate(&f, "call-a", SagaVerb::Pause).await.unwrap();
        operate(&f, "call-a", verb.clone()).await.unwrap_err();
        f.sagas.stop().await;
        f.runtime.stop(StopOptions::default()).await;
        let (f, counter) = over(f.store, f.clock, impatient()).await;
        settle().await;
        operate(&f, "call-a", verb).await.unwrap();
        operate(&f, "call-a", SagaVerb::Resume).await.unwrap();
        assert_eq!(view(&f, "call-a").await.state.0, ["begun", "done carry"]);
        assert_eq!(counter.calls().len(), 0, "it is not made again");
    }
}

#[tokio::test]
async fn m27_what_failed_while_it_was_paused_is_tried_again_when_it_is_resumed() {
    let (f, counter) = porter().await;
    touch(&f, "call-a").await;
    touch(&f, "room-a").await;
    touch(&f, "room-b").await;
    for name in ["call-a", "room-b"] {
        operate(&f, name, SagaVerb::Pause).await.unwrap();
    }
    counter.answers(unknown()).await;
    counter.answers(CallResult::done(&())).await;
    f.advance(3_600).await;
    assert_eq!(counter.calls().len(), 2);
    for name in ["call-a", "room-b"] {
        operate(&f, name, SagaVerb::Resume).await.unwrap();
    }
    assert_eq!(counter.calls().len(), 4);
    for _ in 0..2 {
        counter.answers(CallResult::done(&())).await;
    }
    for name in ["call-a", "room-b"] {
        let heard = view(&f, name).await.state.0;
        assert_eq!(heard.last().unwrap(), "done carry", "{name}");
    }
}

#[tokio::test]
async fn m77_what_may_have_been_done_beside_it_is_not_done_twice_by_a_fork() {
    let (f, counter) = porter().await;
    let fork = |before: &str| SagaVerb::Fork {
        before: before.to_owned(),
        id: "other".to_owned(),
    };
    // Ended while both are sent.
    touch(&f, "pair-a").await;
    operate(&f, "pair-a", SagaVerb::Terminate).await.unwrap();
    for (before, other) in [("sign", "carry"), ("carry", "sign")] {
        let refused = operate(&f, "pair-a", fork(before)).await.unwrap_err();
        let words = format!("{other:?} was under way beside it");
        assert!(refused.contains(&words), "{refused}");
    }
    assert_eq!(counter.calls().len(), 2);
    // What is asked for is sent again: alone it is what the person wants.
    touch(&f, "call-a").await;
    operate(&f, "call-a", SagaVerb::Terminate).await.unwrap();
    operate(&f, "call-a", fork("carry")).await.unwrap();
    assert_eq!(counter.calls().len(), 4);
}

#[tokio::test]
async fn e5_an_answer_that_waits_while_it_continues_as_new_comes_under_its_key_with_its_undo() {
    let (f, counter) = porter().await;
    touch(&f, "anew").await;
    operate(&f, "anew", SagaVerb::Pause).await.unwrap();
    touch(&f, "anew").await;
    counter.answers(CallResult::done(&())).await;
    assert_eq!(view(&f, "anew").await.stalled, 2);
    operate(&f, "anew", SagaVerb::Resume).await.unwrap();
    let goes_on = view(&f, "anew").await;
    assert_eq!(goes_on.state.0, ["anew", "done carry"]);
    assert_eq!(goes_on.effects.len(), 1);
    assert_eq!(goes_on.effects[0].state, EffectState::Done);
    operate(&f, "anew", SagaVerb::Cancel).await.unwrap();
    assert_eq!(counter.calls(), ["carry", "not carry"]);
}

#[tokio::test]
async fn m27_what_waited_for_a_place_is_not_made_any_more_once_it_is_terminated_or_paused() {
    let mut options = impatient();
    options.under_way_max = 1;
    let (f, counter) = porter_with(options).await;
    for name in ["call-a", "call-b", "call-c", "call-d"] {
        touch(&f, name).await;
    }
    operate(&f, "call-b", SagaVerb::Terminate).await.unwrap();
    operate(&f, "call-c", SagaVerb::Pause).await.unwrap();
    counter.answers(CallResult::done(&())).await;
    assert_eq!(counter.calls().len(), 2, "that of `call-d` is made");
    counter.answers(CallResult::done(&())).await;
    assert_eq!(view(&f, "call-d").await.state.0, ["begun", "done carry"]);
    operate(&f, "call-c", SagaVerb::Resume).await.unwrap();
    counter.answers(CallResult::done(&())).await;
    assert_eq!(view(&f, "call-c").await.state.0, ["begun", "done carry"]);
    assert_eq!(counter.calls().len(), 3);
}

#[tokio::test]
async fn m84_a_migration_that_is_refused_says_what_keeps_it_and_what_helps() {
    let (f, counter) = porter().await;
    touch(&f, "call-a").await;
    let refused = operate(&f, "call-a", SagaVerb::Migrate).await.unwrap_err();
    assert!(refused.contains("under way"), "{refused}");
    PANICS.set(Some(Panics::Serialize));
    counter.answers(CallResult::done(&())).await;
    PANICS.set(None);
    let refused = operate(&f, "call-a", SagaVerb::Migrate).await.unwrap_err();
    assert!(!refused.contains("under way"), "nothing is: {refused}");
    assert!(refused.contains("\"carry\" waits"), "{refused}");
    assert!(refused.contains("release"), "{refused}");
    operate(&f, "call-a", SagaVerb::Release).await.unwrap();
    operate(&f, "call-a", SagaVerb::Migrate).await.unwrap();
    // Paused, what is left can be said by a person.
    touch(&f, "call-b").await;
    operate(&f, "call-b", SagaVerb::Pause).await.unwrap();
    counter.answers(unknown()).await;
    let skip = SagaVerb::Skip {
        key: carry(),
        output: "null".to_owned(),
    };
    operate(&f, "call-b", skip).await.unwrap();
    operate(&f, "call-b", SagaVerb::Resume).await.unwrap();
    operate(&f, "call-b", SagaVerb::Migrate).await.unwrap();
}

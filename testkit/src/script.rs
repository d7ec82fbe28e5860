//! A script for one saga: what it is given, what it then wants, how that is answered, and how it ends. No runtime, no
//! store, no time but the one you let pass.

use std::time::Duration;

use chronicler_domain::{Aggregate, Event, Timestamp};
use chronicler_sagas::{Ending, PendingEffect, Request, Saga, SagaStatus, SagaVerb, Scripted};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use serde::Serialize;

use crate::reply::{Answered, Reply, ok};

/// Begins a script: of an instance `saga`, at 2023-11-14T22:13:20Z.
///
/// After each input the instance is recovered from what it wrote, as after a crash, and the input is repeated, as after
/// a lost acknowledgement. Neither may make a difference, or the script fails.
///
/// ```
/// # use chronicler_domain::{Aggregate, Context, Decided, Event, Never};
/// # use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
/// # use chronicler_sagas::{Input, Route, Routes, step_keys};
/// # use chronicler_testkit::{Durations, ok, reject, script};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Default, Serialize, Deserialize)]
/// # struct Shelf;
/// # #[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
/// # #[error("empty")]
/// # struct Empty;
/// # #[derive(Serialize, Deserialize)]
/// # enum ShelfCommand { Take, PutBack, Send }
/// # #[derive(Serialize, Deserialize)]
/// # struct Changed;
/// # impl Event for Changed {}
/// # impl Aggregate for Shelf {
/// #     const CATEGORY: &'static str = "shelf";
/// #     type Command = ShelfCommand;
/// #     type Event = Changed;
/// #     type Reply = ();
/// #     type Rejection = Empty;
/// #     fn decide(&self, _: ShelfCommand, _: &Context) -> Decided<Self> { Ok(Changed.into()) }
/// #     fn evolve(&mut self, _: &Changed) {}
/// # }
/// # step_keys! { Taken = "take" -> (); Paid = "paid" -> (); Sent = "send" -> (); }
/// # struct Sale;
/// # impl StepSaga for Sale {
/// #     const NAME: &'static str = "sale";
/// #     type Start = ();
/// #     fn routes(on: &mut Routes<Steps<Self>>) { on.event::<Shelf>(|_, info| Route::start(&info.id)); }
/// #     fn begin(_: &Input) -> Option<()> { Some(()) }
/// #     fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
/// #         steps
/// #             .step(Taken, |_| to::<Shelf>("pens", ShelfCommand::Take), |_, _| to::<Shelf>("pens", ShelfCommand::PutBack))
/// #             .wait_for(Paid)
/// #             .within(15.minutes())
/// #             .pivot(Sent, |_| to::<Shelf>("pens", ShelfCommand::Send))
/// #             .build()
/// #     }
/// # }
/// script(Steps::<Sale>::of())
///     .given(Changed)
///     .expect::<Shelf>("pens", ShelfCommand::Take)
///     .reply(ok(&()))
///     .advance(15.minutes())
///     .expect_compensated(["take"]);
/// ```
pub fn script<S: Saga>(saga: S) -> Script<S> {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Script {
        instance: Scripted::new(saga, "saga", now),
        is_left: false,
    }
}

/// The same for an instance of this id.
pub fn script_of<S: Saga>(saga: S, id: &str) -> Script<S> {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Script {
        instance: Scripted::new(saga, id, now),
        is_left: false,
    }
}

/// A script, as far as it was played.
///
/// # Panics
/// When it ends, and something is wanted that nobody answered: say so with [`leave`](Self::leave).
pub struct Script<S: Saga> {
    instance: Scripted<S>,
    is_left: bool,
}

impl<S: Saga> Drop for Script<S> {
    fn drop(&mut self) {
        if self.is_left || std::thread::panicking() {
            return;
        }
        let wanted = self.instance.wanted();
        assert!(
            wanted.is_empty(),
            "the script ends, and {} still wants {}: answer it, or say `leave`",
            S::NAME,
            in_words(&wanted)
        );
    }
}

/// What is wanted, as people read it.
fn in_words(wanted: &[PendingEffect]) -> String {
    let one = |wanted: &PendingEffect| match &wanted.request {
        Request::Command { category, id, .. } => {
            format!("{:?}: a command to {category}/{id}", wanted.key)
        }
        Request::Call { service, .. } => format!("{:?}: a call of {service}", wanted.key),
        request => format!("{:?}: {request:?}", wanted.key),
    };
    let all: Vec<_> = wanted.iter().map(one).collect();
    match all.is_empty() {
        true => "nothing".to_owned(),
        false => all.join(", "),
    }
}

/// The same, with the commands to one type of aggregate as JSON.
fn with_commands<A: Aggregate>(wanted: &[PendingEffect]) -> String {
    let said = wanted.iter().filter_map(|wanted| match &wanted.request {
        Request::Command {
            category,
            id,
            codec,
            command,
        } if category == A::CATEGORY => {
            let codec = CodecId::new(*codec);
            let command: A::Command = decode(codec, command).ok()?;
            let command = encode(PayloadCodec::Json, &command).ok()?;
            let command = String::from_utf8_lossy(&command).into_owned();
            Some(format!("{:?}: {command} to {category}/{id}", wanted.key))
        }
        _ => None,
    });
    let said: Vec<_> = said.collect();
    match said.is_empty() {
        true => in_words(wanted),
        false => format!("{}; in all {}", said.join(", "), in_words(wanted)),
    }
}

/// Something that the saga wants, and that is to be answered.
#[must_use = "answer it with `reply`"]
pub struct Expected<S: Saga> {
    script: Script<S>,
    wanted: PendingEffect,
}

impl<S: Saga> Script<S> {
    #[track_caller]
    fn then(mut self, play: impl FnOnce(&mut Scripted<S>) -> Result<(), String>) -> Self {
        if let Err(reason) = play(&mut self.instance) {
            panic!("{}: {reason}", S::NAME);
        }
        self
    }

    /// An event happens to the aggregate whose id is the instance's own, and its routes bring it.
    ///
    /// # Panics
    /// When its routes do not bring the event to this instance; or when, repeated or recovered from, it makes a difference.
    #[track_caller]
    pub fn given<E: Event>(self, event: E) -> Self {
        let id = self.instance.id().to_owned();
        self.given_from(&id, event)
    }

    /// An event happens to the aggregate of this id, and its routes bring it.
    ///
    /// # Panics
    /// As [`given`](Self::given).
    #[track_caller]
    pub fn given_from<E: Event>(self, id: &str, event: E) -> Self {
        self.then(|instance| instance.event(id, event))
    }

    /// Ends the script although something is wanted that nobody answered.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// Somebody says this.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn signal(self, name: &str, json: &str) -> Self {
        let (name, payload) = (name.to_owned(), json.to_owned());
        self.operate(SagaVerb::Signal { name, payload })
    }

    /// Somebody cancels it.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn cancel(self) -> Self {
        self.operate(SagaVerb::Cancel)
    }

    /// An operator has something done.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn operate(self, verb: SagaVerb) -> Self {
        self.then(|instance| instance.operate(verb.by("the script", "it says so")))
    }

    /// An operator wants something done, and is refused in these words, among others. Nothing changes.
    ///
    /// # Panics
    /// When it is done, or refused in other words.
    #[track_caller]
    pub fn expect_refused(mut self, verb: SagaVerb, words: &str) -> Self {
        let name = verb.name();
        match self.instance.operate(verb.by("the script", "it says so")) {
            Ok(()) => panic!("{}: {name} was not refused", S::NAME),
            Err(reason) => assert!(
                reason.contains(words),
                "{}: {name} was refused, but not in the words {words:?}: {reason}",
                S::NAME
            ),
        }
        self
    }

    /// Time passes; the timers that come due fire in order.
    ///
    /// # Panics
    /// As [`given`](Self::given).
    #[track_caller]
    pub fn advance(self, time: Duration) -> Self {
        self.then(|instance| instance.advance(time))
    }

    /// It wants this command sent now, or as an undo; whatever else it wants.
    ///
    /// # Panics
    /// When it does not, with what it wants.
    #[track_caller]
    pub fn expect<A: Aggregate>(self, id: &str, command: A::Command) -> Expected<S> {
        let codec = PayloadCodec::ByName;
        let encoded = match encode(codec, &command) {
            Ok(encoded) => encoded.to_vec(),
            Err(error) => panic!("the command cannot be encoded: {error}"),
        };
        let request = Request::Command {
            category: A::CATEGORY.to_owned(),
            id: id.to_owned(),
            codec: codec.id().number(),
            command: encoded,
        };
        self.expect_request(&request, with_commands::<A>, || {
            let json = encode(PayloadCodec::Json, &command).unwrap_or_default();
            let json = String::from_utf8_lossy(&json).into_owned();
            format!("{json} to {}/{id}", A::CATEGORY)
        })
    }

    /// It wants this call made now, or as an undo; whatever else it wants.
    ///
    /// # Panics
    /// When it does not, with what it wants.
    #[track_caller]
    pub fn expect_call<T: Serialize>(self, service: &str, request: &T) -> Expected<S> {
        let request = match encode(PayloadCodec::default(), request) {
            Ok(request) => request.to_vec(),
            Err(error) => panic!("the request cannot be encoded: {error}"),
        };
        let bytes = request.len();
        let request = Request::Call {
            service: service.to_owned(),
            request,
        };
        self.expect_request(&request, in_words, || {
            format!("a call of {service} with just this request of {bytes} bytes")
        })
    }

    #[track_caller]
    fn expect_request(
        self,
        request: &Request,
        in_words: impl FnOnce(&[PendingEffect]) -> String,
        expected: impl FnOnce() -> String,
    ) -> Expected<S> {
        let wanted = self.instance.wanted();
        let found = wanted.iter().find(|wanted| wanted.request == *request);
        match found.cloned() {
            Some(wanted) => Expected {
                script: self,
                wanted,
            },
            None => panic!(
                "{} does not want {}. It is {:?}, and wants {}",
                S::NAME,
                expected(),
                self.instance.status(),
                in_words(&wanted)
            ),
        }
    }

    /// It wants nothing done now.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn expect_nothing(self) -> Self {
        let wanted = self.instance.wanted();
        assert!(wanted.is_empty(), "{} wants {}", S::NAME, in_words(&wanted));
        self
    }

    /// It has done what it was for.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect_completed(self) -> Self {
        let how = Ending::Completed;
        self.expect_status(&SagaStatus::Ended { how })
    }

    /// It is there.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_status(self, expected: &SagaStatus) -> Self {
        let status = self.instance.status();
        assert!(
            status == *expected,
            "{} is {status:?}, not {expected:?}; it wrote {:?}",
            S::NAME,
            self.instance.written()
        );
        self
    }

    /// It is being undone. Every undo is answered as done, and whatever it sends last; then it is over, and has undone
    /// the effects of these keys, in this order.
    ///
    /// # Panics
    /// When it has undone others, or ends otherwise, or never.
    #[track_caller]
    pub fn expect_compensated<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        for _ in 0..1_000_000 {
            let Some(wanted) = self.instance.wanted().into_iter().next() else {
                break;
            };
            self = Expected {
                script: self,
                wanted,
            }
            .reply(ok(&()));
        }
        let (status, keys) = (self.instance.status(), keys.into_iter().collect::<Vec<_>>());
        let is_compensated = matches!(
            status,
            SagaStatus::Ended {
                how: Ending::Compensated { .. }
            }
        );
        assert!(
            is_compensated,
            "{} is {status:?}, not compensated; it wrote {:?}",
            S::NAME,
            self.instance.written()
        );
        assert_eq!(self.instance.undone(), keys, "{} has undone", S::NAME);
        self
    }

    /// What it knows.
    pub fn state(&self) -> &S::State {
        self.instance.state()
    }

    /// Where it is.
    pub fn status(&self) -> SagaStatus {
        self.instance.status()
    }
}

impl<S: Saga> Expected<S> {
    /// It is answered so.
    ///
    /// # Panics
    /// As [`Script::given`].
    #[track_caller]
    pub fn reply(self, reply: Reply) -> Script<S> {
        let Self { script, wanted } = self;
        script.then(|instance| match reply.0 {
            Answered::Answer(answer) => instance.answer(&wanted, answer),
            Answered::Lost => instance.lose(&wanted),
            Answered::Wrong(error) => Err(format!("the reply cannot be encoded: {error}")),
        })
    }

    /// The key of the effect.
    pub fn key(&self) -> &str {
        &self.wanted.key
    }
}

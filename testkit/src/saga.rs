//! given / when / then for one saga: no runtime, no store, no time but the one you name.

use std::fmt::Debug;

use chronicler_domain::{Aggregate, Tenant, Timestamp};
use chronicler_sagas::{Answer, EffectAnswer, Input, Next, Payload, Saga, SagaContext};
use chronicler_store::codec::{CodecError, PayloadCodec, encode};
use serde::Serialize;

/// Starts a test of a saga with what it remembers. The decision that is expected is written in the language of the
/// saga itself.
///
/// ```
/// use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never};
/// use chronicler_sagas::{Input, Next, Route, Routes, Saga, SagaContext};
/// use chronicler_testkit::{done, given_saga};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Bell;
/// #[derive(Serialize, Deserialize)]
/// struct Ring;
/// #[derive(Serialize, Deserialize)]
/// struct Rang;
/// impl Event for Rang {}
/// impl Aggregate for Bell {
///     const CATEGORY: &'static str = "bell";
///     type Command = Ring;
///     type Event = Rang;
///     type Reply = ();
///     type Rejection = Never;
///     fn decide(&self, _: Ring, _: &Context) -> Decided<Self> { Ok(Rang.into()) }
///     fn evolve(&mut self, _: &Rang) {}
/// }
///
/// /// Answers every ring of a bell with another bell, once.
/// struct Echo;
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct Heard;
/// impl Event for Heard {}
/// impl Saga for Echo {
///     const NAME: &'static str = "echo";
///     type State = bool;
///     type Event = Heard;
///     fn routes(on: &mut Routes<Self>) {
///         on.event::<Bell>(|_, info| Route::start(&info.id));
///     }
///     fn on(&self, heard: &bool, input: &Input, _: &SagaContext) -> Next<Self> {
///         match input {
///             Input::Event(_) if !heard => Next::stay().record(Heard).send::<Bell>("echo", "far", Ring),
///             Input::Answer(_) => Next::stay().complete(),
///             _ => Next::stay(),
///         }
///     }
///     fn evolve(heard: &mut bool, _: &Heard) { *heard = true; }
/// }
///
/// given_saga(Echo)
///     .when(Input::of_event(Rang))
///     .then(Next::stay().record(Heard).send::<Bell>("echo", "far", Ring))
///     .when(done("echo", &()).unwrap())
///     .then(Next::stay().complete());
/// ```
pub fn given_saga<S: Saga>(saga: S) -> GivenSaga<S> {
    let context = SagaContext {
        id: "saga".to_owned(),
        tenant: Tenant::default(),
        now: Timestamp::from_millis(1_700_000_000_000),
    };
    GivenSaga {
        saga,
        state: S::State::default(),
        context,
    }
}

/// A saga with a past, and the context of its next input.
pub struct GivenSaga<S: Saga> {
    saga: S,
    state: S::State,
    context: SagaContext,
}

/// What a saga decided, to be looked at.
#[must_use]
pub struct Reaction<S: Saga> {
    given: GivenSaga<S>,
    next: Next<S>,
}

impl<S: Saga> GivenSaga<S> {
    /// It remembers this, too.
    pub fn after(mut self, events: impl IntoIterator<Item = S::Event>) -> Self {
        for event in events {
            S::evolve(&mut self.state, &event);
        }
        self
    }

    /// The next input comes at this time.
    pub fn at(mut self, now: Timestamp) -> Self {
        self.context.now = now;
        self
    }

    /// The instance has this id.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.context.id = id.into();
        self
    }

    /// What it knows.
    pub fn state(&self) -> &S::State {
        &self.state
    }

    /// Gives it an input.
    pub fn when(self, input: Input) -> Reaction<S> {
        let next = self.saga.on(&self.state, &input, &self.context);
        Reaction { given: self, next }
    }
}

impl<S: Saga> Reaction<S> {
    /// It decided exactly this, in this order. What it recorded is remembered for the next input.
    ///
    /// # Panics
    /// When it decided something else; with both decisions.
    #[track_caller]
    pub fn then(mut self, expected: Next<S>) -> GivenSaga<S>
    where
        S::Event: Debug + PartialEq,
    {
        assert_eq!(self.next, expected, "another decision than expected");
        for event in self.next.recorded() {
            S::evolve(&mut self.given.state, event);
        }
        self.given
    }

    /// Whatever it decided. What it recorded is remembered for the next input.
    pub fn whatever(mut self) -> GivenSaga<S> {
        for event in self.next.recorded() {
            S::evolve(&mut self.given.state, event);
        }
        self.given
    }
}

/// The outcome of an effect that was done, as an input.
///
/// # Errors
/// When the reply cannot be encoded.
pub fn done<T: Serialize>(key: &str, reply: &T) -> Result<Input, CodecError> {
    let answer = Answer::Done(encoded(reply)?);
    Ok(Input::Answer(EffectAnswer::new(key, answer)))
}

/// The outcome of a command that an aggregate rejected, as an input.
///
/// # Errors
/// When the rejection cannot be encoded.
pub fn rejected<A: Aggregate>(key: &str, rejection: &A::Rejection) -> Result<Input, CodecError> {
    let answer = Answer::Rejected(encoded(rejection)?);
    Ok(Input::Answer(EffectAnswer::new(key, answer)))
}

/// The outcome of a call of which nobody knows whether it was done, as an input.
pub fn unknown(key: &str, reason: &str) -> Input {
    Input::Answer(EffectAnswer::new(key, Answer::Unknown(reason.to_owned())))
}

fn encoded<T: Serialize>(value: &T) -> Result<Payload, CodecError> {
    let codec = PayloadCodec::default();
    Ok(Payload::new(codec.id(), encode(codec, value)?.to_vec()))
}

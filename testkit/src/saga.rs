//! given / when / then for one saga: no runtime, no store, no time but the one you name.

use std::fmt::Debug;

use chronicler_domain::{Aggregate, Timestamp};
use chronicler_sagas::{Answer, EffectAnswer, Input, Next, Payload, Rehearsal, Saga};
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
    let now = Timestamp::from_millis(1_700_000_000_000);
    GivenSaga(Rehearsal::new(saga, "saga", now))
}

/// A saga with a past, and the context of its next input.
pub struct GivenSaga<S: Saga>(Rehearsal<S>);

/// What a saga decided, to be looked at.
#[must_use]
pub struct Reaction<S: Saga> {
    given: GivenSaga<S>,
    input: Input,
    next: Next<S>,
}

impl<S: Saga> GivenSaga<S> {
    /// It remembers this, too.
    pub fn after(mut self, events: impl IntoIterator<Item = S::Event>) -> Self {
        for event in events {
            self.0.remember(&event);
        }
        self
    }

    /// The next input comes at this time.
    pub fn at(mut self, now: Timestamp) -> Self {
        self.0.set_time(now);
        self
    }

    /// The instance has this id.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.0.rename(id.into());
        self
    }

    /// It is being compensated, for this reason: the answer to something that was done comes late, to
    /// [`on_late`](Saga::on_late), and nothing else matters until all undos were run.
    pub fn compensating(mut self, reason: impl Into<String>) -> Self {
        self.0.compensate(reason.into());
        self
    }

    /// What it knows.
    pub fn state(&self) -> &S::State {
        self.0.state()
    }

    /// Gives it an input. What does not matter to it any more it stays at, as in an application: most of what comes once it
    /// compensates, and all that comes once it has ended.
    ///
    /// # Panics
    /// When the instance would be quarantined at the input: its code panics, or wants what is against the rules.
    #[track_caller]
    pub fn when(mut self, input: Input) -> Reaction<S> {
        let next = match self.0.react(&input) {
            Ok(next) => next,
            Err(reason) => panic!("{} is quarantined: {reason}", S::NAME),
        };
        Reaction {
            given: self,
            input,
            next,
        }
    }
}

impl<S: Saga> Reaction<S> {
    /// It decided exactly this, in this order. What it recorded is remembered for the next input.
    ///
    /// # Panics
    /// When it decided something else; with both decisions.
    #[track_caller]
    pub fn then(self, expected: Next<S>) -> GivenSaga<S>
    where
        S::Event: Debug + PartialEq,
    {
        assert_eq!(self.next, expected, "another decision than expected");
        self.whatever()
    }

    /// Whatever it decided. What it recorded is remembered for the next input.
    ///
    /// # Panics
    /// When `evolve` cannot take what it recorded.
    #[track_caller]
    pub fn whatever(self) -> GivenSaga<S> {
        let Self {
            mut given,
            input,
            next,
        } = self;
        if let Err(reason) = given.0.follow(next, &input) {
            panic!("{} is quarantined: {reason}", S::NAME);
        }
        given
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

#[cfg(test)]
mod tests;

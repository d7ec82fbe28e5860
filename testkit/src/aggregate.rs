//! given / when / then for one aggregate: no runtime, no store, no time but the one you name.

use std::fmt::Debug;

use chronicler_domain::{Aggregate, Certain, Context, Decision, Timestamp};
use chronicler_store::codec::{PayloadCodec, encode};
use uuid::Uuid;

/// Starts a test of an aggregate with what happened before.
///
/// ```
/// use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Door { open: bool }
/// #[derive(Serialize, Deserialize)]
/// struct Open;
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent { Opened }
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
/// #[error("it is open already")]
/// struct AlreadyOpen;
/// impl Event for DoorEvent {}
/// impl Aggregate for Door {
///     const CATEGORY: &'static str = "door";
///     type Command = Open;
///     type Event = DoorEvent;
///     type Reply = ();
///     type Rejection = AlreadyOpen;
///     fn decide(&self, _: Open, _: &Context) -> Decided<Self> {
///         if self.open { Err(AlreadyOpen) } else { Ok(DoorEvent::Opened.into()) }
///     }
///     fn evolve(&mut self, _: &DoorEvent) { self.open = true }
/// }
///
/// use chronicler_testkit::given;
/// given::<Door>([]).when(Open).then_events([DoorEvent::Opened]);
/// given::<Door>([DoorEvent::Opened]).when(Open).then_rejected(AlreadyOpen);
/// ```
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(&event);
    }
    let context = Context::new(
        Timestamp::from_millis(1_700_000_000_000),
        Uuid::from_u128(1),
    );
    Given { state, context }
}

/// An aggregate with a past, and the context of its next command.
#[derive(Clone, Debug)]
#[must_use]
pub struct Given<A> {
    state: A,
    context: Context,
}

impl<A: Aggregate> Given<A> {
    /// The same at another time.
    pub fn at(self, now: Timestamp) -> Self {
        self.in_context(Context::new(now, Uuid::from_u128(1)))
    }

    /// The same in another context.
    pub fn in_context(self, context: Context) -> Self {
        Self { context, ..self }
    }

    /// The state so far.
    pub fn state(&self) -> &A {
        &self.state
    }

    /// Decides a command that the aggregate says it never refuses. `decide` has to take the same way: it accepts, with the
    /// same events and the same reply.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn when_certain<C>(self, command: C) -> Then<A>
    where
        A: Certain<C>,
        C: Clone + Into<A::Command>,
    {
        let certain = self.state.certain(command.clone(), &self.context);
        let decided = self.state.decide(command.into(), &self.context);
        match &decided {
            Ok(decided) => assert_eq!(
                written::<A>(decided),
                written::<A>(&certain),
                "`decide` does otherwise than `certain`"
            ),
            Err(rejection) => panic!("`decide` refuses what is certain: {rejection:?}"),
        }
        Then {
            state: self.state,
            decided,
        }
    }

    /// Decides a command. The state that is given is not changed.
    pub fn when(self, command: A::Command) -> Then<A> {
        let decided = self.state.decide(command, &self.context);
        Then {
            state: self.state,
            decided,
        }
    }
}

/// A decision as it would be written, to be compared.
fn written<A: Aggregate>(
    decision: &Decision<A::Event, A::Reply>,
) -> Result<(Vec<Vec<u8>>, Vec<u8>), String> {
    let codec = PayloadCodec::default();
    let events = decision.events.iter();
    let events = events.map(|event| encode(codec, event).map(|bytes| bytes.to_vec()));
    let events = events.collect::<Result<_, _>>();
    let reply = encode(codec, &decision.reply).map(|bytes| bytes.to_vec());
    Ok((
        events.map_err(|error| error.to_string())?,
        reply.map_err(|error| error.to_string())?,
    ))
}

/// A decision, to be looked at. Each check panics with both sides when it does not hold.
#[must_use]
pub struct Then<A: Aggregate> {
    state: A,
    decided: Result<Decision<A::Event, A::Reply>, A::Rejection>,
}

impl<A: Aggregate> Then<A> {
    /// It was accepted with these events, in this order.
    ///
    /// # Panics
    /// When it was rejected, or the events differ.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = A::Event>) -> Accepted<A>
    where
        A::Event: Debug + PartialEq,
    {
        let accepted = self.then_accepted();
        let expected: Vec<A::Event> = expected.into_iter().collect();
        assert_eq!(accepted.events, expected, "other events than expected");
        accepted
    }

    /// It was accepted, whatever happened.
    ///
    /// # Panics
    /// When it was rejected.
    #[track_caller]
    pub fn then_accepted(self) -> Accepted<A> {
        match self.decided {
            Ok(Decision { events, reply }) => Accepted {
                state: self.state,
                events,
                reply,
            },
            Err(rejection) => panic!("expected acceptance, got the rejection {rejection:?}"),
        }
    }

    /// It was rejected for this reason.
    ///
    /// # Panics
    /// When it was accepted, or rejected for another reason.
    #[track_caller]
    pub fn then_rejected(self, expected: A::Rejection)
    where
        A::Rejection: PartialEq,
    {
        match self.decided {
            Ok(decision) => {
                panic!(
                    "expected the rejection {expected:?}, got {} events",
                    decision.events.len()
                )
            }
            Err(rejection) => assert_eq!(rejection, expected, "another rejection than expected"),
        }
    }
}

/// An accepted command.
pub struct Accepted<A: Aggregate> {
    state: A,
    events: Vec<A::Event>,
    reply: A::Reply,
}

impl<A: Aggregate> Accepted<A> {
    /// It answered this.
    ///
    /// # Panics
    /// When it answered something else.
    #[track_caller]
    pub fn and_reply(self, expected: A::Reply) -> Self
    where
        A::Reply: Debug + PartialEq,
    {
        assert_eq!(self.reply, expected, "another reply than expected");
        self
    }

    /// What happened.
    pub fn events(&self) -> &[A::Event] {
        &self.events
    }

    /// The aggregate after it, for the next command.
    pub fn and_then(mut self) -> Given<A> {
        for event in &self.events {
            self.state.evolve(event);
        }
        given::<A>([]).with_state(self.state)
    }
}

impl<A: Aggregate> Given<A> {
    fn with_state(self, state: A) -> Self {
        Self { state, ..self }
    }
}

//! Writing a definition, step by step.

use std::marker::PhantomData;
use std::time::Duration;

use chronicler_domain::Aggregate;
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::definition::Definition;
use super::key::StepKey;
use super::list::{Nil, Perhaps, Ran, StepList};
use super::node::{Encoded, Kind, Node, Plan};
use super::phase::{AfterPivot, BeforePivot, Compensable, NeverHappens, Pivoted};
use super::saga::StepSaga;
use super::seen::{Attempt, Seen};
use super::state::StepState;
use super::target::{To, ToService};
use crate::saga::SagaContext;

/// A definition that is being written: `L` are the steps so far, `P` whether the pivot is behind them.
///
/// Every function that a step is given is pure: it sees what is known by then and says what is to be done. It is
/// called once for each instance, and what it said is journaled.
#[must_use = "a definition ends with `build`"]
pub struct Define<S: StepSaga, L, P> {
    nodes: Vec<Node<S>>,
    written: PhantomData<fn() -> (L, P)>,
}

impl<S: StepSaga> Define<S, Nil, Compensable> {
    pub(super) fn begin() -> Self {
        Self {
            nodes: Vec::new(),
            written: PhantomData,
        }
    }
}

impl<S: StepSaga, L: StepList, P> Define<S, L, P> {
    /// A command to an aggregate of this application, and the command that takes it back once it was done. If it is
    /// rejected, the saga is compensated.
    pub fn step<K, A, B>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, &K::Output) -> To<B> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
        B: Aggregate,
        P: BeforePivot,
    {
        self.command::<K, A>(key, |_| true, command, Kind::Step)
            .undone(undo)
            .next()
    }

    /// The same under a condition. If it does not hold, neither the command nor its undo is sent, and the steps behind
    /// this one read its output as `None`.
    pub fn step_if<K, A, B>(
        self,
        key: K,
        condition: impl Fn(&Seen<'_, S, L>) -> bool + Send + Sync + 'static,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, &K::Output) -> To<B> + Send + Sync + 'static,
    ) -> Define<S, Perhaps<K, L>, P>
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
        B: Aggregate,
        P: BeforePivot,
    {
        self.command::<K, A>(key, condition, command, Kind::Step)
            .undone(undo)
            .next()
    }

    /// A command to an aggregate that leaves nothing to take back.
    pub fn step_without_undo<K, A>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
        P: BeforePivot,
    {
        self.command::<K, A>(key, |_| true, command, Kind::Step)
            .next()
    }

    /// A command for each of a list, all at once, and what takes each of them back once it was done. If one is
    /// rejected, the others are waited for, and the saga is compensated. The output are the replies, in order.
    pub fn each<K, A, B>(
        self,
        key: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<To<A>> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, usize, &A::Reply) -> To<B> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = Vec<A::Reply>>,
        A: Aggregate,
        B: Aggregate,
        P: BeforePivot,
    {
        let mut defined = self.several::<K, A>(key, commands, Kind::Each);
        defined.last_undo(move |state, context, item, reply| {
            let reply: A::Reply = read(reply)?;
            undo(&Seen::new(state, context)?, item, &reply).request()
        });
        defined.next()
    }

    /// A call that leaves the process, and the call that takes it back: once it is known to have been done, and when
    /// nobody knows whether it was. `R` is the service's reason for a refusal. If it is refused, or its outcome stays
    /// unknown, the saga is compensated.
    pub fn external<K, R>(
        self,
        _: K,
        call: impl Fn(&Seen<'_, S, L>) -> ToService + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, Attempt<'_, K::Output>) -> ToService
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey,
        R: DeserializeOwned + std::fmt::Display + 'static,
        P: BeforePivot,
    {
        let before = undo.clone();
        let node = Node {
            id: K::ID,
            version: K::VERSION,
            kind: Kind::External,
            timeout: None,
            plan: Box::new(move |state, context| {
                let seen = Seen::new(state, context)?;
                let if_unknown = before(&seen, Attempt::Unknown).request()?;
                Ok(Plan::One {
                    request: call(&seen).request()?,
                    if_unknown: Some(if_unknown),
                })
            }),
            undo: Some(Box::new(move |state, context, _, output| {
                let output: K::Output = read(output)?;
                undo(&Seen::new(state, context)?, Attempt::Done(&output)).request()
            })),
            join: None,
            words: Box::new(words::<R>),
        };
        self.with(node)
    }

    /// Waits until an event says [`Heard::signal`](super::Heard::signal) under this key: an approval, an arrival. What was
    /// said before the saga got here counts; what is said again does not. Limit it with [`within`](Self::within).
    pub fn wait_for<K: StepKey>(self, _: K) -> Define<S, Ran<K, L>, P> {
        let plan = |state: &StepState<S>, _: &SagaContext| {
            Ok(match state.signals.get(K::ID) {
                Some((codec, said)) => Plan::Settled(written(&read::<K::Output>((*codec, said))?)?),
                None => Plan::Wait,
            })
        };
        self.with(Node::still::<K>(Kind::Wait, plan))
    }

    /// A look at what is known: the saga goes on with its output, or is compensated for the reason it gives.
    pub fn check<K, R>(
        self,
        _: K,
        look: impl Fn(&Seen<'_, S, L>) -> Result<K::Output, R> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey,
        R: std::fmt::Display,
        P: BeforePivot,
    {
        let plan = move |state: &_, context: &_| {
            Ok(match look(&Seen::new(state, context)?) {
                Ok(output) => Plan::Settled(written(&output)?),
                Err(reason) => Plan::Refused(reason.to_string()),
            })
        };
        self.with(Node::still::<K>(Kind::Check, plan))
    }

    /// Nothing to do, only something to take back if the saga is compensated from here on: for what was done before the
    /// saga began.
    pub fn on_undo<K, B>(
        self,
        _: K,
        undo: impl Fn(&Seen<'_, S, L>) -> To<B> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = ()>,
        B: Aggregate,
        P: BeforePivot,
    {
        let plan = move |state: &_, context: &_| {
            Ok(Plan::UndoOnly(undo(&Seen::new(state, context)?).request()?))
        };
        self.with(Node::still::<K>(Kind::Undo, plan))
    }

    /// The command that decides: once it was done the saga only goes forward, and nobody can cancel it. While it is
    /// under way nobody can either. If it is rejected, the saga is compensated.
    pub fn pivot<K, A>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, Pivoted>
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
        P: BeforePivot,
    {
        self.command::<K, A>(key, |_| true, command, Kind::Pivot)
            .next()
    }

    /// From here on the saga only goes forward, and nobody can cancel it.
    pub fn pivot_here<K>(self, _: K) -> Define<S, Ran<K, L>, Pivoted>
    where
        K: StepKey<Output = ()>,
        P: BeforePivot,
    {
        let plan = |_: &_, _: &_| Ok(Plan::Settled(written(&())?));
        self.with(Node::still::<K>(Kind::Mark, plan))
    }

    /// A command behind the pivot. It cannot be rejected; what else goes wrong is tried again, and then parked for a
    /// person.
    pub fn then<K, A>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
        A::Rejection: NeverHappens,
        P: AfterPivot,
    {
        self.command::<K, A>(key, |_| true, command, Kind::Then)
            .next()
    }

    /// A command for each of a list behind the pivot, all at once.
    pub fn then_each<K, A>(
        self,
        key: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<To<A>> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P>
    where
        K: StepKey<Output = Vec<A::Reply>>,
        A: Aggregate,
        A::Rejection: NeverHappens,
        P: AfterPivot,
    {
        self.several::<K, A>(key, commands, Kind::ThenEach).next()
    }

    /// How long the step just written may take, all its attempts included; then the saga is compensated. A call that
    /// is under way then may or may not have been done, and is taken back so; a command is waited for first. The pivot
    /// and what lies behind it cannot be limited.
    pub fn within(mut self, limit: Duration) -> Self
    where
        P: BeforePivot,
    {
        if let Some(last) = self.nodes.last_mut() {
            last.timeout = Some(limit);
        }
        self
    }

    /// The definition, whole.
    pub fn build(self) -> Definition<S>
    where
        P: AfterPivot,
    {
        Definition::new(self.nodes)
    }

    fn command<K, A>(
        self,
        _: K,
        condition: impl Fn(&Seen<'_, S, L>) -> bool + Send + Sync + 'static,
        command: impl Fn(&Seen<'_, S, L>) -> To<A> + Send + Sync + 'static,
        kind: Kind,
    ) -> Self
    where
        K: StepKey<Output = A::Reply>,
        A: Aggregate,
    {
        let plan = move |state: &_, context: &_| {
            let seen = Seen::new(state, context)?;
            if !condition(&seen) {
                return Ok(Plan::Skip);
            }
            Ok(Plan::One {
                request: command(&seen).request()?,
                if_unknown: None,
            })
        };
        let mut node = Node::still::<K>(kind, plan);
        node.words = Box::new(words::<A::Rejection>);
        self.push(node)
    }

    fn several<K, A>(
        self,
        _: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<To<A>> + Send + Sync + 'static,
        kind: Kind,
    ) -> Self
    where
        K: StepKey<Output = Vec<A::Reply>>,
        A: Aggregate,
    {
        let plan = move |state: &_, context: &_| {
            let commands = commands(&Seen::new(state, context)?);
            let requests = commands.into_iter().map(To::request);
            Ok(Plan::Many(requests.collect::<Result<_, _>>()?))
        };
        let mut node = Node::still::<K>(kind, plan);
        node.words = Box::new(words::<A::Rejection>);
        node.join = Some(Box::new(|replies| {
            let replies = replies.iter();
            let replies = replies.map(|(codec, reply)| read::<A::Reply>((*codec, reply)));
            written(&replies.collect::<Result<Vec<_>, _>>()?)
        }));
        self.push(node)
    }

    fn undone<O, B>(
        mut self,
        undo: impl Fn(&Seen<'_, S, L>, &O) -> To<B> + Send + Sync + 'static,
    ) -> Self
    where
        O: DeserializeOwned,
        B: Aggregate,
    {
        self.last_undo(move |state, context, _, output| {
            let output: O = read(output)?;
            undo(&Seen::new(state, context)?, &output).request()
        });
        self
    }

    fn last_undo(
        &mut self,
        undo: impl Fn(
            &StepState<S>,
            &SagaContext,
            usize,
            Encoded<'_>,
        ) -> Result<crate::effect::Request, String>
        + Send
        + Sync
        + 'static,
    ) {
        if let Some(last) = self.nodes.last_mut() {
            last.undo = Some(Box::new(undo));
        }
    }

    fn push(mut self, node: Node<S>) -> Self {
        self.nodes.push(node);
        self
    }

    fn with<M, Q>(self, node: Node<S>) -> Define<S, M, Q> {
        self.push(node).next()
    }

    fn next<M, Q>(self) -> Define<S, M, Q> {
        Define {
            nodes: self.nodes,
            written: PhantomData,
        }
    }
}

impl<S: StepSaga> Node<S> {
    fn still<K: StepKey>(
        kind: Kind,
        plan: impl Fn(&StepState<S>, &SagaContext) -> Result<Plan, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: K::ID,
            version: K::VERSION,
            kind,
            timeout: None,
            plan: Box::new(plan),
            undo: None,
            join: None,
            words: Box::new(|_| "it was rejected".to_owned()),
        }
    }
}

fn read<T: DeserializeOwned>((codec, payload): Encoded<'_>) -> Result<T, String> {
    decode(CodecId::new(codec), payload).map_err(|error| error.to_string())
}

fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let bytes = encode(PayloadCodec::default(), value);
    bytes
        .map(|bytes| bytes.to_vec())
        .map_err(|error| error.to_string())
}

fn words<R: DeserializeOwned + std::fmt::Display>(rejection: Encoded<'_>) -> String {
    read::<R>(rejection).map_or_else(|error| error, |rejection| rejection.to_string())
}

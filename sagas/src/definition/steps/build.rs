//! Writing a definition, step by step.

use std::marker::PhantomData;

use super::encoding::{Encoded, joined, read, words, written};
use super::key::StepKey;
use super::last::{Certainly, Decisive, Forked, Sent, Still};
use super::list::{Nil, Perhaps, Ran, StepList};
use super::node::{Kind, LastWords, Node, Plan, Situation};
use super::phase::{AfterPivot, BeforePivot, Compensable, MayPivot, Pivoted};
use super::saga::StepSaga;
use super::seen::Seen;
use super::target::{CannotBeRefused, ToAggregate};
use crate::definition::effect::Request;
use crate::definition::error::DefinitionError;

/// A definition that is being written: `L` are the steps so far, `P` whether they come after the pivot, and `T` what the
/// step just written is.
///
/// Every function that a step is given is pure: it sees what is known by then and says what is to be done. It is
/// called once for each instance, and what it said is journaled.
#[must_use = "a definition ends with `build`"]
pub struct Define<S: StepSaga, L, P, T = Still> {
    pub(super) nodes: Vec<Node<S::Start>>,
    /// The steps that the next one comes right after.
    pub(super) tails: Vec<usize>,
    pub(super) last_words: Option<LastWords<S::Start>>,
    /// What was said twice, and can be said once.
    pub(super) twice: Vec<String>,
    written: Written<L, P, T>,
}

type Written<L, P, T> = PhantomData<fn() -> (L, P, T)>;

impl<S: StepSaga> Define<S, Nil, Compensable> {
    pub(super) fn begin() -> Self {
        Self {
            nodes: Vec::new(),
            tails: Vec::new(),
            last_words: None,
            twice: Vec::new(),
            written: PhantomData,
        }
    }
}

impl<S: StepSaga, L: StepList, P, T> Define<S, L, P, T> {
    /// A command to an aggregate of this application, and the command that takes it back once it was done. If it is
    /// rejected, the saga is compensated.
    pub fn step<K, C, U>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, &K::Output) -> U + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Sent<C::Rejection>>
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
        U: ToAggregate,
        P: BeforePivot,
    {
        self.command::<K, C>(key, command, Kind::Step)
            .undone(move |told, output| {
                let output: K::Output = read(output)?;
                undo(&Seen::new(told)?, &output).request()
            })
            .undo_may_be_refused(U::may_be_refused())
            .next()
    }

    /// The same under a condition. If it does not hold, neither the command nor its undo is sent, and the steps after
    /// this one read its output as `None`.
    pub fn step_if<K, C, U>(
        self,
        key: K,
        condition: impl Fn(&Seen<'_, S, L>) -> bool + Send + Sync + 'static,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, &K::Output) -> U + Send + Sync + 'static,
    ) -> Define<S, Perhaps<K, L>, P, Sent<C::Rejection>>
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
        U: ToAggregate,
        P: BeforePivot,
    {
        self.step(key, command, undo).only_if(condition)
    }

    /// A command to an aggregate that leaves nothing to take back.
    pub fn step_without_undo<K, C>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Sent<C::Rejection>>
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
        P: BeforePivot,
    {
        self.command::<K, C>(key, command, Kind::Step).next()
    }

    /// A command for each of a list, all at once, and what takes each of them back once it was done; that happens at
    /// once as well. If one is rejected, the others are waited for, and the saga is compensated. The output are the
    /// replies, in order.
    pub fn each<K, C, U>(
        self,
        key: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<C> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, usize, &C::Reply) -> U + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Sent<C::Rejection>>
    where
        K: StepKey<Output = Vec<C::Reply>>,
        C: ToAggregate,
        U: ToAggregate,
        P: BeforePivot,
    {
        self.several::<K, C>(key, commands, Kind::Each)
            .undone(move |told, reply| {
                let reply: C::Reply = read(reply)?;
                let item = told.place.item.unwrap_or_default();
                undo(&Seen::new(told)?, item, &reply).request()
            })
            .undo_may_be_refused(U::may_be_refused())
            .next()
    }

    /// The same one after the other, in the order of the list: if one is rejected, those after it are not sent. They
    /// are undone one after the other as well, the latest first. `commands` is asked when the step begins and once in each
    /// later life of the instance, and has to say the same: it must not depend on the time, and a change of it is a change
    /// of the step (raise [`StepKey::VERSION`](super::StepKey::VERSION)).
    pub fn each_in_turn<K, C, U>(
        self,
        key: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<C> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, usize, &C::Reply) -> U + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Sent<C::Rejection>>
    where
        K: StepKey<Output = Vec<C::Reply>>,
        C: ToAggregate,
        U: ToAggregate,
        P: BeforePivot,
    {
        let defined = self.each(key, commands, undo);
        defined.of_kind(Kind::Turns)
    }

    /// Waits until an event says [`Heard::signal`](super::Heard::signal) under this key: an approval, an arrival. What was
    /// said before the saga got here counts; what is said again does not. Limit it with [`within`](Self::within).
    pub fn wait_for<K: StepKey>(self, _: K) -> Define<S, Ran<K, L>, P, Still> {
        let plan = |told: Situation<'_, S::Start>| {
            Ok(match told.state.signals.get(K::ID) {
                Some(said) => Plan::Settled(written(&read::<K::Output>(said)?)?),
                None => Plan::Wait,
            })
        };
        self.push(Node::still::<K>(Kind::Wait, plan)).next()
    }

    /// A look at what is known: the saga goes on with its output, or is compensated for the reason it gives.
    pub fn check<K, R>(
        self,
        _: K,
        look: impl Fn(&Seen<'_, S, L>) -> Result<K::Output, R> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Still>
    where
        K: StepKey,
        R: std::fmt::Display,
        P: BeforePivot,
    {
        let plan = move |told: Situation<'_, S::Start>| {
            Ok(match look(&Seen::new(told)?) {
                Ok(output) => Plan::Settled(written(&output)?),
                Err(reason) => Plan::Refused(reason.to_string()),
            })
        };
        self.push(Node::still::<K>(Kind::Check, plan)).next()
    }

    /// Nothing to do, only something to take back if the saga is compensated from here on: for what was done before the
    /// saga began.
    pub fn on_undo<K, U>(
        self,
        _: K,
        undo: impl Fn(&Seen<'_, S, L>) -> U + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Still>
    where
        K: StepKey<Output = ()>,
        U: ToAggregate,
        P: BeforePivot,
    {
        let plan = move |told: Situation<'_, S::Start>| {
            Ok(Plan::UndoOnly(undo(&Seen::new(told)?).request()?))
        };
        self.push(Node::still::<K>(Kind::Undo, plan))
            .undo_may_be_refused(U::may_be_refused())
            .next()
    }

    /// The command that decides: once it was done the saga only goes forward, and nobody can cancel it. While it is
    /// under way nobody can either. If it is rejected, the saga is compensated.
    pub fn pivot<K, C>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, Pivoted, Decisive>
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
        P: MayPivot,
    {
        self.command::<K, C>(key, command, Kind::Pivot).next()
    }

    /// From here on the saga only goes forward, and nobody can cancel it.
    pub fn pivot_here<K>(self, _: K) -> Define<S, Ran<K, L>, Pivoted, Forked>
    where
        K: StepKey<Output = ()>,
        P: MayPivot,
    {
        let plan = |_: Situation<'_, S::Start>| Ok(Plan::Settled(written(&())?));
        self.push(Node::still::<K>(Kind::Mark, plan)).next()
    }

    /// A command after the pivot. It cannot be rejected, as its aggregate rejects nothing, or says so of the command
    /// ([`surely`](super::surely)). What else goes wrong is tried again, and then parked for a person.
    pub fn then<K, C>(
        self,
        key: K,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Certainly>
    where
        K: StepKey<Output = C::Reply>,
        C: CannotBeRefused,
        P: AfterPivot,
    {
        self.command::<K, C>(key, command, Kind::Then).next()
    }

    /// A command for each of a list after the pivot, all at once.
    pub fn then_each<K, C>(
        self,
        key: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<C> + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Certainly>
    where
        K: StepKey<Output = Vec<C::Reply>>,
        C: CannotBeRefused,
        P: AfterPivot,
    {
        self.several::<K, C>(key, commands, Kind::ThenEach).next()
    }

    fn command<K, C>(
        self,
        _: K,
        command: impl Fn(&Seen<'_, S, L>) -> C + Send + Sync + 'static,
        kind: Kind,
    ) -> Self
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
    {
        let plan = move |told: Situation<'_, S::Start>| {
            Ok(Plan::One(command(&Seen::new(told)?).request()?))
        };
        let mut node = Node::still::<K>(kind, plan);
        node.words = Box::new(words::<C::Rejection>);
        self.push(node)
    }

    fn several<K, C>(
        self,
        _: K,
        commands: impl Fn(&Seen<'_, S, L>) -> Vec<C> + Send + Sync + 'static,
        kind: Kind,
    ) -> Self
    where
        K: StepKey<Output = Vec<C::Reply>>,
        C: ToAggregate,
    {
        let plan = move |told: Situation<'_, S::Start>| {
            let commands = commands(&Seen::new(told)?);
            let requests = commands.into_iter().map(C::request);
            Ok(Plan::Many(requests.collect::<Result<_, _>>()?))
        };
        let mut node = Node::still::<K>(kind, plan);
        node.words = Box::new(words::<C::Rejection>);
        node.join = Some(Box::new(joined::<C::Reply>));
        self.push(node)
    }

    /// How the step just written is taken back.
    pub(super) fn undone(
        mut self,
        undo: impl Fn(Situation<'_, S::Start>, Encoded<'_>) -> Result<Request, DefinitionError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        if let Some(last) = self.nodes.last_mut() {
            last.undo = Some(Box::new(undo));
        }
        self
    }

    fn of_kind(mut self, kind: Kind) -> Self {
        if let Some(last) = self.nodes.last_mut() {
            last.kind = kind;
        }
        self
    }

    pub(super) fn undo_may_be_refused(mut self, may_be: bool) -> Self {
        if let Some(last) = self.nodes.last_mut() {
            last.undo_may_be_refused = may_be;
        }
        self
    }

    pub(super) fn push(mut self, mut node: Node<S::Start>) -> Self {
        node.after = std::mem::replace(&mut self.tails, vec![self.nodes.len()]);
        self.nodes.push(node);
        self
    }

    pub(super) fn next<M, Q, V>(self) -> Define<S, M, Q, V> {
        Define {
            nodes: self.nodes,
            tails: self.tails,
            last_words: self.last_words,
            twice: self.twice,
            written: PhantomData,
        }
    }
}

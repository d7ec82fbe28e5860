//! More that can be said of the step just written.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::build::Define;
use super::encoding::read;
use super::last::{AStep, Begun, Called, CalledEach, CanBeRefused, CanBeSkipped, Occupies, Sends};
use super::list::{Latest, Perhaps, Ran, StepList};
use super::node::Node;
use super::phase::BeforePivot;
use super::saga::StepSaga;
use super::seen::Seen;
use super::target::ToService;
use crate::definition::terms::{Orphan, Terms, Tries};

impl<S: StepSaga, L, P, T> Define<S, L, P, T> {
    fn say(mut self, say: impl FnOnce(&mut Node<S::Start>)) -> Self {
        if let Some(last) = self.nodes.last_mut() {
            say(last);
        }
        self
    }

    fn terms(self, change: impl FnOnce(&mut Terms)) -> Self {
        self.say(|node| change(&mut node.terms))
    }
}

impl<S: StepSaga, L: StepList, P, T: AStep> Define<S, L, P, T> {
    /// How long the step just written may take, all its attempts included; then the saga is compensated. A call that
    /// is under way then may or may not have been done, and is taken back so, or asked about if it has a
    /// [`probe`](Self::probe); a command is waited for first. The pivot and what comes after it cannot be limited.
    pub fn within(self, limit: Duration) -> Self
    where
        P: BeforePivot,
    {
        self.say(|node| node.limit = Some(limit))
    }

    /// After how long a person should look at the saga, if the step just written is not done by then. The saga
    /// goes on.
    pub fn escalate_after(self, limit: Duration) -> Self {
        self.say(|node| node.look_after = Some(limit))
    }
}

impl<S: StepSaga, L: StepList, P, T: Sends> Define<S, L, P, T> {
    /// How often the step just written is tried, instead of what [`SagaOptions`](crate::SagaOptions) says.
    pub fn tries(self, tries: Tries) -> Self {
        self.terms(|terms| terms.tries = Some(tries))
    }

    /// How often its undo is tried.
    pub fn undo_tries(self, tries: Tries) -> Self {
        self.terms(|terms| terms.undo_tries = Some(tries))
    }
}

impl<S: StepSaga, L: StepList, P, T: Occupies> Define<S, L, P, T> {
    /// At most so many effects that need this resource are under way at a time in this process, those of the step just
    /// written among them; the others wait. Of several limits the one that was decided last holds; it is at least 1. Of a
    /// child: at most so many are alive at a time ([`Next::at_most`](crate::Next::at_most)).
    pub fn at_most(self, count: u32, resource: impl Into<String>) -> Self {
        let resource = (resource.into(), count.max(1));
        self.terms(|terms| terms.resource = Some(resource))
    }
}

impl<S: StepSaga, K: super::StepKey, L: StepList, P, T: CanBeSkipped> Define<S, Ran<K, L>, P, T> {
    /// Only under this condition is the step just written taken. If it does not hold, its undo is skipped as well, and
    /// the steps after it read its output as `None`. Say it last of the step.
    pub fn only_if(
        self,
        condition: impl Fn(&Seen<'_, S, L>) -> bool + Send + Sync + 'static,
    ) -> Define<S, Perhaps<K, L>, P, T> {
        self.say(|node| {
            node.condition = Some(Box::new(move |told| Ok(condition(&Seen::new(told)?))));
        })
        .next()
    }
}

impl<S: StepSaga, L: Latest, P: BeforePivot, T: CanBeRefused> Define<S, L, P, T>
where
    T::Rejection: DeserializeOwned + 'static,
{
    /// What follows when the step just written is refused: if this says `true`, it is made again with one more
    /// [`Seen::tried`], so that it can be another; else the saga is compensated. An outcome that is unknown is no
    /// refusal. With `each`, every item has alternatives of its own, of one list: its commands are asked for once with each
    /// number of refusals, and must not depend on the time.
    pub fn or_else(
        self,
        again: impl Fn(&Seen<'_, S, L::Before>, &T::Rejection) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.say(|node| {
            node.alternative = Some(Box::new(move |told, rejection| {
                let rejection: T::Rejection = read(rejection)?;
                Ok(again(&Seen::new(told)?, &rejection))
            }));
        })
    }
}

impl<S: StepSaga, L: StepList, P, R> Define<S, L, P, Called<R>> {
    /// How long one attempt of the call just written may take; then its outcome is unknown.
    pub fn patience(self, patience: Duration) -> Self {
        self.terms(|terms| terms.patience = Some(patience))
    }
}

impl<S: StepSaga, L: StepList, P, R> Define<S, L, P, CalledEach<R>> {
    /// How long one attempt of each of the calls just written may take; then its outcome is unknown.
    pub fn patience(self, patience: Duration) -> Self {
        self.terms(|terms| terms.patience = Some(patience))
    }
}

impl<S: StepSaga, L: Latest, P: BeforePivot, R> Define<S, L, P, Called<R>> {
    /// Asks the service what became of the call just written when nobody knows: when its attempts are spent, or it took
    /// too long. The question is answered like the call: done with its output, or refused with its reason. Refused means
    /// that it was not done and never will be; a service that cannot promise that says nothing instead, and then the
    /// saga is compensated. The question has the terms of the step: its tries, its patience, its place at a resource. The answer counts, whatever the call's own attempts are answered before or after it: a
    /// refusal that comes while the question is under way waits for it, since an attempt before may have been done. It
    /// stands if the question is refused, or not answered.
    pub fn probe(
        self,
        ask: impl Fn(&Seen<'_, S, L::Before>) -> ToService + Send + Sync + 'static,
    ) -> Self {
        self.say(|node| {
            node.probe = Some(Box::new(move |told| ask(&Seen::new(told)?).request()));
        })
    }
}

impl<S: StepSaga, L: StepList, P> Define<S, L, P, Begun> {
    /// What becomes of the child just written if this saga is compensated while it is under way. It is cancelled, unless
    /// this says otherwise.
    pub fn orphan(self, orphan: Orphan) -> Self {
        self.terms(|terms| terms.orphan = orphan)
    }
}

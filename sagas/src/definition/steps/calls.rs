//! Steps that leave the saga: calls of services, and other sagas.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::Define;
use super::encoding::{joined, read, words};
use super::key::StepKey;
use super::last::{Begun, Called, CalledEach};
use super::list::{Ran, StepList};
use super::node::{Kind, Node, Plan};
use super::phase::BeforePivot;
use super::saga::StepSaga;
use super::seen::{Attempt, Seen};
use super::target::{ToAggregate, ToChild, ToService};

impl<S: StepSaga, L: StepList, P, T> Define<S, L, P, T> {
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
    ) -> Define<S, Ran<K, L>, P, Called<R>>
    where
        K: StepKey,
        R: DeserializeOwned + std::fmt::Display + 'static,
        P: BeforePivot,
    {
        let before = undo.clone();
        let mut node = Node::still::<K>(Kind::External, move |told| {
            Ok(Plan::One(call(&Seen::new(told)?).request()?))
        });
        node.words = Box::new(words::<R>);
        node.undo_unknown = Some(Box::new(move |told| {
            before(&Seen::new(told)?, Attempt::Unknown).request()
        }));
        self.push(node)
            .undone(move |told, output| {
                let output: K::Output = read(output)?;
                undo(&Seen::new(told)?, Attempt::Done(&output)).request()
            })
            .next()
    }

    /// Such a call for each of a list, all at once, with the place of each in its undo. The output are the replies, in
    /// order.
    pub fn external_each<K, O, R>(
        self,
        _: K,
        calls: impl Fn(&Seen<'_, S, L>) -> Vec<ToService> + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>, usize, Attempt<'_, O>) -> ToService
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Define<S, Ran<K, L>, P, CalledEach<R>>
    where
        K: StepKey<Output = Vec<O>>,
        O: Serialize + DeserializeOwned + 'static,
        R: DeserializeOwned + std::fmt::Display + 'static,
        P: BeforePivot,
    {
        let before = undo.clone();
        let mut node = Node::still::<K>(Kind::ExternalEach, move |told| {
            let calls = calls(&Seen::new(told)?).into_iter();
            Ok(Plan::Many(
                calls.map(ToService::request).collect::<Result<_, _>>()?,
            ))
        });
        node.words = Box::new(words::<R>);
        node.join = Some(Box::new(joined::<O>));
        node.undo_unknown = Some(Box::new(move |told| {
            let item = told.place.item.unwrap_or_default();
            before(&Seen::new(told)?, item, Attempt::Unknown).request()
        }));
        self.push(node)
            .undone(move |told, output| {
                let output: O = read(output)?;
                let item = told.place.item.unwrap_or_default();
                undo(&Seen::new(told)?, item, Attempt::Done(&output)).request()
            })
            .next()
    }

    /// Another saga, which is begun and waited for; made by [`to_child`](super::to_child). The undo is for one that was
    /// completed. If it ends otherwise, having undone what it did, this one is compensated. What becomes of one that is
    /// under way when this is compensated says [`orphan`](Self::orphan). The saga's routes have to name it with
    /// [`Routes::child`](crate::Routes::child).
    pub fn child<K, U>(
        self,
        _: K,
        begin: impl Fn(&Seen<'_, S, L>) -> ToChild + Send + Sync + 'static,
        undo: impl Fn(&Seen<'_, S, L>) -> U + Send + Sync + 'static,
    ) -> Define<S, Ran<K, L>, P, Begun>
    where
        K: StepKey<Output = ()>,
        U: ToAggregate,
        P: BeforePivot,
    {
        let mut node = Node::still::<K>(Kind::Child, move |told| {
            Ok(Plan::One(begin(&Seen::new(told)?).request()?))
        });
        node.words = Box::new(words::<String>);
        self.push(node)
            .undone(move |told, _| undo(&Seen::new(told)?).request())
            .undo_may_be_refused(U::may_be_refused())
            .next()
    }
}

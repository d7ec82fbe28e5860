//! Branches, the last words, and the end of a definition.

use super::build::Define;
use super::definition::Definition;
use super::given_up::GivenUp;
use super::key::StepKey;
use super::last::Forked;
use super::list::{Before, Both, Branch, Nil, StepList};
use super::node::Situation;
use super::phase::{AfterPivot, Phase};
use super::saga::StepSaga;
use super::seen::Seen;
use super::target::ToAggregate;

impl<S: StepSaga, L: StepList, P, T> Define<S, L, P, T> {
    /// The last words of a saga that was undone: a command that is sent when everything was taken back, and can depend
    /// on why. One for a saga; it is no step, and where it is said does not matter.
    pub fn if_undone<K, C>(
        mut self,
        _: K,
        say: impl Fn(&Seen<'_, S, Nil>, &GivenUp) -> C + Send + Sync + 'static,
    ) -> Self
    where
        K: StepKey<Output = C::Reply>,
        C: ToAggregate,
    {
        let say = move |told: Situation<'_, S::Start>, why: &GivenUp| {
            say(&Seen::new(told)?, why).request()
        };
        if let Some((before, _)) = self.last_words.replace((K::ID, Box::new(say))) {
            let id = K::ID;
            let problem = format!("it has last words twice, {before:?} and {id:?}");
            self.twice.push(problem);
        }
        self
    }

    /// Two branches side by side: neither waits for the other, the step after them waits for both, and they are undone
    /// side by side. A branch sees what was before the fork, and its own steps; what comes after it sees both. For three
    /// branches, fork a branch.
    pub fn parallel<M, N, V, W>(
        self,
        left: impl FnOnce(Define<S, L, P::Branch, Forked>) -> Define<S, M, P::Branch, V>,
        right: impl FnOnce(Define<S, Before<L>, P::Branch, Forked>) -> Define<S, N, P::Branch, W>,
    ) -> Define<S, Both<M, N>, P, Forked>
    where
        P: Phase,
        M: StepList,
        N: Branch,
    {
        let tails = self.tails.clone();
        let first = self.nodes.len();
        let mut left = left(self.next());
        let second = left.nodes.len();
        let left_tails = std::mem::replace(&mut left.tails, tails);
        let mut right = right(left.next());
        let fork = u32::try_from(first).unwrap_or(u32::MAX);
        for (place, node) in right.nodes.iter_mut().enumerate().skip(first) {
            let branch = (fork, u32::from(place >= second));
            node.terms.branch.insert(0, branch);
        }
        for tail in left_tails {
            if !right.tails.contains(&tail) {
                right.tails.push(tail);
            }
        }
        right.next()
    }

    /// The definition, whole.
    pub fn build(self) -> Definition<S>
    where
        P: AfterPivot,
    {
        Definition::new(self.nodes, self.last_words, self.twice)
    }
}

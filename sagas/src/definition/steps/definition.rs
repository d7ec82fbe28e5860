//! A definition, whole.

use std::fmt::{self, Debug};

use chronicler_store::Fnv;

use super::node::{Kind, LastWords, Node};
use super::saga::StepSaga;
use super::state::StepState;

/// The steps of a saga, in order.
pub struct Definition<S: StepSaga> {
    pub(super) nodes: Vec<Node<S::Start>>,
    pub(super) fingerprint: u64,
    /// What is sent when everything was undone, and its key.
    pub(super) last_words: Option<LastWords<S::Start>>,
    twice: Vec<String>,
}

impl<S: StepSaga> Definition<S> {
    pub(super) fn new(
        nodes: Vec<Node<S::Start>>,
        last_words: Option<LastWords<S::Start>>,
        twice: Vec<String>,
    ) -> Self {
        // Over ids and kinds, in order.
        let mut hash = Fnv::new();
        for node in &nodes {
            hash = hash
                .with(node.id.as_bytes())
                .with(&[0, node.kind as u8])
                .with(&node.version.to_le_bytes());
            // The branch it lies on; those of a saga without forks lie on none.
            for number in node
                .terms
                .branch
                .iter()
                .flat_map(|(fork, branch)| [fork, branch])
            {
                hash = hash.with_number(u64::from(*number));
            }
        }
        Self {
            nodes,
            fingerprint: hash.value(),
            last_words,
            twice,
        }
    }

    /// The number that changes when steps are added, removed, renamed, moved, become of another kind, or give something
    /// else. What a step sends is not part of it.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The ids of the steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.nodes.iter().map(|node| node.id)
    }

    /// What is wrong with it that the compiler cannot see.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.twice.clone();
        let last = self.last_words.as_ref().map(|(id, _)| *id);
        if let Some(node) = self.nodes.iter().find(|node| Some(node.id) == last) {
            problems.push(format!("its last words have the id of step {:?}", node.id));
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let id = node.id;
            if id.is_empty() || id.contains(['\0', '[', '#', '?']) {
                problems.push(format!(
                    "step id {id:?} is empty, or contains NUL, '[', '#' or '?'"
                ));
            }
            if self.nodes.iter().take(place).any(|other| other.id == id) {
                problems.push(format!("two steps have the id {id:?}"));
            }
            let is_call = matches!(node.kind, Kind::External | Kind::ExternalEach);
            if is_call && node.limit.is_none() {
                problems.push(format!(
                    "step {id:?} leaves the process without a limit: say how long with `within`"
                ));
            }
        }
        problems
    }

    /// What may be as it is meant, and is worth a look.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for node in &self.nodes {
            let id = node.id;
            if node.undo_may_be_refused {
                doubts.push(format!(
                    "what takes step {id:?} back can be rejected, and is then stuck until a person sees to it: `surely` sends what cannot be"
                ));
            }
            if node.kind == Kind::Wait && node.limit.is_none() && node.look_after.is_none() {
                doubts.push(format!(
                    "step {id:?} may wait for ever: say how long with `within` or `escalate_after`"
                ));
            }
        }
        doubts
    }

    /// Whether it is a step's turn, begun or not: it is ahead, and nothing right before it is ahead.
    pub(super) fn is_next(&self, state: &StepState<S::Start>, node: &Node<S::Start>) -> bool {
        let is_behind = |place: &usize| {
            let before = self.nodes.get(*place);
            before.is_none_or(|before| !state.is_ahead(before.id))
        };
        state.is_ahead(node.id) && node.after.iter().all(is_behind)
    }

    pub(super) fn node(&self, id: &str) -> Option<&Node<S::Start>> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

impl<S: StepSaga> Debug for Definition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.nodes.iter().map(|node| (node.id, node.kind));
        f.debug_map().entries(steps).finish()
    }
}

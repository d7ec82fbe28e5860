//! One decision of a step saga: what an input means, and how far the saga then goes.

use chronicler_store::codec::PayloadCodec;

use super::definition::Definition;
use super::node::{Encoded, Kind, Node, Plan};
use super::saga::{Signal, StepSaga, Steps};
use super::state::{StepEvent, StepState};
use crate::answer::{Answer, Outcome};
use crate::effect::{Request, Undo};
use crate::next::Next;
use crate::saga::SagaContext;

/// A decision that is being made, and the state as it will be.
pub(super) struct Course<'a, S: StepSaga> {
    pub(super) definition: &'a Definition<S>,
    pub(super) context: &'a SagaContext,
    pub(super) state: StepState<S>,
    pub(super) next: Next<Steps<S>>,
}

impl<S: StepSaga> Course<'_, S> {
    pub(super) fn begin(mut self, start: S::Start) -> Next<Steps<S>> {
        let steps = self.definition.steps().map(str::to_owned).collect();
        let fingerprint = self.definition.fingerprint;
        self.note(StepEvent::Begun {
            start,
            fingerprint,
            steps,
        });
        self.go_on()
    }

    /// The definition is another than the one it began under.
    pub(super) fn changed(self) -> Next<Steps<S>> {
        let now: Vec<_> = self.definition.steps().collect();
        let reason = format!(
            "it began under another definition, of the steps {:?}; this application has {now:?}: release it with the application that began it",
            self.state.steps
        );
        self.mistaken(reason)
    }

    pub(super) fn cancel(mut self, reason: String) -> Next<Steps<S>> {
        let pivot_begun =
            self.current().is_none_or(|node| node.kind == Kind::Pivot) || self.is_past_pivot();
        if pivot_begun {
            self.note(StepEvent::CancelRefused { reason });
            return self.next;
        }
        self.next.compensate(reason)
    }

    pub(super) fn told(mut self, signal: Signal) -> Next<Steps<S>> {
        let Signal { step, said } = signal;
        let said = match said {
            Ok(said) => said,
            Err(reason) => return self.mistaken(format!("the signal for {step:?}: {reason}")),
        };
        let is_awaited = |node: &&Node<S>| node.id == step && node.kind == Kind::Wait;
        let definition = self.definition;
        let Some(node) = definition.nodes.iter().find(is_awaited) else {
            return self.mistaken(format!(
                "a signal for {step:?}, and no step of this id waits for one"
            ));
        };
        if !self.is_ahead(node) || self.state.signals.contains_key(step) {
            // It was told before.
            return self.next;
        }
        let codec = PayloadCodec::default().id().number();
        let is_current = self.current().is_some_and(|current| current.id == step);
        self.note(StepEvent::Signalled {
            step: step.to_owned(),
            codec,
            said,
        });
        if !is_current {
            return self.next;
        }
        if node.timeout.is_some() {
            self.next = self.next.cancel_timer(timer(step));
        }
        self.go_on()
    }

    pub(super) fn late(self, key: &str) -> Next<Steps<S>> {
        let current = self.current();
        match current {
            // A timer of a step that was answered meanwhile is disarmed; this is for one that fired just then.
            Some(node) if timer(node.id) == key && !self.is_past_pivot() => {
                let reason = format!("step {:?} took too long", node.id);
                self.next.compensate(reason)
            }
            _ => self.next,
        }
    }

    pub(super) fn answered(mut self, outcome: &Outcome) -> Next<Steps<S>> {
        let (id, item) = split(outcome.key());
        let definition = self.definition;
        let Some(node) = definition.node(id) else {
            let reason = format!("an outcome of step {id:?}, which the definition does not have");
            return self.mistaken(reason);
        };
        match outcome.answer() {
            Answer::Done { codec, payload } => self.done(node, item, *codec, payload),
            Answer::Rejected { codec, payload } => {
                let said = (node.words)((*codec, payload));
                let reason = match self.state.cancel_refused.take() {
                    Some(asked) => {
                        format!("step {id:?} was rejected ({said}), and before that: {asked}")
                    }
                    None => format!("step {id:?} was rejected: {said}"),
                };
                self.given_up(node, reason)
            }
            Answer::Unknown { reason } => {
                let reason = format!("what became of step {id:?} is unknown: {reason}");
                self.given_up(node, reason)
            }
        }
    }

    /// Only says how a step is taken back that was done after compensation had begun.
    pub(super) fn undone_late(self, outcome: &Outcome) -> Next<Steps<S>> {
        let (id, item) = split(outcome.key());
        let Answer::Done { codec, payload } = outcome.answer() else {
            return self.next;
        };
        let Some(node) = self.definition.node(id) else {
            let reason =
                format!("step {id:?} is to be taken back, and the definition does not have it");
            return self.mistaken(reason);
        };
        self.undoable(node, item, (*codec, payload)).next
    }

    /// Says how a step that was done is taken back, now that its output is known; or why that cannot be said, which
    /// makes the whole decision a mistake. What is registered before the outcome of a call is known stands for an
    /// unknown one.
    fn undoable(mut self, node: &Node<S>, item: Option<usize>, output: Encoded<'_>) -> Self {
        let Some(undo) = &node.undo else {
            return self;
        };
        self.next = match undo(&self.state, self.context, item.unwrap_or_default(), output) {
            Ok(request) => self.next.undone_later(key_of(node.id, item), request),
            Err(reason) => {
                let reason = format!("the undo of {:?}: {reason}", node.id);
                self.next.mistaken(S::NAME, reason)
            }
        };
        self
    }

    fn given_up(self, node: &Node<S>, reason: String) -> Next<Steps<S>> {
        if self.is_past_pivot() {
            return self.mistaken(format!("after its pivot: {reason}"));
        }
        let next = match node.timeout {
            Some(_) => self.next.cancel_timer(timer(node.id)),
            None => self.next,
        };
        next.compensate(reason)
    }

    fn done(
        mut self,
        node: &Node<S>,
        item: Option<usize>,
        codec: u8,
        payload: &[u8],
    ) -> Next<Steps<S>> {
        self = self.undoable(node, item, (codec, payload));
        let step = node.id.to_owned();
        if let Some(item) = item {
            self.note(StepEvent::Heard {
                step,
                item: u32::try_from(item).unwrap_or(u32::MAX),
                codec,
                reply: payload.to_vec(),
            });
            if self.state.spread.iter().any(Option::is_none) {
                return self.next;
            }
            let replies: Vec<_> = self.state.spread.iter().flatten().cloned().collect();
            return self.joined(node, &replies);
        }
        self.note(StepEvent::Did {
            step,
            codec,
            output: payload.to_vec(),
        });
        self.behind(node)
    }

    /// All commands of a step are answered.
    fn joined(mut self, node: &Node<S>, replies: &[(u8, Vec<u8>)]) -> Next<Steps<S>> {
        let output = match &node.join {
            Some(join) => join(replies),
            None => Err("it has one command only".to_owned()),
        };
        match output {
            Ok(output) => {
                self.did(node, output);
                self.behind(node)
            }
            Err(reason) => self.mistaken(format!("the replies of {:?}: {reason}", node.id)),
        }
    }

    fn behind(mut self, node: &Node<S>) -> Next<Steps<S>> {
        if node.timeout.is_some() {
            self.next = self.next.cancel_timer(timer(node.id));
        }
        if node.kind.is_pivot() {
            self.next = self.next.pivot();
        }
        self.go_on()
    }

    /// Goes on until something has to be waited for.
    fn go_on(mut self) -> Next<Steps<S>> {
        let definition = self.definition;
        while let Some(node) = definition.nodes.iter().find(|node| self.is_ahead(node)) {
            let plan = match (node.plan)(&self.state, self.context) {
                Ok(plan) => plan,
                Err(reason) => return self.mistaken(format!("step {:?}: {reason}", node.id)),
            };
            match plan {
                Plan::Skip => self.note(StepEvent::Skipped {
                    step: node.id.to_owned(),
                }),
                Plan::Settled(output) => {
                    self.did(node, output);
                    if node.kind.is_pivot() {
                        self.next = self.next.pivot();
                    }
                }
                Plan::Wait => return self.limited(node),
                Plan::Refused(reason) => {
                    let reason = format!("step {:?}: {reason}", node.id);
                    return self.next.compensate(reason);
                }
                Plan::UndoOnly(request) => {
                    let undo = Undo {
                        if_done: request,
                        if_unknown: None,
                    };
                    self.next = self.next.effect(node.id.to_owned(), Request::Nothing);
                    self.next = self.next.undone_by(undo);
                    self.did(node, Vec::new());
                }
                Plan::One {
                    request,
                    if_unknown,
                } => {
                    self.next = self.next.effect(node.id.to_owned(), request);
                    if let Some(request) = if_unknown {
                        self.next = self.next.undone_by(Undo {
                            if_done: request.clone(),
                            if_unknown: Some(request),
                        });
                    }
                    if node.kind == Kind::Pivot {
                        self.next = self.next.pivoting();
                    }
                    return self.limited(node);
                }
                Plan::Many(requests) if requests.is_empty() => {
                    return self.joined(node, &[]);
                }
                Plan::Many(requests) => {
                    let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
                    self.note(StepEvent::Spread {
                        step: node.id.to_owned(),
                        count,
                    });
                    for (item, request) in requests.into_iter().enumerate() {
                        self.next = self.next.effect(key_of(node.id, Some(item)), request);
                    }
                    return self.limited(node);
                }
            }
        }
        self.next.complete()
    }

    fn limited(self, node: &Node<S>) -> Next<Steps<S>> {
        match node.timeout {
            Some(limit) => self.next.timer(timer(node.id), limit),
            None => self.next,
        }
    }

    fn did(&mut self, node: &Node<S>, output: Vec<u8>) {
        self.note(StepEvent::Did {
            step: node.id.to_owned(),
            codec: PayloadCodec::default().id().number(),
            output,
        });
    }

    fn note(&mut self, event: StepEvent<S::Start>) {
        self.state.apply(&event);
        let next = std::mem::replace(&mut self.next, Next::stay());
        self.next = next.record(event);
    }

    pub(super) fn mistaken(self, reason: String) -> Next<Steps<S>> {
        self.next.mistaken(S::NAME, reason)
    }

    fn is_ahead(&self, node: &Node<S>) -> bool {
        !self.state.is_done(node.id) && !self.state.is_skipped(node.id)
    }

    /// The step that is under way.
    fn current(&self) -> Option<&Node<S>> {
        self.definition
            .nodes
            .iter()
            .find(|node| self.is_ahead(node))
    }

    fn is_past_pivot(&self) -> bool {
        let pivot = self
            .definition
            .nodes
            .iter()
            .find(|node| node.kind.is_pivot());
        pivot.is_some_and(|pivot| !self.is_ahead(pivot))
    }
}

fn timer(step: &str) -> String {
    format!("step:{step}")
}

/// The key of a step's effect, or of one of its several.
fn key_of(step: &str, item: Option<usize>) -> String {
    match item {
        Some(item) => format!("{step}[{item}]"),
        None => step.to_owned(),
    }
}

fn split(key: &str) -> (&str, Option<usize>) {
    let several = key.strip_suffix(']').and_then(|key| key.split_once('['));
    match several.and_then(|(id, item)| Some((id, item.parse().ok()?))) {
        Some((id, item)) => (id, Some(item)),
        None => (key, None),
    }
}

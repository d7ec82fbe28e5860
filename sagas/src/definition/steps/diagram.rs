//! A definition, and one instance of it, as a Mermaid diagram.

use std::fmt::Write;

use super::definition::Definition;
use super::effect_key::EffectKey;
use super::node::{Kind, Node};
use super::saga::StepSaga;
use super::state::StepState;
use crate::definition::effect_view::{EffectState, EffectView, UndoState};

/// The colour of a step: how far it has come in an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ahead,
    UnderWay,
    Done,
    Skipped,
    Refused,
    Undone,
    Stuck,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::UnderWay => "underway",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }
}

const CLASSES: &str = "    classDef ahead fill:#eee,stroke:#999
    classDef underway fill:#fff3c4,stroke:#b58900
    classDef done fill:#d5f2d5,stroke:#2e7d32
    classDef skipped fill:#fff,stroke:#bbb,stroke-dasharray:4
    classDef refused fill:#f9d0d0,stroke:#c62828
    classDef undone fill:#dde7f7,stroke:#1565c0
    classDef stuck fill:#c62828,stroke:#7f0000,color:#fff
";

impl<S: StepSaga> Definition<S> {
    /// The steps as a Mermaid flowchart, from top to bottom; dashed what takes them back.
    pub fn to_mermaid(&self) -> String {
        self.draw(|_| None)
    }

    /// The same with the path of one instance marked: what is done, under way, refused, undone, stuck. `effects` are
    /// those of its [`SagaView`](crate::SagaView).
    pub fn to_mermaid_of(&self, state: &StepState<S::Start>, effects: &[EffectView]) -> String {
        let mut drawn = self.draw(|node| Some(mark(node, state, effects)));
        drawn.push_str(CLASSES);
        drawn
    }

    /// The steps that no other comes after.
    fn last(&self) -> impl Iterator<Item = usize> {
        let is_last = |place: &usize| !self.nodes.iter().any(|node| node.after.contains(place));
        (0..self.nodes.len()).filter(is_last)
    }

    fn draw(&self, mark: impl Fn(&Node<S::Start>) -> Option<Mark>) -> String {
        let mut out = String::from("flowchart TD\n    begin([begin])\n");
        for (place, node) in self.nodes.iter().enumerate() {
            let name = format!("s{place}");
            let label = escaped(node.id);
            let shape = match node.kind {
                Kind::Wait => format!("([\"{label}\"])"),
                Kind::Pivot | Kind::Mark => format!("{{{{\"{label}\"}}}}"),
                Kind::External | Kind::ExternalEach => format!("[/\"{label}\"/]"),
                Kind::Child => format!("[[\"saga {label}\"]]"),
                Kind::Each | Kind::ThenEach | Kind::Turns => format!("[[\"{label}\"]]"),
                Kind::Check => format!("{{\"{label}\"}}"),
                Kind::Step | Kind::Undo | Kind::Then => format!("[\"{label}\"]"),
            };
            // Writing to a text does not fail.
            let _ = writeln!(out, "    {name}{shape}");
            if node.after.is_empty() {
                let _ = writeln!(out, "    begin --> {name}");
            }
            for before in &node.after {
                let _ = writeln!(out, "    s{before} --> {name}");
            }
            if let Some(limit) = node.limit {
                let _ = writeln!(out, "    {name} -. \"after {limit:?}\" .-> undo");
            }
            if let Some(after) = node.look_after {
                let _ = writeln!(out, "    {name} -. \"after {after:?}\" .-> person");
            }
            if node.alternative.is_some() {
                let _ = writeln!(out, "    {name} -. \"or else\" .-> {name}");
            }
            if node.undo.is_some() || node.kind == Kind::Undo {
                let _ = writeln!(out, "    undo -.-> {name}");
            }
            if let Some(mark) = mark(node) {
                let _ = writeln!(out, "    class {name} {}", mark.class());
            }
        }
        for last in self.last() {
            let _ = writeln!(out, "    s{last} --> done([done])");
        }
        let _ = writeln!(out, "    undo([undo])");
        if self.nodes.iter().any(|node| node.look_after.is_some()) {
            let _ = writeln!(out, "    person([a person])");
        }
        out
    }
}

fn mark<T>(node: &Node<T>, state: &StepState<T>, effects: &[EffectView]) -> Mark {
    let of_step = |effect: &&EffectView| EffectKey::read(&effect.spec.key).step == node.id;
    let own: Vec<_> = effects.iter().filter(of_step).collect();
    let any = |is: fn(&EffectView) -> bool| own.iter().any(|effect| is(effect));
    if any(|effect| {
        matches!(effect.undo, UndoState::Stuck { .. })
            || matches!(effect.state, EffectState::Parked { .. })
    }) {
        Mark::Stuck
    } else if any(|effect| effect.undo == UndoState::Undone) {
        Mark::Undone
    } else if state.is_skipped(node.id) {
        Mark::Skipped
    } else if state.is_done(node.id) {
        Mark::Done
    } else if any(|effect| effect.is_under_way()) {
        Mark::UnderWay
    } else if any(|effect| effect.state == EffectState::Rejected) {
        Mark::Refused
    } else if own.is_empty() {
        Mark::Ahead
    } else {
        Mark::UnderWay
    }
}

/// Mermaid reads `"` as the end of a label, and `#` as the begin of an entity.
fn escaped(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;")
}

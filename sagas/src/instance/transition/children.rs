//! Children: how an instance is begun by another, and what that other hears of it.

use chronicler_store::codec::CodecId;

use super::refusal::SagaRefusal;
use super::step::Step;
use crate::definition::answer::Answer;
use crate::definition::effect_view::{EffectState, EffectView};
use crate::definition::input::{Input, Message};
use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::definition::terms::Orphan;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, Parent, StalledInput};
use crate::instance::occupancy::Occupancy;
use crate::instance::reason::cut;
use crate::instance::status::Ending;

impl<S: Saga> Step<'_, S> {
    /// Begins it as the child of another. Begun before by the same, it goes on as it is.
    pub(super) fn begin(
        &mut self,
        parent: Parent,
        start: Payload,
        occupies: Option<Occupancy>,
    ) -> Result<(), SagaRefusal> {
        let is_new = !self.has_begun();
        match is_new {
            true => self.enter_child(parent, &start),
            false => self.is_child_of(&parent)?,
        }
        // One that an earlier release began has its place from now on.
        if let Some(occupies) = occupies
            && self.state.is_open()
            && self.state.occupies.is_none()
        {
            self.enter(Entry::Occupies(occupies));
        }
        if !is_new {
            return Ok(());
        }
        self.cut_cycle();
        let stalled = StalledInput::begin(&start);
        let message = Message {
            name: String::new(),
            payload: start,
        };
        self.input(Input::Begin(message), stalled);
        Ok(())
    }

    /// Who began it wants it undone. If its beginning has not come yet, it never will have.
    pub(super) fn end_child(
        &mut self,
        parent: Parent,
        reason: String,
        is_spared: bool,
    ) -> Result<(), SagaRefusal> {
        if !self.has_begun() {
            self.enter_child(parent, &Payload::new(CodecId::RAW, Vec::new()));
            self.finish(Ending::Compensated { reason });
            return Ok(());
        }
        self.is_child_of(&parent)?;
        if is_spared {
            return Ok(());
        }
        match self.cancel(reason, parent.stream) {
            // It ends, or goes on to its end: whichever it is, it is reported.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn enter_child(&mut self, parent: Parent, start: &Payload) {
        if !self.state.is_started() {
            let saga_version = S::VERSION;
            self.enter(Entry::Started { saga_version });
        }
        self.enter(Entry::Child {
            parent,
            codec: start.codec().number(),
            start: start.bytes().to_vec(),
        });
    }

    fn is_child_of(&self, parent: &Parent) -> Result<(), SagaRefusal> {
        match &self.state.parent {
            Some(own) if own.stream == parent.stream && own.effect == parent.effect => Ok(()),
            _ => Err(SagaRefusal::StartedBefore),
        }
    }

    /// The child of an effect goes its way.
    pub(super) fn begun(&mut self, effect: u32, was_to_end: bool) {
        if self.state.pending(Action::of(effect)).is_none() {
            return;
        }
        self.enter(Entry::Begun { effect });
        if was_to_end || !self.state.is_compensating() {
            return;
        }
        // It was begun while this began to be compensated.
        let orphan = self.state.effect(effect).map(|view| view.terms.orphan);
        match orphan.unwrap_or_default() {
            Orphan::Wait => {}
            Orphan::Abandon => {
                let answer = Answer::rejected(&"it was left alone");
                self.enter(Entry::Answered { effect, answer });
            }
            Orphan::Cancel => self.end_effect(effect),
        }
    }

    /// Has the child of an effect told to end.
    pub(super) fn end_effect(&mut self, effect: u32) {
        let by = "compensation".to_owned();
        self.enter(Entry::Unparked {
            action: Action::of(effect),
            by,
        });
        self.due.push(Action::of(effect));
    }

    /// A child that was about to be begun when this began to be compensated is not begun any more.
    pub(super) fn forgo_child(&mut self, effect: u32) {
        let is_pending = self.state.pending(Action::of(effect)).is_some();
        if is_pending && self.state.is_compensating() {
            self.end_effect(effect);
        }
    }

    /// The child of an effect waits for room.
    pub(super) fn await_room(&mut self, effect: u32, reason: String) {
        let is_known = self
            .state
            .effect(effect)
            .is_some_and(EffectView::is_awaiting_room);
        if !is_known {
            self.enter(Entry::AwaitsRoom { effect, reason });
        }
    }

    /// Has the children that are awaited asked whether they have ended.
    pub(super) fn ask_children(&mut self) {
        for effect in self.state.effects.indices() {
            let state = self.state.effect(effect).map(|effect| &effect.state);
            if state == Some(&EffectState::Awaited) && self.state.paused.is_none() {
                let by = "a start".to_owned();
                self.enter(Entry::Unparked {
                    action: Action::of(effect),
                    by,
                });
            }
        }
    }

    /// What its end means for the saga that began it. One that did things and did not undo them is for a person.
    pub(crate) fn reported(ending: &Ending) -> Result<Answer, String> {
        match ending {
            Ending::Completed => Ok(Answer::done(&())),
            Ending::Compensated { reason } => Ok(Answer::rejected(reason)),
            other => Err(format!(
                "its child {}: {}; what it did was not undone",
                other.word(),
                cut(other.reason().unwrap_or_default().to_owned())
            )),
        }
    }

    /// A child has ended.
    pub(super) fn child_ended(&mut self, effect: u32, ending: &Ending) {
        match Self::reported(ending) {
            Ok(answer) => self.answer(Action::of(effect), answer),
            Err(reason) => {
                let state = self.state.effect(effect).map(|effect| &effect.state);
                if matches!(
                    state,
                    Some(EffectState::Pending { .. } | EffectState::Awaited)
                ) {
                    self.enter(Entry::Parked { effect, reason });
                }
            }
        }
    }
}

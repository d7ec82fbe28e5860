//! The decision of a saga.

use std::fmt::{self, Debug};
use std::time::Duration;

use chronicler_domain::{Aggregate, Timestamp};
use serde::Serialize;

use crate::definition::directive::{Directive, When};
use crate::definition::effect::{EffectSpec, Request, Undo};
use crate::definition::error::DefinitionError;
use crate::definition::requests::{call, child, request};
use crate::definition::saga::Saga;
use crate::definition::terms::{Orphan, Terms, Tries};

/// A decision: everything that a saga does next. All of it is committed together with the input, before any of it is done.
#[must_use = "a decision that is not returned is not taken"]
pub struct Next<S: Saga> {
    pub(crate) directives: Vec<Directive<S::Event>>,
    /// What cannot be done as it was written; the instance is quarantined with it.
    pub(crate) mistake: Option<String>,
}

/// Equal decisions do the same, in the same order. For tests.
impl<S: Saga> PartialEq for Next<S>
where
    S::Event: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.directives == other.directives && self.mistake == other.mistake
    }
}

impl<S: Saga> Debug for Next<S>
where
    S::Event: Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(&self.directives);
        if let Some(mistake) = &self.mistake {
            list.entry(&format_args!("mistake: {mistake}"));
        }
        list.finish()
    }
}

impl<S: Saga> Next<S> {
    /// What is remembered, in order.
    pub fn recorded(&self) -> impl Iterator<Item = &S::Event> {
        self.directives
            .iter()
            .filter_map(|directive| match directive {
                Directive::Record(event) => Some(event),
                _ => None,
            })
    }

    /// Nothing: the input was consumed.
    pub fn stay() -> Self {
        Self {
            directives: Vec::new(),
            mistake: None,
        }
    }

    /// Remember this.
    pub fn record(mut self, event: S::Event) -> Self {
        self.directives.push(Directive::Record(event));
        self
    }

    /// Send a command to an aggregate of this application, under the saga's tenant. `key` is what its outcome
    /// comes back under.
    pub fn send<A: Aggregate>(
        self,
        key: impl Into<String>,
        id: impl AsRef<str>,
        command: A::Command,
    ) -> Self {
        let key = key.into();
        let made = request::<A>(id.as_ref(), &command);
        self.made(key, made, Self::effect)
    }

    /// How the command just added is taken back: by another command.
    pub fn undo<A: Aggregate>(self, id: impl AsRef<str>, command: A::Command) -> Self {
        match request::<A>(id.as_ref(), &command) {
            Ok(request) => self.undone_by(Undo {
                if_done: request,
                if_unknown: None,
            }),
            Err(error) => self.mistaken("undo", error.to_string()),
        }
    }

    /// Call a service outside of the process. The effect's id is its idempotency key.
    pub fn call<T: Serialize>(self, key: impl Into<String>, service: &str, request: &T) -> Self {
        let key = key.into();
        let made = call(service, request);
        self.made(key, made, Self::effect)
    }

    /// How the call just added is taken back: by another call, which differs by whether the first is known to
    /// have been done.
    pub fn undo_call<T: Serialize>(self, service: &str, if_done: &T, if_unknown: &T) -> Self {
        match (call(service, if_done), call(service, if_unknown)) {
            (Ok(if_done), Ok(if_unknown)) => self.undone_by(Undo {
                if_done,
                if_unknown: Some(if_unknown),
            }),
            (Err(error), _) | (_, Err(error)) => self.mistaken("undo", error.to_string()),
        }
    }

    /// Arm a timer, or move it if it is armed. The key must not contain NUL.
    pub fn timer(self, key: impl Into<String>, after: Duration) -> Self {
        self.arm(key.into(), When::After(after))
    }

    /// Arm a timer for a point in time, or move it if it is armed.
    pub fn timer_at(self, key: impl Into<String>, at: Timestamp) -> Self {
        self.arm(key.into(), When::At(at))
    }

    /// Disarm a timer; nothing happens if it is not armed.
    pub fn cancel_timer(mut self, key: impl Into<String>) -> Self {
        self.directives.push(Directive::Disarm { key: key.into() });
        self
    }

    /// How an effect that was decided earlier, the latest under this key, is taken back: by a command. Replaces
    /// what was decided about it before; so an undo can use the outcome of what it undoes. If compensation can begin
    /// before that outcome comes, say it in [`Saga::on_late`], too.
    pub fn undo_of<A: Aggregate>(
        self,
        key: impl Into<String>,
        id: impl AsRef<str>,
        command: A::Command,
    ) -> Self {
        let key = key.into();
        let made = request::<A>(id.as_ref(), &command);
        self.made(key, made, Self::undone_later)
    }

    /// The same by a call, for an effect that is a call and is known to have been done.
    pub fn undo_call_of<T: Serialize>(
        self,
        key: impl Into<String>,
        service: &str,
        request: &T,
    ) -> Self {
        let key = key.into();
        let made = call(service, request);
        self.made(key, made, Self::undone_later)
    }

    /// The effect just added decides whether the saga can still be undone. Until its outcome is known nobody can
    /// cancel it. Return [`pivot`](Self::pivot) when it was done. Of several such effects the first that is done is the
    /// pivot. Without an effect just before it is a mistake, which quarantines the instance.
    pub fn pivoting(mut self) -> Self {
        if self.terms_just_added().is_none() {
            let reason = "there is no effect just before this that it could be said of";
            return self.mistaken("pivoting", reason.to_owned());
        }
        self.directives.push(Directive::Pivoting);
        self
    }

    /// How often the effect just added is tried, instead of what [`SagaOptions`](crate::SagaOptions) says. For a call
    /// this holds for unknown outcomes, too.
    pub fn tries(self, tries: Tries) -> Self {
        self.terms(|terms| terms.tries = Some(tries))
    }

    /// How often the undo of the effect just added is tried.
    pub fn undo_tries(self, tries: Tries) -> Self {
        self.terms(|terms| terms.undo_tries = Some(tries))
    }

    /// How long one attempt of the call just added may take; then its outcome is unknown.
    pub fn patience(self, patience: Duration) -> Self {
        self.terms(|terms| terms.patience = Some(patience))
    }

    /// At most so many effects that need this resource are under way at a time in this process, the effect just added
    /// being one of them; the others wait. Of several limits the one that was decided last holds, also for those that wait
    /// already; it is at least 1.
    ///
    /// Said of a child ([`start`](Self::start)), at most so many children that were begun under this name are alive at a time,
    /// from their beginning to their end, also over a restart. One that has to wait is begun when another has ended, and
    /// until then the saga says so (`SagaStatus::Waiting`, room at this name). No child that waits is begun by a
    /// compensation; to be cancelled or undone takes no room.
    ///
    /// Children have room of their own: a call and a child under one name do not wait for each other, so that what a child
    /// does under the name of its own limit goes on. A child must not begin children under that name: it could wait for its
    /// own end, and such a decision quarantines it. Children that wait for each other across several names are seen, and wait
    /// until a person ends one.
    pub fn at_most(self, count: u32, resource: impl Into<String>) -> Self {
        let resource = (resource.into(), count.max(1));
        self.terms(|terms| terms.resource = Some(resource))
    }

    /// The effect just added lies on this branch of this fork: its undo may run beside those of other branches.
    pub fn on_branch(self, fork: u32, branch: u32) -> Self {
        self.terms(|terms| terms.branch.push((fork, branch)))
    }

    /// Everything that these decide is decided as one: their effects are undone side by side.
    pub fn together(self, all: impl IntoIterator<Item = Self>) -> Self {
        let all = all.into_iter().fold(Self::stay(), Self::and);
        let is_effect =
            |directive: &&Directive<S::Event>| matches!(directive, Directive::Effect(_));
        let count = all.directives.iter().filter(is_effect).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.and(all).were_together(count)
    }

    /// So many effects, those just added, were decided as one.
    pub(crate) fn were_together(mut self, count: u32) -> Self {
        self.directives.push(Directive::Together(count));
        self
    }

    /// Begin an instance of another saga, as a child: a saga of steps with its [`Start`](crate::steps::StepSaga::Start), any
    /// other with what it looks for in [`Input::Begin`](crate::Input::Begin). The effect is done when the child is
    /// completed, and rejected with the reason, a text, when it was compensated. One that ended otherwise did things that
    /// were not undone: the effect is parked, for a person. The saga has to say
    /// [`Routes::child`](crate::Routes::child).
    pub fn start<C: Saga>(
        self,
        key: impl Into<String>,
        id: impl AsRef<str>,
        start: &impl Serialize,
    ) -> Self {
        let key = key.into();
        let made = child(C::NAME, id.as_ref(), start);
        self.made(key, made, Self::effect)
    }

    /// What becomes of the child just added if this saga is compensated before the child has ended.
    pub fn orphan(self, orphan: Orphan) -> Self {
        self.terms(|terms| terms.orphan = orphan)
    }

    /// A person should look at it, for this reason; it goes on.
    pub fn escalate(mut self, reason: impl Into<String>) -> Self {
        self.directives
            .push(Directive::Escalate(Some(reason.into())));
        self
    }

    /// Nobody need look at it any more.
    pub fn deescalate(mut self) -> Self {
        self.directives.push(Directive::Escalate(None));
        self
    }

    /// Continues the instance as new, under its id: it forgets what it knows, its state is the default one, and `start` is
    /// the first event of its new life. For instances that live long: what they hold, and what a snapshot of them holds,
    /// grows with what they decide.
    ///
    /// What was done is done: settled effects are forgotten with their undos, and no compensation of the new life takes
    /// them back; a pivot of the old life counts no more. What is not settled is carried over: effects that are under way,
    /// wait for an attempt or for a person, children whose end is awaited, timers, and inputs that wait. Their answers come
    /// to the new life. Refused, as a mistake that quarantines the instance, while it is being compensated or its pivot is
    /// under way, and together with an end or a compensation in one decision.
    pub fn continue_as_new(mut self, start: S::Event) -> Self {
        self.directives.push(Directive::ContinueAsNew);
        self.record(start)
    }

    /// From here on the saga only goes forward: neither it nor anybody else can compensate it.
    pub fn pivot(mut self) -> Self {
        self.directives.push(Directive::Pivot);
        self
    }

    /// Run the undos of everything that was done, the latest first. Refused after the pivot.
    pub fn compensate(mut self, reason: impl Into<String>) -> Self {
        self.directives.push(Directive::Compensate {
            reason: reason.into(),
        });
        self
    }

    /// It cannot take this input, for this reason, and decides nothing. Somebody who said it as a signal is refused; a signal
    /// that waited, and cannot be taken any more when its turn comes, is recorded as refused, and the saga goes on. After any
    /// other input the instance is quarantined.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self {
            directives: Vec::new(),
            mistake: Some(reason.into()),
        }
    }

    /// The process has done what it was for. Said of a saga that was undone, on
    /// [`Input::Compensated`](crate::Input::Compensated), it ends as what it is: compensated, or abandoned.
    pub fn complete(mut self) -> Self {
        self.directives.push(Directive::Complete);
        self
    }

    /// The process ends without having done what it was for, and without undoing anything. A saga that was undone by then,
    /// on [`Input::Compensated`](crate::Input::Compensated), ends as what it is: compensated, for the reason for which it was
    /// undone, or abandoned.
    pub fn fail(mut self, reason: impl Into<String>) -> Self {
        self.directives.push(Directive::Fail {
            reason: reason.into(),
        });
        self
    }

    /// This and then that.
    pub fn and(mut self, other: Self) -> Self {
        self.directives.extend(other.directives);
        self.mistake = self.mistake.or(other.mistake);
        self
    }

    pub(crate) fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        let Some(place) = self.terms_just_added() else {
            let reason = "there is no effect just before this that it could be said of";
            return self.mistaken("terms", reason.to_owned());
        };
        if let Some(Directive::Terms(terms)) = self.directives.get_mut(place) {
            change(terms);
            return self;
        }
        let mut terms = Box::<Terms>::default();
        change(&mut terms);
        self.directives.insert(place, Directive::Terms(terms));
        self
    }

    /// Where the terms of the effect just added are, or would be: right after it. `None` if no effect was just added.
    fn terms_just_added(&self) -> Option<usize> {
        let of_effect = |directive: &Directive<S::Event>| {
            matches!(directive, Directive::Terms(_) | Directive::Pivoting)
        };
        let said = self
            .directives
            .iter()
            .rev()
            .take_while(|last| of_effect(last));
        let place = self.directives.len() - said.count();
        let effect = self.directives.get(place.checked_sub(1)?)?;
        matches!(effect, Directive::Effect(_)).then_some(place)
    }

    fn arm(mut self, key: String, when: When) -> Self {
        if key.contains('\0') {
            let reason = "a timer's key must not contain NUL".to_owned();
            return self.mistaken(&key, reason);
        }
        self.directives.push(Directive::Arm { key, when });
        self
    }

    pub(crate) fn effect(mut self, key: String, request: Request) -> Self {
        self.directives.push(Directive::Effect(Box::new(EffectSpec {
            key,
            request,
            undo: None,
        })));
        self
    }

    /// Adds what could be made, or the reason why it could not.
    fn made(
        self,
        key: String,
        made: Result<Request, DefinitionError>,
        add: impl FnOnce(Self, String, Request) -> Self,
    ) -> Self {
        match made {
            Ok(request) => add(self, key, request),
            Err(error) => self.mistaken(&key, error.to_string()),
        }
    }

    pub(crate) fn undone_later(mut self, key: String, request: Request) -> Self {
        let undo = Box::new(Undo {
            if_done: request,
            if_unknown: None,
        });
        self.directives.push(Directive::UndoOf { key, undo });
        self
    }

    /// The event came before the one that begins the instance, and is kept until that comes.
    pub(crate) fn came_early() -> Self {
        let mut next = Self::stay();
        next.directives.push(Directive::CameEarly);
        next
    }

    /// The instance has begun: what was kept for that is taken up, after this decision.
    pub(crate) fn take_up_early(mut self) -> Self {
        self.directives.push(Directive::TakeUpEarly);
        self
    }

    /// Whoever was asked says that the latest effect under this key was done.
    pub(crate) fn found_done(mut self, key: String) -> Self {
        self.directives.push(Directive::FoundDone { key });
        self
    }

    pub(crate) fn undone_by(mut self, undo: Undo) -> Self {
        let latest = self
            .directives
            .iter_mut()
            .rev()
            .find_map(|directive| match directive {
                Directive::Effect(effect) => Some(effect),
                _ => None,
            });
        match latest {
            Some(effect)
                if effect.undo.is_none()
                    && effect.request.is_call() == undo.if_unknown.is_some() =>
            {
                effect.undo = Some(undo);
                self
            }
            Some(effect) => {
                let reason = "it has an undo already, or one of the other kind".to_owned();
                let key = effect.key.clone();
                self.mistaken(&key, reason)
            }
            None => self.mistaken("undo", "there is no effect that it belongs to".to_owned()),
        }
    }

    pub(crate) fn mistaken(mut self, key: &str, reason: String) -> Self {
        self.mistake
            .get_or_insert(format!("effect {key:?}: {reason}"));
        self
    }
}

//! The aggregates: they do what they are told, and what they did is a ledger.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use super::seed;

/// How many things there are.
pub(crate) const THINGS: u64 = 3;

/// One thing that one saga wants done, named by its decision: what is done twice under one name was done twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Act {
    /// The saga and its instance, see [`actor`].
    pub(crate) saga: String,
    pub(crate) what: String,
    /// Whether it is to be taken back when the saga is compensated.
    pub(crate) is_taken_back: bool,
}

impl Act {
    /// The thing that it is done to.
    pub(crate) fn target(&self) -> String {
        format!("x{}", seed::chance(("target", self)).below(THINGS))
    }
}

/// What the id of an instance ends with that was forked from another.
pub(crate) const FORK: &str = "~f";

/// Whose acts an instance does: its own, or those of the one that it was forked from.
pub(crate) fn actor(saga: &str, id: &str) -> String {
    format!("{saga}/{}", id.strip_suffix(FORK).unwrap_or(id))
}

/// How an event goes to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Start,
    Resume,
    Either,
}

/// Whom an event is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addressee {
    /// The name of the saga.
    pub(crate) saga: String,
    pub(crate) id: String,
    pub(crate) how: How,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ThingCommand {
    Do(Act),
    Undo(Act),
    /// Says something to instances of sagas.
    Tell {
        number: u64,
        to: Vec<Addressee>,
    },
    /// From here on it refuses everything, or no more.
    Balk(bool),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ThingEvent {
    Did(Act),
    Undid(Act),
    Told { number: u64, to: Vec<Addressee> },
    Balked(bool),
}

impl Event for ThingEvent {}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0:?} is refused")]
pub(crate) struct Refused(pub(crate) String);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Thing {
    balks: bool,
    did: u64,
}

impl Aggregate for Thing {
    const CATEGORY: &'static str = "thing";
    type Command = ThingCommand;
    type Event = ThingEvent;
    /// How much it did.
    type Reply = u64;
    type Rejection = Refused;

    fn decide(&self, command: ThingCommand, _: &Context) -> Decided<Self> {
        let event = match command {
            ThingCommand::Do(act) | ThingCommand::Undo(act) if self.balks => {
                return Err(Refused(act.what));
            }
            ThingCommand::Do(act) if seed::chance(("refused", &act)).one_in(9) => {
                return Err(Refused(act.what));
            }
            ThingCommand::Do(act) => {
                seed::pass("decide", &act);
                ThingEvent::Did(act)
            }
            ThingCommand::Undo(act) if seed::chance(("kept", &act)).one_in(20) => {
                return Err(Refused(act.what));
            }
            ThingCommand::Undo(act) => {
                seed::pass("decide", &act);
                ThingEvent::Undid(act)
            }
            ThingCommand::Tell { number, to } => ThingEvent::Told { number, to },
            ThingCommand::Balk(balks) => ThingEvent::Balked(balks),
        };
        Ok(Decision::event(event).reply(self.did + 1))
    }

    fn evolve(&mut self, event: &ThingEvent) {
        match event {
            ThingEvent::Did(act) => {
                seed::pass("fold", act);
                self.did += 1;
            }
            ThingEvent::Balked(balks) => self.balks = *balks,
            ThingEvent::Undid(_) | ThingEvent::Told { .. } => {}
        }
    }
}

/// One that refuses nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Willing;

impl Aggregate for Willing {
    const CATEGORY: &'static str = "willing";
    type Command = Act;
    type Event = ThingEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, act: Act, _: &Context) -> Decided<Self> {
        Ok(ThingEvent::Did(act).into())
    }

    fn evolve(&mut self, _: &ThingEvent) {}
}

/// Where an event goes among the instances of a saga.
pub(crate) fn addressed(saga: &str, event: &ThingEvent) -> Vec<(String, How)> {
    match event {
        ThingEvent::Told { to, .. } => {
            let to = to.iter().filter(|to| to.saga == saga);
            to.map(|to| (to.id.clone(), to.how)).collect()
        }
        // Some hear of what they did themselves.
        ThingEvent::Did(act) if seed::chance(("echo", act)).one_in(5) => {
            let found = act.saga.split_once('/').filter(|(name, _)| *name == saga);
            found
                .map(|(_, id)| (id.to_owned(), How::Resume))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The same as a route, by code that can be broken.
pub(crate) fn route(saga: &str, event: &ThingEvent, position: u64) -> Route {
    let addressed = addressed(saga, event);
    if !addressed.is_empty() {
        seed::pass_route(saga, position);
    }
    Route::each(addressed.into_iter().map(|(id, how)| match how {
        How::Start => Route::start(id),
        How::Resume => Route::resume(id),
        How::Either => Route::start_or_resume(id),
    }))
}

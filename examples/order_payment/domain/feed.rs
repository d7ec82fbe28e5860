//! How far a source was read: the durable cursor of a replay.

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a cursor can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedCommand {
    /// Begin a replay, or go on with the same one. The terms are what must not change between two runs.
    Begin { terms: String },
    /// Everything up to here was taken in and is durable. Earlier ones change nothing.
    Advance { through: u64 },
}

/// What can have happened to a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedEvent {
    Begun { terms: String },
    Advanced { through: u64 },
}

impl Event for FeedEvent {}

/// Why a cursor says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FeedRejection {
    #[error("this data was made by another replay: {terms}")]
    OtherTerms { terms: String },
    #[error("no replay was begun")]
    NotBegun,
}

/// What a cursor must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    terms: Option<String>,
    through: u64,
}

impl Aggregate for Feed {
    const CATEGORY: &'static str = "feed";

    type Command = FeedCommand;
    type Event = FeedEvent;
    /// How many messages were taken in.
    type Reply = u64;
    type Rejection = FeedRejection;

    fn decide(&self, command: FeedCommand, _: &Context) -> Decided<Self> {
        match (command, &self.terms) {
            (FeedCommand::Begin { terms }, None) => {
                Ok(Decision::event(FeedEvent::Begun { terms }).reply(0))
            }
            (FeedCommand::Begin { terms }, Some(before)) if terms == *before => {
                Ok(Decision::nothing().reply(self.through))
            }
            (FeedCommand::Begin { .. }, Some(before)) => Err(FeedRejection::OtherTerms {
                terms: before.clone(),
            }),
            (FeedCommand::Advance { .. }, None) => Err(FeedRejection::NotBegun),
            (FeedCommand::Advance { through }, Some(_)) if through <= self.through => {
                Ok(Decision::nothing().reply(self.through))
            }
            (FeedCommand::Advance { through }, Some(_)) => {
                Ok(Decision::event(FeedEvent::Advanced { through }).reply(through))
            }
        }
    }

    fn evolve(&mut self, event: &FeedEvent) {
        match event {
            FeedEvent::Begun { terms } => self.terms = Some(terms.clone()),
            FeedEvent::Advanced { through } => self.through = *through,
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_testkit::given;

    use super::*;

    fn begin(terms: &str) -> FeedCommand {
        FeedCommand::Begin {
            terms: terms.into(),
        }
    }

    #[test]
    fn a_replay_goes_on_where_it_was() {
        given::<Feed>([])
            .when(begin("stock 5"))
            .then_accepted()
            .and_reply(0)
            .and_then()
            .when(FeedCommand::Advance { through: 7 })
            .then_events([FeedEvent::Advanced { through: 7 }])
            .and_then()
            .when(FeedCommand::Advance { through: 3 })
            .then_events([])
            .and_then()
            .when(begin("stock 5"))
            .then_events([])
            .and_reply(7);
    }

    #[test]
    fn another_replay_does_not_mix_in() {
        given::<Feed>([FeedEvent::Begun {
            terms: "stock 5".into(),
        }])
        .when(begin("stock 6"))
        .then_rejected(FeedRejection::OtherTerms {
            terms: "stock 5".into(),
        });
    }
}

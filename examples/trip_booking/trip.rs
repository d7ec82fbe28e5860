//! A trip as its traveller sees it: asked for, then booked or called off.

use std::fmt;

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use crate::places::Part;

/// What a traveller wants: the ids of a flight, a hotel and a car.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) flight: String,
    pub(crate) hotel: String,
    pub(crate) car: String,
}

/// Why a trip does not take place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// There was no place left.
    FullyBooked { part: Part },
    /// A person said no.
    Denied { by: String },
    /// Nobody said anything in time.
    NotApprovedInTime,
    /// Somebody called it off.
    CalledOff { by: String, reason: String },
    /// Something that has nothing to do with trips.
    Failed { reason: String },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FullyBooked { part } => write!(f, "the {part} is fully booked"),
            Self::Denied { by } => write!(f, "{by} did not approve it"),
            Self::NotApprovedInTime => f.write_str("nobody approved it in time"),
            Self::CalledOff { by, reason } => write!(f, "{by} called it off: {reason}"),
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}

/// A trip. It never says no: what comes of it is told by the places and the people who approve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trip {
    #[default]
    Unknown,
    Requested {
        plan: Plan,
    },
    Booked {
        plan: Plan,
        cents: i64,
        /// Who approved it, if somebody had to.
        approved_by: Option<String>,
    },
    Cancelled {
        plan: Plan,
        why: Why,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum TripCommand {
    Request(Plan),
    Confirm {
        cents: i64,
        approved_by: Option<String>,
    },
    Cancel(Why),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TripEvent {
    Requested(Plan),
    Confirmed {
        cents: i64,
        approved_by: Option<String>,
    },
    Cancelled(Why),
}

impl Event for TripEvent {}

impl Aggregate for Trip {
    const CATEGORY: &'static str = "trip";
    type Command = TripCommand;
    type Event = TripEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: TripCommand, _: &Context) -> Decided<Self> {
        Ok(match (command, self) {
            (TripCommand::Request(plan), Self::Unknown) => TripEvent::Requested(plan).into(),
            (TripCommand::Confirm { cents, approved_by }, Self::Requested { .. }) => {
                TripEvent::Confirmed { cents, approved_by }.into()
            }
            (TripCommand::Cancel(why), Self::Requested { .. }) => TripEvent::Cancelled(why).into(),
            _ => Decision::nothing(),
        })
    }

    fn evolve(&mut self, event: &TripEvent) {
        *self = match (std::mem::take(self), event.clone()) {
            (_, TripEvent::Requested(plan)) => Self::Requested { plan },
            (Self::Requested { plan }, TripEvent::Confirmed { cents, approved_by }) => {
                Self::Booked {
                    plan,
                    cents,
                    approved_by,
                }
            }
            (Self::Requested { plan }, TripEvent::Cancelled(why)) => Self::Cancelled { plan, why },
            (ended, _) => ended,
        };
    }
}

//! How a trip is booked: flight, hotel and car at once; then, if it is dear, a person approves it in time; or nothing of
//! it stays booked.

use std::collections::BTreeMap;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::{EffectAnswer, Message};
use serde::{Deserialize, Serialize};

use crate::places::{Car, Flight, Hotel, Part, PlacesCommand};
use crate::trip::{Plan, Trip, TripCommand, TripEvent, Why};

/// The name of the signal that somebody approves a trip or does not, and of the timer that ends the wait for it.
pub(crate) const APPROVAL: &str = "approval";
/// What is shown of a trip that waits for it.
pub(crate) const WAITS_FOR: &str = "the approval";

/// Books trips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TripBooking {
    /// A trip that costs more than this is approved by a person.
    pub(crate) free_up_to_cents: i64,
    /// Who approves has so long from when everything is booked.
    pub(crate) approved_within: Duration,
}

/// What a person says about a trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Approved { by: String },
    Denied { by: String },
}

/// How far a trip is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    #[default]
    NotBegun,
    /// Its parts are being booked.
    Booking {
        /// Those that are, and for how much.
        prices: BTreeMap<Part, i64>,
        /// What was said about it before anybody was asked.
        said: Option<Word>,
    },
    /// All of it is booked, and a person has to approve it.
    AwaitingApproval { cents: i64 },
    /// It takes place.
    Confirmed,
    /// It does not, and what was booked is given back.
    GivenUp { why: Why },
}

/// What happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Noted {
    Begun,
    PartBooked { part: Part, cents: i64 },
    Said(Word),
    ApprovalAsked { cents: i64 },
    Confirmed,
    GivenUp { why: Why },
}

impl Event for Noted {}

impl Saga for TripBooking {
    const NAME: &'static str = "trip-booking";
    type State = Progress;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Trip>(|event, info| match event {
            TripEvent::Requested(_) => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, progress: &Progress, input: &Input, ctx: &SagaContext) -> Next<Self> {
        match (progress, input) {
            (Progress::NotBegun, Input::Event(_)) => match input.event::<Trip>() {
                Some(TripEvent::Requested(plan)) => book(&ctx.id, plan),
                _ => Next::stay(),
            },
            (Progress::Booking { prices, said }, Input::Answer(outcome)) => {
                self.booked(&ctx.id, prices, said.as_ref(), outcome)
            }
            (Progress::Booking { .. }, Input::Signal(said)) => {
                hear(said, |word| Next::stay().record(Noted::Said(word)))
            }
            (Progress::AwaitingApproval { cents }, Input::Signal(said)) => {
                hear(said, |word| decided(&ctx.id, *cents, &word))
            }
            (Progress::AwaitingApproval { .. }, Input::Timer(key)) if key == APPROVAL => {
                give_up(Why::NotApprovedInTime)
            }
            (Progress::Confirmed, Input::Answer(outcome)) if outcome.is_done() => {
                Next::stay().complete()
            }
            // It is compensated whatever is decided here, so there is only something to note.
            (_, Input::Cancelled { by, reason }) => {
                let (by, reason) = (by.clone(), reason.clone());
                let why = Why::CalledOff { by, reason };
                Next::stay().record(Noted::GivenUp { why })
            }
            (_, Input::Compensated { reason }) => {
                let why = match progress {
                    Progress::GivenUp { why } => why.clone(),
                    // Its own code failed, and it was not told that somebody cancelled it.
                    _ => Why::Failed {
                        reason: reason.clone(),
                    },
                };
                Next::stay().send::<Trip>("cancel", &ctx.id, TripCommand::Cancel(why))
            }
            // What comes later than it matters, as a second approval; and how the trip took that it was cancelled.
            _ => Next::stay(),
        }
    }

    fn waits_for(&self, progress: &Progress) -> Vec<String> {
        match progress {
            Progress::AwaitingApproval { .. } => vec![WAITS_FOR.to_owned()],
            _ => Vec::new(),
        }
    }

    fn evolve(progress: &mut Progress, event: &Noted) {
        match (event, progress) {
            (Noted::Begun, progress) => {
                *progress = Progress::Booking {
                    prices: BTreeMap::new(),
                    said: None,
                };
            }
            (Noted::PartBooked { part, cents }, Progress::Booking { prices, .. }) => {
                prices.insert(*part, *cents);
            }
            // The first word counts.
            (Noted::Said(word), Progress::Booking { said, .. }) => {
                said.get_or_insert_with(|| word.clone());
            }
            (Noted::ApprovalAsked { cents }, progress) => {
                *progress = Progress::AwaitingApproval { cents: *cents };
            }
            (Noted::Confirmed, progress) => *progress = Progress::Confirmed,
            (Noted::GivenUp { why }, progress) => {
                *progress = Progress::GivenUp { why: why.clone() };
            }
            (Noted::PartBooked { .. } | Noted::Said(_), _) => {}
        }
    }
}

impl TripBooking {
    /// A part of the trip was booked, or is not to be had. With the last one it is known what the trip costs.
    fn booked(
        &self,
        trip: &str,
        prices: &BTreeMap<Part, i64>,
        said: Option<&Word>,
        outcome: &EffectAnswer,
    ) -> Next<Self> {
        let named = |part: &Part| part.name() == outcome.key();
        let Some(part) = Part::ALL.into_iter().find(named) else {
            return Next::stay();
        };
        let answer = match part {
            Part::Flight => outcome.of::<Flight>(),
            Part::Hotel => outcome.of::<Hotel>(),
            Part::Car => outcome.of::<Car>(),
        };
        let cents = match answer {
            Ok(Ok(cents)) => cents,
            Ok(Err(_)) => return give_up(Why::FullyBooked { part }),
            Err(error) => {
                let reason = error.to_string();
                return give_up(Why::Failed { reason });
            }
        };
        let next = Next::stay().record(Noted::PartBooked { part, cents });
        let others = prices.iter().filter(|(other, _)| **other != part);
        if others.clone().count() + 1 < Part::ALL.len() {
            return next;
        }
        let cents = cents + others.map(|(_, cents)| cents).sum::<i64>();
        next.and(match said {
            _ if cents <= self.free_up_to_cents => confirm(trip, cents, None),
            Some(word) => decided(trip, cents, word),
            None => Next::stay()
                .record(Noted::ApprovalAsked { cents })
                .timer(APPROVAL, self.approved_within),
        })
    }
}

/// All three at once: none waits for another, and they are given back side by side.
fn book(trip: &str, plan: &Plan) -> Next<TripBooking> {
    Next::stay().record(Noted::Begun).together([
        one_of::<Flight>(Part::Flight, trip, &plan.flight),
        one_of::<Hotel>(Part::Hotel, trip, &plan.hotel),
        one_of::<Car>(Part::Car, trip, &plan.car),
    ])
}

/// A place of one kind, and how it is given back.
fn one_of<A>(part: Part, trip: &str, id: &str) -> Next<TripBooking>
where
    A: Aggregate<Command = PlacesCommand>,
{
    let trip = trip.to_owned();
    let book = PlacesCommand::Book { trip: trip.clone() };
    Next::stay()
        .send::<A>(part.name(), id, book)
        .undo::<A>(id, PlacesCommand::GiveBack { trip })
}

/// What somebody said, if it can be read. Who says what cannot be read is refused, and the trip waits on.
fn hear(said: &Message, act: impl FnOnce(Word) -> Next<TripBooking>) -> Next<TripBooking> {
    if said.name() != APPROVAL {
        return Next::stay();
    }
    match said.decode() {
        Ok(word) => act(word),
        Err(error) => Next::refuse(format!("what was said cannot be read: {error}")),
    }
}

fn decided(trip: &str, cents: i64, word: &Word) -> Next<TripBooking> {
    match word.clone() {
        Word::Approved { by } => confirm(trip, cents, Some(by)),
        Word::Denied { by } => give_up(Why::Denied { by }),
    }
}

/// From here on it only goes forward, and nobody can cancel it.
fn confirm(trip: &str, cents: i64, approved_by: Option<String>) -> Next<TripBooking> {
    let confirm = TripCommand::Confirm { cents, approved_by };
    Next::stay()
        .record(Noted::Confirmed)
        .cancel_timer(APPROVAL)
        .pivot()
        .send::<Trip>("confirm", trip, confirm)
}

fn give_up(why: Why) -> Next<TripBooking> {
    let reason = why.to_string();
    Next::stay()
        .record(Noted::GivenUp { why })
        .compensate(reason)
}

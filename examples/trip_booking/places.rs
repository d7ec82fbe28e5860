//! What can be booked: the seats of a flight, the rooms of a hotel, the cars of a rental.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

/// A part of a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    Flight,
    Hotel,
    Car,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Flight, Self::Hotel, Self::Car];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Flight => "flight",
            Self::Hotel => "hotel",
            Self::Car => "car",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What makes a type of its own of each kind of place.
pub(crate) trait Kind: Clone + Default + Send + Sync + 'static {
    const PART: Part;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seats;
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms;
#[derive(Clone, Debug, Default)]
pub(crate) struct Cars;

impl Kind for Seats {
    const PART: Part = Part::Flight;
}

impl Kind for Rooms {
    const PART: Part = Part::Hotel;
}

impl Kind for Cars {
    const PART: Part = Part::Car;
}

pub(crate) type Flight = Places<Seats>;
pub(crate) type Hotel = Places<Rooms>;
pub(crate) type Car = Places<Cars>;

/// Places of one kind at one price, and which trip holds one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Places<K> {
    pub(crate) places: u32,
    pub(crate) cents: i64,
    /// By trip: what it pays.
    pub(crate) held: BTreeMap<String, i64>,
    kind: PhantomData<K>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum PlacesCommand {
    /// So many places in all, at this price each. There are never fewer than before.
    Offer {
        places: u32,
        cents: i64,
    },
    Book {
        trip: String,
    },
    /// The trip does not take place. One that holds nothing is no news.
    GiveBack {
        trip: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlacesEvent {
    Offered { places: u32, cents: i64 },
    Booked { trip: String, cents: i64 },
    GivenBack { trip: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("all {places} places are taken")]
pub(crate) struct FullyBooked {
    pub(crate) places: u32,
}

impl Event for PlacesEvent {}

impl<K: Kind> Aggregate for Places<K> {
    const CATEGORY: &'static str = K::PART.name();
    type Command = PlacesCommand;
    type Event = PlacesEvent;
    /// What the trip pays, or would have paid, in cents.
    type Reply = i64;
    type Rejection = FullyBooked;

    fn decide(&self, command: PlacesCommand, _: &Context) -> Decided<Self> {
        let becomes = |event, cents| Ok(Decision::event(event).reply(cents));
        let stays = |cents| Ok(Decision::nothing().reply(cents));
        match command {
            PlacesCommand::Offer { places, cents } if places > self.places => {
                becomes(PlacesEvent::Offered { places, cents }, cents)
            }
            PlacesCommand::Offer { .. } => stays(self.cents),
            PlacesCommand::Book { trip } => match self.held.get(&trip) {
                Some(cents) => stays(*cents),
                None if self.held.len() >= self.places as usize => Err(FullyBooked {
                    places: self.places,
                }),
                None => {
                    let cents = self.cents;
                    becomes(PlacesEvent::Booked { trip, cents }, cents)
                }
            },
            PlacesCommand::GiveBack { trip } => match self.held.get(&trip) {
                Some(cents) => becomes(PlacesEvent::GivenBack { trip }, *cents),
                None => stays(0),
            },
        }
    }

    fn evolve(&mut self, event: &PlacesEvent) {
        match event {
            PlacesEvent::Offered { places, cents } => {
                (self.places, self.cents) = (*places, *cents);
            }
            PlacesEvent::Booked { trip, cents } => {
                self.held.insert(trip.clone(), *cents);
            }
            PlacesEvent::GivenBack { trip } => {
                self.held.remove(trip);
            }
        }
    }
}

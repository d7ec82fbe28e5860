//! Trips made up from a seed, the places they can have, and what a person will say about each.

use sha2::{Digest, Sha256};

use crate::places::{Part, PlacesCommand};
use crate::trip::Plan;

/// How many flights there are, and hotels, and car rentals.
const OF_EACH: u64 = 10;

/// What a person does about a trip that waits for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Approves,
    Denies,
    /// Says nothing until it is too late.
    Forgets,
    /// The traveller is quicker, and calls it off.
    CallsOff,
}

/// The id of trip number `number`, counted from 1.
pub(crate) fn trip_id(seed: u64, number: u64) -> String {
    format!("trip-{seed}-{number:06}")
}

/// What it wants.
pub(crate) fn plan(trip: &str) -> Plan {
    let wanted = |part: Part| place_id(part, chance(trip, part.name()) % OF_EACH);
    Plan {
        flight: wanted(Part::Flight),
        hotel: wanted(Part::Hotel),
        car: wanted(Part::Car),
    }
}

/// What is said about it, should it need approval.
pub(crate) fn mood(trip: &str) -> Mood {
    match chance(trip, "mood") % 20 {
        0..=12 => Mood::Approves,
        13..=15 => Mood::Denies,
        16..=17 => Mood::Forgets,
        _ => Mood::CallsOff,
    }
}

/// What is offered of a part to so many trips: enough seats for most, and not quite enough cars.
pub(crate) fn offers(part: Part, trips: u64) -> impl Iterator<Item = (String, PlacesCommand)> {
    let (percent, cents, step) = match part {
        Part::Flight => (130, 12_000, 9_000),
        Part::Hotel => (115, 20_000, 10_000),
        Part::Car => (100, 5_000, 4_000),
    };
    let places = u32::try_from(trips * percent / 100 / OF_EACH + 1).unwrap_or(u32::MAX);
    (0..OF_EACH).zip(0..).map(move |(number, dearer)| {
        let cents = cents + dearer * step;
        (
            place_id(part, number),
            PlacesCommand::Offer { places, cents },
        )
    })
}

/// The ids of all flights, hotels or car rentals.
pub(crate) fn place_ids(part: Part) -> impl Iterator<Item = String> {
    (0..OF_EACH).map(move |number| place_id(part, number))
}

fn place_id(part: Part, number: u64) -> String {
    format!("{part}-{number}")
}

/// A number by chance, the same whenever it is asked for.
fn chance(trip: &str, what: &str) -> u64 {
    let hash = Sha256::new()
        .chain_update(trip)
        .chain_update([0])
        .chain_update(what)
        .finalize();
    hash.first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

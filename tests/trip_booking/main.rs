//! The example `trip_booking`: by the script, over a runtime, and killed at every write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod killed;
#[path = "../lives/mod.rs"]
mod lives;
mod operated;
#[path = "../../examples/trip_booking/places.rs"]
mod places;
#[path = "../../examples/trip_booking/saga.rs"]
mod saga;
#[path = "../../examples/trip_booking/trip.rs"]
mod trip;

use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::{Answer, Payload, SagaVerb, Scripted};
use chronicler::store::codec::CodecId;
use chronicler_testkit::{Durations, Script, in_any_order, ok, reject, script_of};

use places::{Car, Flight, FullyBooked, Hotel, PlacesCommand};
use saga::{APPROVAL, Progress, TripBooking, Word};
use trip::{Plan, Trip, TripCommand, TripEvent, Why};

const BOOKING: TripBooking = TripBooking {
    free_up_to_cents: 1_000,
    approved_within: Duration::from_secs(3_600),
};
/// The first that was decided first: of what is undone one after the other it would be the last.
const SIDE_BY_SIDE: [&str; 3] = ["flight", "hotel", "car"];

fn plan(flight: &str, hotel: &str) -> Plan {
    Plan {
        flight: flight.to_owned(),
        hotel: hotel.to_owned(),
        car: "car".to_owned(),
    }
}

fn ann() -> String {
    "ann".to_owned()
}

fn approved() -> Word {
    Word::Approved { by: ann() }
}

fn denied() -> Word {
    Word::Denied { by: ann() }
}

fn json(word: &Word) -> String {
    serde_json::to_string(word).unwrap()
}

type Played = Script<TripBooking>;

fn requested() -> Played {
    script_of(BOOKING, "t").given(TripEvent::Requested(plan("flight", "hotel")))
}

fn book() -> PlacesCommand {
    let trip = "t".to_owned();
    PlacesCommand::Book { trip }
}

fn give_back() -> PlacesCommand {
    let trip = "t".to_owned();
    PlacesCommand::GiveBack { trip }
}

fn flight(script: Played, cents: i64) -> Played {
    script.expect::<Flight>("flight", book()).reply(ok(&cents))
}

fn hotel(script: Played, cents: i64) -> Played {
    script.expect::<Hotel>("hotel", book()).reply(ok(&cents))
}

fn car(script: Played, cents: i64) -> Played {
    script.expect::<Car>("car", book()).reply(ok(&cents))
}

/// Everything booked, for more than is free: somebody is asked.
fn dear() -> Played {
    car(hotel(flight(requested(), 500), 400), 200)
}

fn confirmed(script: Played, cents: i64, approved_by: Option<String>) {
    let confirm = TripCommand::Confirm { cents, approved_by };
    script
        .expect::<Trip>("t", confirm)
        .reply(ok(&()))
        .expect_completed();
}

/// All undos are wanted at once, in whatever order they are answered; then the trip is told why.
fn undone(script: Played, why: Why) {
    let compensated = script
        .expect::<Flight>("flight", give_back())
        .reply(ok(&0_i64))
        .expect::<Hotel>("hotel", give_back())
        .reply(ok(&0_i64))
        .expect::<Car>("car", give_back())
        .reply(ok(&0_i64))
        .expect::<Trip>("t", TripCommand::Cancel(why))
        .reply(ok(&()));
    compensated.expect_compensated(SIDE_BY_SIDE);
}

#[test]
fn m57_three_are_booked_at_once_in_any_order_and_the_last_one_confirms() {
    in_any_order(
        requested,
        &[
            &|script| flight(script, 500),
            &|script| hotel(script, 400),
            &|script| car(script, 100),
        ],
        |script| confirmed(script, 1_000, None),
    );
}

#[test]
fn m57_one_that_is_refused_undoes_the_others_whenever_they_were_booked() {
    let refused = FullyBooked { places: 3 };
    in_any_order(
        requested,
        &[
            &|script| flight(script, 500),
            &|script| {
                script
                    .expect::<Hotel>("hotel", book())
                    .reply(reject(&refused))
            },
            &|script| car(script, 100),
        ],
        |script| {
            let part = places::Part::Hotel;
            script
                .expect::<Flight>("flight", give_back())
                .reply(ok(&0_i64))
                .expect::<Car>("car", give_back())
                .reply(ok(&0_i64))
                .expect::<Trip>("t", TripCommand::Cancel(Why::FullyBooked { part }))
                .reply(ok(&()))
                .expect_compensated(["flight", "car"]);
        },
    );
}

#[test]
fn m60_an_approval_counts_also_before_anybody_asked_and_once() {
    let word = json(&approved());
    let no = json(&denied());
    confirmed(dear().signal(APPROVAL, &word), 1_100, Some(ann()));
    in_any_order(
        requested,
        &[
            &|script| flight(script, 500),
            &|script| hotel(script, 400),
            &|script| car(script, 200),
            &|script| script.signal(APPROVAL, &word),
        ],
        // What is said later changes nothing.
        |script| confirmed(script.signal(APPROVAL, &no), 1_100, Some(ann())),
    );
    let both = requested().signal(APPROVAL, &word).signal(APPROVAL, &no);
    let both = car(hotel(flight(both, 500), 400), 200);
    confirmed(both, 1_100, Some(ann()));
    undone(dear().signal(APPROVAL, &no), Why::Denied { by: ann() });
}

/// Somebody's word, as an operator gives it.
fn word(json: &str) -> SagaVerb {
    SagaVerb::Signal {
        name: APPROVAL.to_owned(),
        payload: json.to_owned(),
    }
}

#[test]
fn m60_a_word_that_cannot_be_read_or_is_of_another_name_changes_nothing() {
    let asked = dear()
        .expect_refused(word("\"maybe\""), "cannot be read")
        .signal("weather", "1");
    assert_eq!(*asked.state(), Progress::AwaitingApproval { cents: 1_100 });
    confirmed(
        asked.signal(APPROVAL, &json(&approved())),
        1_100,
        Some(ann()),
    );
}

#[test]
fn m56_an_approval_that_does_not_come_in_time_undoes_everything() {
    let late = dear().advance(60.minutes());
    let too_late = late.expect_refused(word(&json(&approved())), "being compensated");
    undone(too_late, Why::NotApprovedInTime);
    // Just in time is in time.
    let in_time = dear().advance(59.minutes());
    let in_time = in_time.signal(APPROVAL, &json(&approved()));
    confirmed(in_time.advance(1.hours()), 1_100, Some(ann()));
}

#[test]
fn m76_cancelled_before_it_is_confirmed_all_is_given_back_and_the_trip_told_who_and_why() {
    let why = Why::CalledOff {
        by: "the script".to_owned(),
        reason: "it says so".to_owned(),
    };
    // What is under way is waited for, and then given back.
    for script in [
        car(hotel(flight(requested().cancel(), 500), 400), 200),
        car(hotel(flight(requested(), 500).cancel(), 400), 200),
        car(hotel(flight(requested(), 500), 400).cancel(), 200),
        dear().cancel(),
    ] {
        undone(script, why.clone());
    }
}

#[test]
fn m76_a_trip_that_was_approved_cannot_be_cancelled_any_more() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut trip = Scripted::new(BOOKING, "t", now);
    trip.event("t", TripEvent::Requested(plan("flight", "hotel")))
        .unwrap();
    for booked in trip.wanted() {
        let answer = Answer::Done(Payload::new(CodecId::JSON, b"100".to_vec()));
        trip.answer(&booked, answer).unwrap();
    }
    assert_eq!(*trip.state(), Progress::Confirmed);
    let refused = trip
        .operate(SagaVerb::Cancel.by("ann", "rain"))
        .unwrap_err();
    assert!(refused.contains("only goes forward"), "{refused}");
}

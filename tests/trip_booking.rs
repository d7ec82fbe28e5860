//! The example `trip_booking`: by the script, over a runtime, and killed at every write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "../examples/trip_booking/places.rs"]
mod places;
#[path = "../examples/trip_booking/saga.rs"]
mod saga;
#[path = "../examples/trip_booking/trip.rs"]
mod trip;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::{Answer, Ending, OperateError, Payload, SagaHandle, SagaVerb, Scripted};
use chronicler::store::MemoryStore;
use chronicler::store::codec::CodecId;
use chronicler_testkit::{
    Durations, ManualClock, Script, crash_at_every_write, in_any_order, ok, reject, script_of,
};

use futures::future;
use places::{Car, Cars, Flight, FullyBooked, Hotel, Kind, Places, PlacesCommand, Rooms, Seats};
use saga::{APPROVAL, Progress, TripBooking, WAITS_FOR, Word};
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

/// What becomes of each trip: it is cheap, there is no room, a person says yes, no or nothing, its traveller calls it
/// off.
const TRIPS: [(&str, &str, &str); 6] = [
    ("cheap", "low", "roomy"),
    ("no-room", "low", "full"),
    ("approved", "high", "roomy"),
    ("denied", "high", "roomy"),
    ("forgotten", "high", "roomy"),
    ("called-off", "high", "roomy"),
];

async fn start(
    store: Arc<MemoryStore>,
    clock: &ManualClock,
) -> Result<App, impl std::error::Error> {
    App::over(store)
        .clock(Arc::new(clock.clone()))
        .aggregate::<Trip>()
        .aggregate::<Flight>()
        .aggregate::<Hotel>()
        .aggregate::<Car>()
        .saga(BOOKING)
        .start()
        .await
}

async fn offer<K: Kind>(app: &App, id: &str, places: u32, cents: i64) {
    let offer = PlacesCommand::Offer { places, cents };
    // A dead store fails it; it is offered again.
    drop(app.send::<Places<K>>(id, offer).await);
}

async fn request(app: &App) {
    offer::<Seats>(app, "low", 5, 100).await;
    offer::<Seats>(app, "high", 5, 800).await;
    offer::<Rooms>(app, "roomy", 5, 200).await;
    offer::<Cars>(app, "car", 6, 50).await;
    for (id, flight, hotel) in TRIPS {
        let request = TripCommand::Request(plan(flight, hotel));
        drop(app.send::<Trip>(id, request).await);
    }
}

async fn say(sagas: &SagaHandle<TripBooking>, id: &str, word: &Word) -> Result<(), OperateError> {
    let (name, payload) = (APPROVAL.to_owned(), json(word));
    let verb = SagaVerb::Signal { name, payload };
    let id = AggregateId::new(id).unwrap();
    let said = sagas
        .operate(&Tenant::default(), &id, verb.by("ann", ""))
        .await;
    said.map(|_| ())
}

async fn call_off(sagas: &SagaHandle<TripBooking>) -> Result<(), OperateError> {
    let id = AggregateId::new("called-off").unwrap();
    sagas.cancel(&Tenant::default(), &id, "rain", "ben").await
}

/// What people say about the trips. What was said before, and came through, is refused or changes nothing.
async fn see_to_approvals(app: &App) {
    let sagas = app.saga::<TripBooking>().unwrap();
    drop(say(sagas, "approved", &approved()).await);
    drop(say(sagas, "denied", &denied()).await);
    drop(call_off(sagas).await);
}

/// Waits for something while time goes by: what has died fails only after its attempts.
async fn in_time<T>(clock: &ManualClock, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        for _ in 0..100 {
            if let Poll::Ready(done) = futures::poll!(&mut work) {
                return done;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(500));
    }
}

/// What a trip ended as, with the ending of its saga; for what it costs nobody has to look.
async fn ending(app: &App, id: &str) -> Option<Why> {
    let sagas = app.saga::<TripBooking>().unwrap();
    let name = AggregateId::new(id).unwrap();
    let saga = sagas.get(&Tenant::default(), &name).await.unwrap();
    let trip = app.state::<Trip>(id).await.unwrap().state;
    assert!(saga.timers.is_empty(), "{id}");
    match (saga.status, trip) {
        (SagaStatus::Ended { how }, Trip::Booked { approved_by, .. }) => {
            assert_eq!(how, Ending::Completed, "{id}");
            assert_eq!(approved_by.is_some(), id == "approved", "{id}");
            None
        }
        (SagaStatus::Ended { how }, Trip::Cancelled { why, .. }) => {
            assert_eq!(how.word(), "compensated", "{id}");
            Some(why)
        }
        other => panic!("{id}: {other:?}"),
    }
}

async fn held<K: Kind>(app: &App, id: &str) -> Vec<String> {
    let places = app.state::<Places<K>>(id).await.unwrap().state;
    places.held.into_keys().collect()
}

/// Every trip ended as it should, and nothing is booked but what takes place.
async fn ended_well(app: &App) {
    let part = places::Part::Hotel;
    let (by, reason) = ("ben".to_owned(), "rain".to_owned());
    assert_eq!(ending(app, "cheap").await, None);
    assert_eq!(
        ending(app, "no-room").await,
        Some(Why::FullyBooked { part })
    );
    assert_eq!(ending(app, "approved").await, None);
    assert_eq!(ending(app, "denied").await, Some(Why::Denied { by: ann() }));
    assert_eq!(ending(app, "forgotten").await, Some(Why::NotApprovedInTime));
    assert_eq!(
        ending(app, "called-off").await,
        Some(Why::CalledOff { by, reason })
    );
    assert_eq!(held::<Seats>(app, "low").await, ["cheap"]);
    assert_eq!(held::<Seats>(app, "high").await, ["approved"]);
    assert_eq!(held::<Rooms>(app, "roomy").await, ["approved", "cheap"]);
    assert_eq!(held::<Rooms>(app, "full").await, [""; 0]);
    assert_eq!(held::<Cars>(app, "car").await, ["approved", "cheap"]);
    let sagas = app.saga::<TripBooking>().unwrap();
    assert!(sagas.open().await.unwrap().is_empty());
}

#[tokio::test]
async fn m57_m60_m76_trips_are_booked_approved_denied_forgotten_and_called_off() {
    let clock = ManualClock::default();
    let app = start(Arc::new(MemoryStore::new()), &clock).await.unwrap();
    request(&app).await;
    app.settled().await;
    let sagas = app.saga::<TripBooking>().unwrap();
    let mut waiting = Vec::new();
    for open in sagas.open().await.unwrap() {
        assert_eq!(open.on, [WAITS_FOR]);
        assert_eq!(open.until, Some(open.since.plus(BOOKING.approved_within)));
        waiting.push(open.id().to_owned());
    }
    waiting.sort();
    let expected = ["approved", "called-off", "denied", "forgotten"];
    assert_eq!(waiting, expected);
    say(sagas, "approved", &approved()).await.unwrap();
    say(sagas, "denied", &denied()).await.unwrap();
    call_off(sagas).await.unwrap();
    app.settled().await;
    clock.advance(BOOKING.approved_within);
    let mut head = app.store().watch_head();
    while !sagas.open().await.unwrap().is_empty() {
        head.changed().await.unwrap();
    }
    app.settled().await;
    ended_well(&app).await;
    let late = say(sagas, "forgotten", &approved()).await.unwrap_err();
    assert!(late.is_refusal(), "{late}");
    app.stop().await;
}

#[tokio::test]
async fn m09_m57_m60_every_trip_ends_and_nothing_else_is_booked_killed_at_every_write() {
    let long = BOOKING.approved_within * 10;
    let writes = crash_at_every_write(
        async |store| {
            let clock = ManualClock::default();
            let life = async {
                let Ok(app) = start(store, &clock).await else {
                    return;
                };
                request(&app).await;
                a_while().await;
                // Of the dead nobody takes a word: it is said again and again, and here given up.
                future::select(pin!(see_to_approvals(&app)), pin!(a_while())).await;
                a_while().await;
                clock.advance(long);
                a_while().await;
                app.sagas().stop().await;
            };
            in_time(&clock, life).await;
        },
        async |survivor| {
            let clock = ManualClock::default();
            let life = async {
                let app = start(survivor, &clock).await.unwrap();
                request(&app).await;
                app.settled().await;
                see_to_approvals(&app).await;
                app.settled().await;
                // Later than any deadline, also one that was armed when it was late already.
                clock.advance(long * 2);
                let sagas = app.saga::<TripBooking>().unwrap();
                let mut head = app.store().watch_head();
                while !sagas.open().await.unwrap().is_empty() {
                    head.changed().await.unwrap();
                }
                app.settled().await;
                ended_well(&app).await;
                app.stop().await;
            };
            in_time(&clock, life).await;
        },
    )
    .await;
    assert!(writes > 80, "{writes} writes");
    println!("killed at each of {writes} writes, before and after: all trips ended as they should");
}

/// Until nothing moves any more: of the dead nobody says that they have settled.
async fn a_while() {
    for _ in 0..400 {
        tokio::task::yield_now().await;
    }
}

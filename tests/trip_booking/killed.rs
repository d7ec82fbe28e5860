//! The example `trip_booking` over a runtime, and killed at every write: what becomes of each trip, whatever happens.

use std::pin::pin;
use std::sync::Arc;

use chronicler::domain::{AggregateId, Tenant};
use chronicler::prelude::*;
use chronicler::sagas::{Ending, OperateError, SagaHandle, SagaVerb};
use chronicler::store::MemoryStore;
use chronicler_testkit::{ManualClock, crash_at_every_write};
use futures::future;

use crate::lives::{a_while, in_time};
use crate::places::{self, Car, Cars, Flight, Hotel, Kind, Places, PlacesCommand, Rooms, Seats};
use crate::saga::{APPROVAL, TripBooking, WAITS_FOR, Word};
use crate::trip::{Trip, TripCommand, Why};
use crate::{BOOKING, ann, approved, denied, json, plan};

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
    over(store, clock).saga(BOOKING).start().await
}

/// An application without its saga.
pub(crate) fn over(store: Arc<MemoryStore>, clock: &ManualClock) -> AppBuilder {
    App::over(store)
        .clock(Arc::new(clock.clone()))
        .aggregate::<Trip>()
        .aggregate::<Flight>()
        .aggregate::<Hotel>()
        .aggregate::<Car>()
}

pub(crate) async fn offer<K: Kind>(app: &App, id: &str, places: u32, cents: i64) {
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

pub(crate) async fn say(
    sagas: &SagaHandle<TripBooking>,
    id: &str,
    word: &Word,
) -> Result<(), OperateError> {
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

pub(crate) async fn held<K: Kind>(app: &App, id: &str) -> Vec<String> {
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

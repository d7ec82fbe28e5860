//! The example `trip_booking`, operated in the middle and killed at every write.

use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::store::MemoryStore;
use chronicler_testkit::ManualClock;

use crate::killed::{held, offer, over, say};
use crate::lives::{Operated, REQUESTED, operated_at_every_write};
use crate::places::{Cars, Rooms, Seats};
use crate::saga::{Noted, Progress, TripBooking};
use crate::trip::{Trip, TripCommand, TripEvent};
use crate::{BOOKING, approved, plan};

/// A release of the saga that fails on whatever it hears.
struct Bad;

impl Saga for Bad {
    const NAME: &'static str = TripBooking::NAME;
    type State = Progress;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Trip>(|event, info| match event {
            TripEvent::Requested(_) => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, _: &Progress, _: &Input, _: &SagaContext) -> Next<Self> {
        panic!("a bad release")
    }

    fn evolve(progress: &mut Progress, event: &Noted) {
        TripBooking::evolve(progress, event);
    }
}

/// One of them waits for a person, who approves it.
const DEAR: &str = "migrated";

#[derive(Default)]
struct Trips;

impl Operated for Trips {
    const SAGA: &'static str = TripBooking::NAME;
    const LAST: &'static str = "confirm";
    const VERBS: &'static [&'static str] = &["pause", "resume", "migrate", "fork", "release"];

    async fn start(&self, store: Arc<MemoryStore>, clock: &ManualClock, good: bool) -> Option<App> {
        let app = over(store, clock);
        let app = match good {
            true => app.saga(BOOKING),
            false => app.saga(Bad),
        };
        app.start().await.ok()
    }

    async fn request(&self, app: &App, ids: &[&str]) {
        offer::<Seats>(app, "low", 9, 100).await;
        offer::<Seats>(app, "high", 9, 800).await;
        offer::<Rooms>(app, "roomy", 9, 200).await;
        offer::<Cars>(app, "car", 9, 50).await;
        for id in ids {
            let flight = if *id == DEAR { "high" } else { "low" };
            let request = TripCommand::Request(plan(flight, "roomy"));
            drop(app.send::<Trip>(*id, request).await);
        }
    }

    async fn see_to(&self, app: &App) {
        let sagas = app.saga::<TripBooking>().unwrap();
        // Said before it came through, it is refused.
        drop(say(sagas, DEAR, &approved()).await);
    }

    async fn ended_well(&self, app: &App) {
        for id in REQUESTED {
            let trip = app.state::<Trip>(id).await.unwrap().state;
            assert!(matches!(trip, Trip::Booked { .. }), "{id}: {trip:?}");
        }
        assert_eq!(
            held::<Seats>(app, "low").await,
            ["forked", "late", "paused"]
        );
        assert_eq!(held::<Seats>(app, "high").await, [DEAR]);
        let all = ["forked", "late", DEAR, "paused"];
        assert_eq!(held::<Rooms>(app, "roomy").await, all);
        assert_eq!(held::<Cars>(app, "car").await, all);
    }
}

#[tokio::test]
async fn m76_m84_trips_that_are_operated_are_booked_once_killed_at_every_write() {
    operated_at_every_write::<Trips>().await;
}

//! How the trips ended, and whether what is booked is what they say.

use std::collections::BTreeMap;

use chronicler::prelude::*;

use crate::generator::place_ids;
use crate::places::{Cars, Kind, Part, Places, Rooms, Seats};
use crate::trip::{Plan, Trip, Why};

/// What the places of one kind come to.
#[derive(Clone, Copy, Debug)]
struct Held {
    name: &'static str,
    places: usize,
    held: usize,
}

/// What was found, and what does not add up.
#[derive(Debug, Default)]
pub(crate) struct Report {
    endings: BTreeMap<String, usize>,
    held: Vec<Held>,
    pub(crate) problems: Vec<String>,
}

impl Report {
    /// Looks at these trips, and at everything that is booked.
    pub(crate) async fn of(app: &App, trips: &[String]) -> Result<Self, DispatchError> {
        let mut report = Self::default();
        for id in trips {
            let trip = app.state::<Trip>(id.as_str()).await?.state;
            let ending = report.ending(id, &trip);
            *report.endings.entry(ending).or_default() += 1;
            if let Trip::Booked { plan, .. } | Trip::Cancelled { plan, .. } = &trip {
                let is_booked = matches!(trip, Trip::Booked { .. });
                report.held_by::<Seats>(app, id, plan, is_booked).await?;
                report.held_by::<Rooms>(app, id, plan, is_booked).await?;
                report.held_by::<Cars>(app, id, plan, is_booked).await?;
            }
        }
        report.all_of::<Seats>(app, "seats").await?;
        report.all_of::<Rooms>(app, "rooms").await?;
        report.all_of::<Cars>(app, "cars").await?;
        Ok(report)
    }

    pub(crate) fn print(&self) {
        println!("How the trips ended");
        for (ending, count) in &self.endings {
            println!("  {ending:<50}{count:>8}");
        }
        println!("\nWhat is booked");
        for Held { name, places, held } in &self.held {
            println!("  {name:<50}{held:>8} of {places}");
        }
    }

    fn ending(&mut self, id: &str, trip: &Trip) -> String {
        match trip {
            Trip::Booked {
                approved_by: None, ..
            } => "booked".to_owned(),
            Trip::Booked { .. } => "booked, approved by a person".to_owned(),
            Trip::Cancelled { why, .. } => match why {
                Why::CalledOff { by, .. } => format!("cancelled: {by} called it off"),
                Why::Failed { reason } => {
                    self.problems.push(format!("{id} failed: {reason}"));
                    "failed".to_owned()
                }
                why => format!("cancelled: {why}"),
            },
            Trip::Unknown | Trip::Requested { .. } => {
                self.problems.push(format!("{id} did not end"));
                "still under way".to_owned()
            }
        }
    }

    /// A trip holds a place of a kind if, and only if, it takes place.
    async fn held_by<K: Kind>(
        &mut self,
        app: &App,
        id: &str,
        plan: &Plan,
        is_booked: bool,
    ) -> Result<(), DispatchError> {
        let place = wanted(plan, K::PART);
        let places = app.state::<Places<K>>(place).await?.state;
        match (places.held.contains_key(id), is_booked) {
            (true, false) => self
                .problems
                .push(format!("{id} was cancelled and still holds {place}")),
            (false, true) => self
                .problems
                .push(format!("{id} was booked and does not hold {place}")),
            _ => {}
        }
        Ok(())
    }

    /// Nothing is booked twice, and nothing for a trip that does not take place.
    async fn all_of<K: Kind>(
        &mut self,
        app: &App,
        name: &'static str,
    ) -> Result<(), DispatchError> {
        let (mut places, mut held) = (0, 0);
        for id in place_ids(K::PART) {
            let here = app.state::<Places<K>>(id.as_str()).await?.state;
            places += here.places as usize;
            held += here.held.len();
            if here.held.len() > here.places as usize {
                self.problems.push(format!("{id} is booked too often"));
            }
            for trip in here.held.keys() {
                let holder = app.state::<Trip>(trip.as_str()).await?.state;
                let is_meant =
                    matches!(&holder, Trip::Booked { plan, .. } if wanted(plan, K::PART) == id);
                if !is_meant {
                    self.problems
                        .push(format!("{id} is held by {trip}, which is {holder:?}"));
                }
            }
        }
        self.held.push(Held { name, places, held });
        Ok(())
    }
}

/// The id of what a trip wants of a part.
fn wanted(plan: &Plan, part: Part) -> &str {
    match part {
        Part::Flight => &plan.flight,
        Part::Hotel => &plan.hotel,
        Part::Car => &plan.car,
    }
}

//! Trips are booked, each with a flight, a hotel and a car, or not at all. Dear ones wait for a person.
//!
//! `cargo run --release --example trip_booking -- --trips 200`. End it with Ctrl-C or worse in the middle and start it
//! again on the same data: what was under way is carried through or taken back.

mod generator;
mod office;
mod places;
mod report;
mod saga;
mod trip;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chronicler::prelude::*;
use chronicler::sagas::SagaHandle;
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};

use places::{Car, Flight, Hotel, Part};
use report::Report;
use saga::TripBooking;
use trip::{Trip, TripCommand};

/// A trip that costs more than 1,600.00 is approved by a person.
const FREE_UP_TO_CENTS: i64 = 160_000;
/// Short, so that nobody waits for the trips that are forgotten.
const APPROVED_WITHIN: Duration = Duration::from_secs(1);
/// How many trips are asked for before the office looks at those that wait.
const AT_A_TIME: usize = 50;

type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Books trips. Started again on the same data it goes on where it was.
#[derive(Debug, Parser)]
#[command(name = "trip_booking", version)]
struct Arguments {
    /// How many trips there are in all.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    trips: u64,
    /// What the trips are made from. Trips of another seed are other trips.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The data directory.
    #[arg(long, default_value = "trip_booking_data", value_name = "DIR")]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Done {
    let app = open(&arguments.data).await?;
    let done = tokio::select! {
        done = book_all(&app, arguments) => done,
        () = interrupted() => Err(
            "interrupted; everything so far is kept. Start again with the same arguments to go on".into()
        ),
    };
    app.stop().await;
    done
}

async fn open(data: &Path) -> Result<App, chronicler::StartError> {
    let booking = TripBooking {
        free_up_to_cents: FREE_UP_TO_CENTS,
        approved_within: APPROVED_WITHIN,
    };
    App::open(data)
        .aggregate::<Trip>()
        .aggregate::<Flight>()
        .aggregate::<Hotel>()
        .aggregate::<Car>()
        .saga(booking)
        .start()
        .await
}

async fn book_all(app: &App, Arguments { trips, seed, data }: &Arguments) -> Done {
    let sagas = app.saga::<TripBooking>().ok_or("it is not registered")?;
    let begun = Instant::now();
    let ids: Vec<String> = (1..=*trips)
        .map(|number| generator::trip_id(*seed, number))
        .collect();
    offer::<Flight>(app, Part::Flight, *trips).await?;
    offer::<Hotel>(app, Part::Hotel, *trips).await?;
    offer::<Car>(app, Part::Car, *trips).await?;
    for some in ids.chunks(AT_A_TIME) {
        let asked = stream::iter(some).map(|id| {
            let plan = generator::plan(id);
            app.send::<Trip>(id.as_str(), TripCommand::Request(plan))
        });
        asked
            .buffer_unordered(AT_A_TIME)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        app.settled().await;
        office::see_to_approvals(sagas).await?;
    }
    let left = all_ended(app, sagas).await?;
    let took = begun.elapsed().as_secs_f64();
    let mut report = Report::of(app, &ids).await?;
    report.problems.extend(left);
    report.print();
    println!(
        "\n{trips} trips in {took:.2} s; the data is in {}",
        data.display()
    );
    match report.problems.first() {
        None => Ok(()),
        Some(first) => {
            let count = report.problems.len();
            Err(format!("{count} things do not add up, the first: {first}").into())
        }
    }
}

async fn offer<A>(app: &App, part: Part, trips: u64) -> Done
where
    A: Aggregate<Command = places::PlacesCommand>,
{
    for (id, command) in generator::offers(part, trips) {
        app.send::<A>(id, command).await?;
    }
    Ok(())
}

/// Waits until nothing moves any more by itself: those that were forgotten have a deadline. What then is still open
/// needs a person.
async fn all_ended(app: &App, sagas: &SagaHandle<TripBooking>) -> Done<Vec<String>> {
    let mut head = app.store().watch_head();
    loop {
        app.settled().await;
        let open = sagas.open().await?;
        let moves = ["running", "waiting", "retrying", "compensating"];
        if !open.iter().any(|trip| moves.contains(&trip.status.word())) {
            let left = open.iter();
            return Ok(left
                .map(|trip| format!("{} is {}", trip.id(), trip.status))
                .collect());
        }
        head.changed().await?;
    }
}

/// Ends when the user asks to stop.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // There is no such signal here: nobody will ever ask.
        std::future::pending::<()>().await;
    }
}

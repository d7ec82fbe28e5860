//! Timers that come due at one moment, each of an instance of its own.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chronicler::App;
use chronicler::prelude::*;
use chronicler::runtime::{Clock, SystemClock};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Measured;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::median::median;
use crate::processor::processor_time;
use crate::shop::{Ticket, TicketCommand, TicketEvent};

/// How many have fired.
static FIRED: AtomicU64 = AtomicU64::new(0);
/// When all of them are due, in microseconds.
static DUE: AtomicU64 = AtomicU64::new(0);

/// Arms a timer, and ends when it fires.
struct Alarms;

#[derive(Serialize, Deserialize)]
struct Armed;

impl Event for Armed {}

impl Saga for Alarms {
    const NAME: &'static str = "alarms";
    type State = ();
    type Event = Armed;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Ticket>(|event, info| match event {
            TicketEvent::Waited => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Timer(_) => {
                FIRED.fetch_add(1, Ordering::Relaxed);
                Next::stay().complete()
            }
            _ => {
                let due = Timestamp::from_micros(DUE.load(Ordering::Relaxed));
                Next::stay().record(Armed).timer_at("alarm", due)
            }
        }
    }

    fn evolve((): &mut (), _: &Armed) {}
}

pub(crate) async fn measure(_: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let count = arguments.count(8_000);
    let (mut walls, mut processors) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        let (wall, processor) = burst(count).await?;
        walls.push(wall);
        processors.push(processor);
    }
    let of = format!(
        "{count} due at once, in memory; {:.0} us of a processor each",
        median(&processors)
    );
    Ok(vec![Figure {
        name: "timers due at once",
        value: median(&walls),
        unit: "us each",
        at_most: 60.0,
        of,
    }])
}

/// Microseconds for each, of time and of processors.
async fn burst(count: u64) -> Measured<(f64, f64)> {
    FIRED.store(0, Ordering::Relaxed);
    let wait = Duration::from_secs(3);
    let due = SystemClock.now().plus(wait);
    DUE.store(due.as_micros(), Ordering::Relaxed);
    let app = App::in_memory()
        .aggregate::<Ticket>()
        .saga(Alarms)
        .start()
        .await?;
    let opened = &app;
    stream::iter(0..count)
        .map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>)
        .try_for_each_concurrent(1_000, |number| async move {
            opened
                .send::<Ticket>(number.to_string(), TicketCommand::Wait)
                .await?;
            Ok(())
        })
        .await?;
    app.settled().await;
    let left = due.since(SystemClock.now());
    if left.is_zero() {
        return Err("they were due before all were armed".into());
    }
    tokio::time::sleep(left).await;
    let (begun, before) = (Instant::now(), processor_time()?);
    while FIRED.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    app.settled().await;
    let (wall, processor) = (begun.elapsed(), processor_time()? - before);
    app.stop().await;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    Ok((each(wall), each(processor)))
}

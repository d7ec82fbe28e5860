//! A saga of three steps, beside its commands sent directly.

use std::path::Path;
use std::time::Instant;

use chronicler::App;
use chronicler::sagas::steps::Steps;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::Measured;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::median::median;
use crate::shop::{Count, Counter, ThreeSteps, Ticket, TicketCommand};

const IN_FLIGHT: usize = 1_000;

pub(crate) async fn measure(folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let count = arguments.count(20_000);
    let (mut direct, mut sagas, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut commits = 0.0;
    for round in 0..arguments.rounds() {
        let plain = by_hand(&folder.join(format!("direct-{round}")), count).await?;
        let (saga, written) = by_saga(&folder.join(format!("saga-{round}")), count).await?;
        commits = written as f64 / count as f64;
        direct.push(plain * 1e6 / count as f64);
        sagas.push(saga * 1e6 / count as f64);
        ratios.push(saga / plain);
    }
    let of = format!(
        "{IN_FLIGHT} in flight, durable; a saga {:.0} us and {commits:.1} commits, its 4 commands alone {:.0} us and 4 commits",
        median(&sagas),
        median(&direct),
    );
    Ok(vec![Figure {
        name: "three steps",
        value: median(&ratios),
        unit: "x direct",
        at_most: 4.0,
        of,
    }])
}

pub(crate) async fn open(data: &Path) -> Measured<App> {
    let app = App::open(data)
        .aggregate::<Ticket>()
        .aggregate::<Counter>()
        .saga(Steps::<ThreeSteps>::of());
    Ok(app.start().await?)
}

/// The same commands, each after the answer to the one before; in seconds.
async fn by_hand(data: &Path, count: u64) -> Measured<f64> {
    let app = App::open(data)
        .aggregate::<Ticket>()
        .aggregate::<Counter>()
        .start()
        .await?;
    let begun = Instant::now();
    let app = &app;
    stream::iter(0..count)
        .map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>)
        .try_for_each_concurrent(IN_FLIGHT, |number| async move {
            app.send::<Ticket>(number.to_string(), TicketCommand::Work)
                .await?;
            for step in ["first", "second", "third"] {
                app.send::<Counter>(format!("{number}-{step}"), Count(1))
                    .await?;
            }
            Ok(())
        })
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    app.stop().await;
    Ok(seconds)
}

/// With a saga, in seconds, and how many commits there were.
pub(crate) async fn by_saga(data: &Path, count: u64) -> Measured<(f64, u64)> {
    let app = open(data).await?;
    let done = run(&app, 0..count).await?;
    app.stop().await;
    Ok(done)
}

/// Runs a saga for each number, so many at a time: the next begins when one has ended.
pub(crate) async fn run(app: &App, numbers: std::ops::Range<u64>) -> Measured<(f64, u64)> {
    let before = app.head().sequence.get();
    let begun = Instant::now();
    let last = numbers.end;
    for batch in numbers.step_by(IN_FLIGHT) {
        let end = last.min(batch + IN_FLIGHT as u64);
        stream::iter(batch..end)
            .map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>)
            .try_for_each_concurrent(IN_FLIGHT, |number| async move {
                app.send::<Ticket>(number.to_string(), TicketCommand::Work)
                    .await?;
                Ok(())
            })
            .await?;
        app.settled().await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let third = app.state::<Counter>(format!("{}-third", last - 1)).await?;
    if third.version.get() != 1 {
        return Err("a saga did not do its last step".into());
    }
    Ok((seconds, app.head().sequence.get() - before))
}

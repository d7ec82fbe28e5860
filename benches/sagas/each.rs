//! Steps of many commands: what one of many costs against one of few, and how many syncs their answers take.

use std::path::Path;
use std::time::{Duration, Instant};

use chronicler::App;
use chronicler::sagas::steps::{StepSaga, Steps};
use chronicler::store::journal::{Durability, JournalOptions};
use futures::future::try_join_all;

use crate::Measured;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::lines::{Afterwards, AtOnce, Desk, InTurn, Ordered};
use crate::median::median;
use crate::shop::{Count, Counter};

/// Lines of an order.
const LINES: [u64; 5] = [10, 100, 1_000, 4_000, 10_000];
/// Lines of the order whose syncs are counted.
const SYNCED: u64 = 300;

pub(crate) async fn measure(folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let mut figures = vec![
        one::<AtOnce>("each", false, arguments).await?,
        one::<AtOnce>("each, undone", true, arguments).await?,
        one::<InTurn>("each in turn", false, arguments).await?,
        one::<InTurn>("each in turn, undone", true, arguments).await?,
        one::<Afterwards>("then each", false, arguments).await?,
    ];
    figures.push(syncs(folder, arguments).await?);
    Ok(figures)
}

/// The cost of a line of a long order, as a multiple of that of a short one.
async fn one<S: StepSaga>(
    name: &'static str,
    is_refused: bool,
    arguments: &Arguments,
) -> Measured<Figure> {
    let mut ratios = Vec::new();
    let mut said = Vec::new();
    for round in 0..arguments.rounds().min(3) {
        let mut each = Vec::new();
        for lines in LINES {
            // As many lines in all, however long the orders are.
            let in_all = arguments.count(10_000);
            let (lines, orders) = (lines.min(in_all), (in_all / lines).max(1));
            each.push(lines_of::<S>(lines, orders, is_refused).await?);
        }
        if let (Some(first), Some(last)) = (each.first(), each.last()) {
            ratios.push(last / first);
        }
        if round == 0 {
            said = each;
        }
    }
    let said: Vec<_> = LINES
        .iter()
        .zip(said)
        .map(|(lines, each)| format!("{lines}: {each:.0} us"))
        .collect();
    Ok(Figure {
        name,
        value: median(&ratios),
        unit: "x of 10",
        at_most: 1.5,
        of: format!("a line of 10,000, in memory; {}", said.join(", ")),
    })
}

async fn lines_of<S: StepSaga>(lines: u64, orders: u64, is_refused: bool) -> Measured<f64> {
    let app = App::in_memory()
        .aggregate::<Desk>()
        .aggregate::<Counter>()
        .saga(Steps::<S>::of())
        .start()
        .await?;
    let begun = Instant::now();
    for order in 0..orders {
        app.send::<Desk>(order.to_string(), Ordered { lines, is_refused })
            .await?;
        app.settled().await;
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / (lines * orders) as f64;
    if !app.sagas().list().await?.is_empty() {
        return Err("an order has not ended".into());
    }
    app.stop().await;
    Ok(each)
}

/// How many syncs' time an order takes beyond its commands sent directly.
async fn syncs(folder: &Path, arguments: &Arguments) -> Measured<Figure> {
    let (mut beyond, mut said) = (Vec::new(), String::new());
    for round in 0..arguments.rounds() {
        let data = folder.join(format!("synced-{round}"));
        let options = JournalOptions::default().durability(Durability::Fsync);
        let app = App::open_with(&data, options)
            .aggregate::<Desk>()
            .aggregate::<Counter>()
            .saga(Steps::<AtOnce>::of())
            .start()
            .await?;
        // One at a time: each waits for a sync of its own.
        let begun = Instant::now();
        for number in 0..100 {
            app.send::<Counter>(format!("alone-{number}"), Count(1))
                .await?;
        }
        let sync = begun.elapsed().as_secs_f64() / 100.0;
        let begun = Instant::now();
        let commands =
            (0..SYNCED).map(|line| app.send::<Counter>(format!("plain-{line}"), Count(1)));
        try_join_all(commands).await?;
        let direct = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let order = Ordered {
            lines: SYNCED,
            is_refused: false,
        };
        app.send::<Desk>("order", order).await?;
        app.settled().await;
        let saga = begun.elapsed().as_secs_f64();
        app.stop().await;
        beyond.push((saga - direct) / sync);
        let millis = |seconds: f64| Duration::from_secs_f64(seconds).as_secs_f64() * 1e3;
        said = format!(
            "an order of {SYNCED} lines {:.1} ms, its commands alone {:.1} ms, a sync {:.2} ms",
            millis(saga),
            millis(direct),
            millis(sync)
        );
    }
    Ok(Figure {
        name: "each, answers' syncs",
        value: median(&beyond),
        unit: "syncs",
        at_most: 10.0,
        of: said,
    })
}

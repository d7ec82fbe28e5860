//! Sagas beside one that is quarantined and goes on being told things, beside none such.

use std::path::Path;

use crate::Measured;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::median::median;
use crate::shop::{Ticket, TicketCommand};
use crate::three_steps::{open, run};

pub(crate) async fn measure(folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let count = arguments.count(20_000);
    let mut slower = Vec::new();
    for round in 0..arguments.rounds() {
        let healthy = open(&folder.join(format!("healthy-{round}"))).await?;
        let (before, _) = run(&healthy, 0..count).await?;
        healthy.stop().await;
        let app = open(&folder.join(format!("poisoned-{round}"))).await?;
        // One event sets it aside; those that follow wait in its stream.
        for _ in 0..20 {
            app.send::<Ticket>("poisoner", TicketCommand::Poison)
                .await?;
        }
        app.settled().await;
        let sagas = app.sagas().quarantined().await?;
        if sagas.len() != 1 {
            return Err(format!("{} instances are quarantined", sagas.len()).into());
        }
        let (after, _) = run(&app, 0..count).await?;
        app.stop().await;
        slower.push((after / before - 1.0) * 100.0);
    }
    let of = format!(
        "{count} sagas of three steps, medians of {} rounds",
        slower.len()
    );
    Ok(vec![Figure {
        name: "beside a quarantined",
        value: median(&slower),
        unit: "% slower",
        at_most: 5.0,
        of,
    }])
}

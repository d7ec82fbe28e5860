//! A process by outside calls: reserve, charge, ship, each a call to a service; every tenth is refused at the third, and
//! undone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chronicler::App;
use chronicler::prelude::*;
use chronicler::sagas::{CallResult, ExternalService};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Measured;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::median::median;
use crate::shop::{Ticket, TicketCommand, TicketEvent};

const IN_FLIGHT: usize = 512;

/// A request to the service.
#[derive(Serialize, Deserialize)]
enum Ask {
    Do { order: u64, is_last: bool },
    Undo { order: u64 },
}

/// Does what it is asked at once, and refuses the last of every tenth.
struct Service;

static UNDONE: AtomicU64 = AtomicU64::new(0);

impl ExternalService for Service {
    fn call(&self, _: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let asked = chronicler::store::codec::decode(
            chronicler::store::codec::PayloadCodec::default().id(),
            &request,
        );
        let result = match asked {
            Ok(Ask::Do {
                order,
                is_last: true,
            }) if order.is_multiple_of(10) => CallResult::rejected(&"not today"),
            Ok(Ask::Undo { .. }) => {
                UNDONE.fetch_add(1, Ordering::Relaxed);
                CallResult::done(&())
            }
            Ok(Ask::Do { .. }) => CallResult::done(&()),
            Err(error) => CallResult::Unknown(error.to_string()),
        };
        futures::future::ready(result).boxed()
    }
}

chronicler::sagas::step_keys! {
    Reserved = "reserve" -> ();
    Charged = "charge" -> ();
    Shipped = "ship" -> ();
    Sure = "sure" -> ();
}

struct Outside;

impl StepSaga for Outside {
    const NAME: &'static str = "outside";
    type Start = u64;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Ticket>(|event, info| match event {
            TicketEvent::Worked => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(event: &Input) -> Option<u64> {
        event.event::<Ticket>().map(|_| 0)
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        let limit = Duration::from_secs(600);
        let number = |id: &str| id.parse().unwrap_or(1);
        let ask = move |id: &str, is_last| {
            let order = number(id);
            to_service("shop", &Ask::Do { order, is_last })
        };
        let undo = move |id: &str| to_service("shop", &Ask::Undo { order: number(id) });
        steps
            .external::<_, String>(
                Reserved,
                move |seen| ask(seen.id(), false),
                move |seen, _: Attempt<'_, ()>| undo(seen.id()),
            )
            .within(limit)
            .external::<_, String>(
                Charged,
                move |seen| ask(seen.id(), false),
                move |seen, _: Attempt<'_, ()>| undo(seen.id()),
            )
            .within(limit)
            .external::<_, String>(
                Shipped,
                move |seen| ask(seen.id(), true),
                move |seen, _: Attempt<'_, ()>| undo(seen.id()),
            )
            .within(limit)
            .pivot_here(Sure)
            .build()
    }
}

pub(crate) async fn measure(folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let count = arguments.count(20_000);
    let mut each = Vec::new();
    for round in 0..arguments.rounds() {
        let seconds = run(&folder.join(format!("data-{round}")), count).await?;
        each.push(seconds * 1e6 / count as f64);
    }
    let each = median(&each);
    let of = format!(
        "{:.0} a second, {IN_FLIGHT} in flight, durable; {:.0} MB resident",
        1e6 / each,
        resident()?
    );
    Ok(vec![Figure {
        name: "outside calls",
        value: each,
        unit: "us each",
        at_most: 200.0,
        of,
    }])
}

async fn run(data: &Path, count: u64) -> Measured<f64> {
    UNDONE.store(0, Ordering::Relaxed);
    let app = App::open(data)
        .aggregate::<Ticket>()
        .saga(Steps::<Outside>::of())
        .service("shop", Service)
        .start()
        .await?;
    let handle = app.saga::<Steps<Outside>>().ok_or("it is not registered")?;
    let begun = Instant::now();
    let (opened, handle) = (&app, &handle);
    stream::iter(0..count)
        .map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>)
        .try_for_each_concurrent(IN_FLIGHT, |number| async move {
            opened
                .send::<Ticket>(number.to_string(), TicketCommand::Work)
                .await?;
            let id = AggregateId::new(number.to_string())?;
            handle.ended(&Tenant::default(), &id).await?;
            Ok(())
        })
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    app.stop().await;
    let undone = UNDONE.load(Ordering::Relaxed);
    if undone != 2 * count.div_ceil(10) {
        return Err(format!("{undone} undos for {count} orders").into());
    }
    Ok(seconds)
}

/// Megabytes that this process has in memory.
pub(crate) fn resident() -> Measured<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.ok_or("the kernel names no memory")? / 1e3)
}

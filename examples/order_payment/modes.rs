//! The three things that the example does.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use order_payment::domain::Inventory;
use order_payment::gateway::Moods;

use crate::arguments::{Generate, Replay};
use crate::replay::{FeedError, Feeder, Pace, Taken};
use crate::reports::{
    Effort, in_trouble, neutral_report, olist_report, print_generated, print_status, write_report,
};
use crate::shop::{Mode, Shop, bar};
use crate::sources::{
    FeedOrder, NeutralReader, OlistOrder, SourceError, generator, olist_plan, read_olist,
};
use crate::views::{Money, Orders};

type Done = Result<(), Box<dyn Error>>;

/// Works off generated orders.
pub(crate) async fn generate(wanted: Generate) -> Done {
    let Generate { orders, seed, data } = wanted;
    let moods = Moods::by_chance(seed, 300, 30, 15);
    let shop = Shop::open(&data, moods, Mode::Works).await?;
    let done = generate_in(&shop, orders, seed).await;
    close(&shop).await;
    done
}

async fn generate_in(shop: &Shop, orders: u64, seed: u64) -> Done {
    let began = Instant::now();
    let commits_before = shop.app.head().sequence.get();
    let terms = format!("generated orders with seed {seed}, {orders} at a time");
    let bar = bar(orders);
    let feeder = Feeder::begin(&shop.app, &terms, Pace::Concurrent, None, bar.clone())
        .await
        .map_err(|error| start_afresh(&error, &shop.data))?;
    let done_before = feeder.through();
    // A run that was interrupted is brought to its end first.
    let until = (done_before / orders + 1) * orders;
    if done_before > 0 {
        say!(
            "{} orders are there already; going on with number {}. To start afresh: rm -r {}\n",
            done_before,
            done_before + 1,
            shop.data.display()
        );
    }
    bar.set_length(until - done_before);
    bar.set_position(0);
    bar.set_message("orders");
    for (sku, command) in generator::deliveries(seed, orders, until - orders) {
        shop.app.send::<Inventory>(sku, command).await?;
    }
    let placed = (done_before + 1..=until).flat_map(|number| generator::order(seed, number));
    let taken = feeder.take(placed.map(Ok), interrupted()).await?;
    bar.finish_and_clear();
    if taken == Taken::Interrupted {
        return Err(go_on_later().into());
    }
    let effort = Effort {
        orders: until - done_before,
        commits: shop.app.head().sequence.get() - commits_before,
        took: began.elapsed(),
    };
    print_generated(shop, effort).await?;
    say!("  {:<18} {}", "data", shop.data.display());
    all_is_well(shop).await
}

/// Real orders, opened before anything else is touched.
enum Source {
    Olist(FeedOrder, Vec<OlistOrder>),
    Orders(PathBuf, NeutralReader),
}

/// Works off real orders.
pub(crate) async fn replay(wanted: Replay) -> Done {
    let (kind, source) = match (&wanted.olist, &wanted.orders) {
        (Some(folder), _) => {
            let feed = wanted.feed.unwrap_or(FeedOrder::Lifecycle);
            let kind = match feed {
                FeedOrder::Lifecycle => "olist-lifecycle",
                FeedOrder::Timestamp => "olist-timestamp",
            };
            (kind, Source::Olist(feed, read_olist(folder)?))
        }
        (None, Some(file)) => {
            let reader = NeutralReader::open(file)?;
            ("orders", Source::Orders(file.clone(), reader))
        }
        (None, None) => return Err("say what to replay: --olist or --orders".into()),
    };
    let data = wanted.data.clone();
    let data = data.unwrap_or_else(|| PathBuf::from("order_payment_data").join(kind));
    let shop = Shop::open(&data, Moods::default(), Mode::Works).await?;
    let done = replay_in(&shop, source, &wanted).await;
    close(&shop).await;
    done
}

async fn replay_in(shop: &Shop, source: Source, wanted: &Replay) -> Done {
    let is_olist = matches!(source, Source::Olist(..));
    let taken = match source {
        Source::Olist(feed, orders) => take_olist(shop, feed, &orders).await?,
        Source::Orders(file, reader) => take_orders(shop, &file, reader, wanted).await?,
    };
    if taken == Taken::Interrupted {
        return Err(go_on_later().into());
    }
    let head = shop.app.head().position;
    let orders = shop.app.view::<Orders>().at_least(head).await?;
    let money = shop.app.view::<Money>().at_least(head).await?;
    let report = if is_olist {
        olist_report(&orders, &money)
    } else {
        neutral_report(&shop.app, &orders, &money).await?
    };
    let file = wanted.report.as_deref();
    write_report(&report, file).map_err(|error| match file {
        Some(file) => format!("{}: {error}", file.display()),
        None => error.to_string(),
    })?;
    all_is_well(shop).await
}

async fn take_olist(
    shop: &Shop,
    feed: FeedOrder,
    orders: &[OlistOrder],
) -> Result<Taken, Box<dyn Error>> {
    let messages = olist_plan(orders, feed);
    let terms = format!("{} orders of Olist, {feed:?} feed", orders.len());
    let bar = bar(messages.len() as u64);
    bar.set_message("messages");
    let feeder = Feeder::begin(&shop.app, &terms, Pace::Concurrent, None, bar.clone())
        .await
        .map_err(|error| start_afresh(&error, &shop.data))?;
    let taken = feeder
        .take(messages.into_iter().map(Ok), interrupted())
        .await?;
    bar.finish_and_clear();
    Ok(taken)
}

async fn take_orders(
    shop: &Shop,
    file: &Path,
    reader: NeutralReader,
    wanted: &Replay,
) -> Result<Taken, Box<dyn Error>> {
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy();
    let stock = match wanted.stock {
        Some(units) => format!("{units} units of every product"),
        None => "uncounted stock".to_owned(),
    };
    let terms = format!("orders of {name}, {stock}");
    let pace = if wanted.sequential {
        Pace::Sequential
    } else {
        Pace::Concurrent
    };
    let bar = bar(reader.line_count()?);
    bar.set_message("lines");
    let feeder = Feeder::begin(&shop.app, &terms, pace, wanted.stock, bar.clone())
        .await
        .map_err(|error| start_afresh(&error, &shop.data))?;
    let taken = feeder.take(reader, interrupted()).await;
    bar.finish_and_clear();
    taken.map_err(|error| match error {
        FeedError::Refused {
            position, problem, ..
        } => SourceError::malformed(file, position, "order", problem).into(),
        other => other.into(),
    })
}

/// Says what a data directory holds.
pub(crate) async fn status(data: &Path) -> Done {
    if !data.join("chronicler").join("format").is_file() {
        return Err(format!("{}: no data of this example is there", data.display()).into());
    }
    let shop = Shop::open(data, Moods::default(), Mode::IsLookedAt).await?;
    let done = print_status(&shop).await;
    close(&shop).await;
    done
}

/// An error when a process waits for a person.
async fn all_is_well(shop: &Shop) -> Done {
    let trouble = in_trouble(&shop.app).await?;
    match trouble.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} processes wait for a person, the first is {first}; see: status --data {}",
            trouble.len(),
            shop.data.display()
        )
        .into()),
    }
}

async fn close(shop: &Shop) {
    let report = shop.app.stop().await;
    tracing::info!(?report, "stopped");
}

/// Ends when the user asks to stop.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // There is no such signal here: nobody will ever ask.
        std::future::pending::<()>().await;
    }
}

fn go_on_later() -> String {
    "interrupted; everything so far is kept. Start again with the same arguments to go on"
        .to_owned()
}

fn start_afresh(error: &dyn std::fmt::Display, data: &Path) -> String {
    format!(
        "{}: {error}. Go on with that one, choose another --data, or start afresh: rm -r {}",
        data.display(),
        data.display()
    )
}

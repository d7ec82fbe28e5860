//! The application: the shop's aggregates, views and processes over one data directory.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::SagaOptions;
use indicatif::{ProgressBar, ProgressStyle};
use order_payment::domain::{Feed, GoodsReturn, Inventory, Order, Payment, Shipment};
use order_payment::gateway::{Book, GATEWAY, Gateway, Moods};
use order_payment::sagas::{Checkout, Marketplace, ReturnHandling};

use crate::views::{Money, Orders, StockByProduct};

/// How long to wait before the gateway is asked again, when nobody knows what became of a call.
const UNKNOWN_WAIT: Duration = Duration::from_millis(100);
/// How long the shop waits for an answer of the gateway.
const GATEWAY_PATIENCE: Duration = Duration::from_millis(250);

/// The running shop.
pub(crate) struct Shop {
    pub(crate) app: App,
    pub(crate) book: Arc<Book>,
    pub(crate) data: PathBuf,
}

/// Whether the shop works, or is only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    IsLookedAt,
}

impl Shop {
    /// Opens the shop. Where there is nothing yet, a shop begins.
    pub(crate) async fn open(
        data: &Path,
        moods: Moods,
        mode: Mode,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        let book = Arc::new(Book::open(&data.join("gateway.jsonl"))?);
        let mut options = SagaOptions::default();
        options.call_timeout = GATEWAY_PATIENCE;
        // The moods of this gateway last. A real one is asked for minutes, which is the default.
        options.unknown_calls.budget = 3;
        options.unknown_calls.backoff_min = UNKNOWN_WAIT;
        options.unknown_calls.backoff_max = UNKNOWN_WAIT;
        options.paused = mode == Mode::IsLookedAt;
        let bar = spinner();
        let app = App::open(data.join("chronicler"))
            .aggregate::<Order>()
            .aggregate::<Payment>()
            .aggregate::<Inventory>()
            .aggregate::<Shipment>()
            .aggregate::<GoodsReturn>()
            .aggregate::<Feed>()
            .projection(Orders::default())
            .projection(Money::default())
            .table::<StockByProduct>()
            .saga(Steps::<Checkout>::of())
            .saga(Marketplace)
            .saga(ReturnHandling)
            .saga_options(options)
            .service(GATEWAY, Gateway::new(Arc::clone(&book), moods))
            .on_progress(move |views| {
                for view in views {
                    bar.set_message(format!("{}: {} of {}", view.name, view.at, view.of));
                }
            })
            .start()
            .await?;
        if let Some(report) = app.open_report() {
            for cut in &report.cut {
                eprintln!(
                    "note: {} bytes behind the last whole commit were kept aside in {}",
                    cut.bytes,
                    cut.path.display()
                );
            }
        }
        Ok(Self {
            app,
            book,
            data: data.to_owned(),
        })
    }
}

/// A bar for so many messages; silent where nobody looks.
pub(crate) fn bar(of: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg} {bar:40} {pos}/{len} ({per_sec}, {eta} left)";
    let bar = ProgressBar::new(of);
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

fn spinner() -> ProgressBar {
    if io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    }
}

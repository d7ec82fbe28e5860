//! How a directory is opened: over which store, with which options, and what is defined in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chronicler::domain::Timestamp;
use chronicler::prelude::*;
use chronicler::projections::{FlushPolicy, ProjectionOptions};
use chronicler::runtime::{ManualClock, RuntimeOptions, SnapshotPolicy};
use chronicler::sagas::SagaOptions;
use chronicler::store::journal::{Durability, JournalOptions};
use chronicler::store::{SledOptions, SledStore};
use order_payment::domain::{Inventory, Order, Payment, Shipment};
use order_payment::gateway::{Book, GATEWAY, Gateway, Moods};
use order_payment::sagas::Checkout;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::account::Account;
use crate::answer::{Kind, Refused};
use crate::driver::Driver;
use crate::register::Register;
use crate::requests::{Request, wrong};
use crate::subscriptions::Subscriptions;
use crate::tracking::Tracking;
use crate::transfer::{MoneyTransfer, Transfer};
use crate::views::{Balances, Ledger, OrderStatus};

/// Where a manual clock begins: 2026-01-02 00:00:00.
const MANUAL_BEGINS: Timestamp = Timestamp::from_millis(1_767_312_000_000);
/// How long the driver remembers command ids.
const REMEMBERED_FOR: Duration = Duration::from_secs(100 * 365 * 86_400);
/// After how many events an aggregate gets a snapshot.
const SNAPSHOT_EVENTS: u64 = 20;
/// After how many events the rows of the ledger are written.
const LEDGER_FLUSH_EVENTS: u64 = 64;
/// How long to wait before the gateway is asked again, when nobody knows what became of a call.
const UNKNOWN_WAIT: Duration = Duration::from_millis(100);
/// How long the gateway may take.
const GATEWAY_PATIENCE: Duration = Duration::from_millis(500);

impl Driver {
    pub(crate) async fn open(request: &Request) -> Result<(Self, Value), Refused> {
        let dir = match request.text("dir")? {
            "" => return Err(wrong("dir", "is empty")),
            dir => Path::new(dir),
        };
        let unavailable = |error: &dyn std::fmt::Display| Refused::new(Kind::Unavailable, error);
        std::fs::create_dir_all(dir).map_err(|error| unavailable(&error))?;
        let durability = match request.optional_text("durability")? {
            None | Some("fsync") => Durability::Fsync,
            Some("os") => Durability::Os,
            Some(_) => return Err(wrong("durability", "is not fsync or os")),
        };
        let clock = match request.optional_text("clock")? {
            None | Some("real") => None,
            Some("manual") => Some(ManualClock::new(MANUAL_BEGINS)),
            Some(_) => return Err(wrong("clock", "is not real or manual")),
        };
        let book = Book::open(&dir.join("gateway.jsonl")).map_err(|error| unavailable(&error))?;
        let (book, moods) = (Arc::new(book), Moods::default());
        let mut options = RuntimeOptions::default();
        options.remembered_for = REMEMBERED_FOR;
        // Ids come from clocks that are not the driver's.
        options.remembered_ahead_max = REMEMBERED_FOR;
        options.snapshots = SnapshotPolicy::EveryEvents(SNAPSHOT_EVENTS);
        let mut saga_options = SagaOptions::default();
        saga_options.call_timeout = GATEWAY_PATIENCE;
        saga_options.unknown_calls.budget = 3;
        saga_options.unknown_calls.backoff_min = UNKNOWN_WAIT;
        saga_options.unknown_calls.backoff_max = UNKNOWN_WAIT;
        let flush = FlushPolicy::default().events(LEDGER_FLUSH_EVENTS);
        let table_options = ProjectionOptions::default().flush(flush);
        let segment_bytes = request.optional_number("segment_bytes")?;
        let data = dir.join("chronicler");
        let app = match request.optional_text("store")? {
            None | Some("journal") => {
                let mut options = JournalOptions::default().durability(durability);
                if let Some(bytes) = segment_bytes {
                    options = options.segment_bytes(bytes);
                }
                App::open_with(data, options)
            }
            Some("sled") => {
                let mut options = SledOptions::default();
                if let Some(bytes) = segment_bytes {
                    options = options.segment_bytes(bytes);
                }
                let opening = spawn_blocking(move || SledStore::open(data, options)).await;
                let opened = opening.map_err(|error| unavailable(&error))?;
                App::over(Arc::new(opened.map_err(|error| unavailable(&error))?))
            }
            Some(_) => return Err(wrong("store", "is not journal or sled")),
        };
        let mut builder = app
            .options(options)
            .saga_options(saga_options)
            .aggregate::<Account>()
            .aggregate::<Register>()
            .aggregate::<Transfer>()
            .aggregate::<Order>()
            .aggregate::<Payment>()
            .aggregate::<Inventory>()
            .aggregate::<Shipment>()
            .projection(Balances::default())
            .projection(OrderStatus::default())
            .table_with::<Ledger>(table_options)
            .saga(MoneyTransfer)
            .saga(Steps::<Checkout>::of())
            .service(GATEWAY, Gateway::new(Arc::clone(&book), moods.clone()));
        if let Some(clock) = &clock {
            builder = builder.clock(Arc::new(clock.clone()));
        }
        let app = builder.start().await.map_err(|error| unavailable(&error))?;
        if let Some(clock) = &clock {
            // Time does not go back from one opening to the next.
            clock.set(app.head().timestamp.max(MANUAL_BEGINS));
        }
        let head = app.head().position.get();
        let driver = Self {
            app,
            clock,
            book,
            moods,
            tracking: Tracking::default(),
            subscriptions: Subscriptions::default(),
        };
        Ok((driver, json!({ "head": head })))
    }
}

//! Counting a product before it is first mentioned.

use std::collections::HashMap;

use chronicler::prelude::*;
use futures::FutureExt;
use futures::future::{self, BoxFuture, Shared};
use order_payment::domain::{Inventory, InventoryCommand};

type Opened = Shared<BoxFuture<'static, Result<(), String>>>;

/// Counts every product before it is first mentioned, each once.
pub(crate) struct Openings {
    app: App,
    /// What every product opens with; `None`: nothing is counted, and nothing refused.
    units: Option<i64>,
    opened: HashMap<String, Opened>,
}

impl Openings {
    pub(crate) fn new(app: App, units: Option<i64>) -> Self {
        let opened = HashMap::new();
        Self { app, units, opened }
    }

    /// Ends when all of these are counted.
    pub(crate) fn of(&mut self, skus: Vec<String>) -> BoxFuture<'static, Result<(), String>> {
        let Some(units) = self.units else {
            return future::ready(Ok(())).boxed();
        };
        let app = &self.app;
        let all: Vec<Opened> = skus
            .into_iter()
            .map(|sku| {
                let opened = self.opened.entry(sku.clone());
                opened
                    .or_insert_with(|| open(app.clone(), sku, units).boxed().shared())
                    .clone()
            })
            .collect();
        future::try_join_all(all).map(|all| all.map(|_| ())).boxed()
    }
}

async fn open(app: App, sku: String, units: i64) -> Result<(), String> {
    let sent = app.send::<Inventory>(sku.as_str(), InventoryCommand::Open { units });
    match sent.await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("product {sku} cannot be opened: {error}")),
    }
}

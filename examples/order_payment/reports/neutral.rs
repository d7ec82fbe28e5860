//! The report over orders, returns and adjustments of the neutral format.

use std::error::Error;

use chronicler::prelude::*;
use order_payment::domain::RejectReason;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::views::{Money, Orders, StockByProduct, StockRow};

/// How many rejections are named.
const FIRST_REJECTIONS: usize = 5;

/// The report over everything that the shop holds.
pub(crate) async fn neutral_report(
    app: &App,
    orders: &Orders,
    money: &Money,
) -> Result<Value, Box<dyn Error>> {
    let confirmed = orders.0.values().filter_map(|order| order.confirmed);
    let mut rejections: Vec<_> = orders
        .0
        .iter()
        .filter_map(|(id, order)| {
            let (message, reason) = order.rejected.as_ref()?;
            let sku = match reason {
                RejectReason::Shortage { sku } => sku.as_str(),
                _ => "",
            };
            Some((message, id, sku))
        })
        .collect();
    rejections.sort();
    let first = rejections.iter().take(FIRST_REJECTIONS);
    let stock = stock(app).await?;
    let lines: Vec<String> = stock
        .iter()
        .map(|(sku, row)| format!("{sku}\t{}", row.on_hand()))
        .collect();
    Ok(json!({
        "compensated_units_released": stock.iter().map(|(_, row)| row.released).sum::<i64>(),
        "confirmed": confirmed.clone().count(),
        "confirmed_gross": confirmed.sum::<i64>(),
        "final_stock_digest": format!("{:x}", Sha256::digest(lines.join("\n"))),
        "final_stock_total": stock.iter().map(|(_, row)| row.on_hand()).sum::<i64>(),
        "first_rejections": first.map(|(_, id, sku)| json!([id, sku])).collect::<Vec<_>>(),
        "refunded": money.refunded + money.paid_out,
        "rejected": rejections.len(),
        "skus_touched": stock.len(),
    }))
}

/// Every product that was ever mentioned, in the order of their names.
pub(crate) async fn stock(app: &App) -> Result<Vec<(String, StockRow)>, Box<dyn Error>> {
    let table = app.table::<StockByProduct>()?;
    let table = table.at_least(app.head().position).await?;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = table.scan("", after, usize::MAX).await?;
        for (key, row) in page.rows {
            rows.push((String::from_utf8(key.to_vec())?, row));
        }
        if page.next.is_none() {
            return Ok(rows);
        }
        after = page.next;
    }
}

//! The Olist files, joined by order and checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use order_payment::domain::{Amount, ReportedStatus, SourceTime};

use super::SourceError;
use super::decimal::parse_centavos;

/// A row of the orders file with all that the other files say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OlistOrder {
    /// The line of the orders file.
    pub(crate) line: u64,
    pub(crate) id: String,
    /// Who it is, over all orders: `customer_unique_id`.
    pub(crate) customer: String,
    pub(crate) region: String,
    pub(crate) status: ReportedStatus,
    pub(crate) purchased: SourceTime,
    pub(crate) approved: Option<SourceTime>,
    pub(crate) carrier: Option<SourceTime>,
    pub(crate) delivered: Option<SourceTime>,
    /// By `order_item_id`.
    pub(crate) items: Vec<OlistItem>,
    /// By `payment_sequential`.
    pub(crate) payments: Vec<OlistPayment>,
}

/// A row of the items file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OlistItem {
    pub(crate) number: u32,
    pub(crate) product: String,
    pub(crate) seller: String,
    pub(crate) price: Amount,
    pub(crate) freight: Amount,
}

/// A row of the payments file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OlistPayment {
    pub(crate) sequential: u32,
    pub(crate) kind: String,
    pub(crate) amount: Amount,
}

/// The name of the file whose rows are the orders.
pub(crate) const ORDERS_FILE: &str = "olist_orders_dataset.csv";

/// Reads the four files of a directory, in the order of the orders file.
pub(crate) fn read_olist(directory: &Path) -> Result<Vec<OlistOrder>, SourceError> {
    let customers = read_customers(&directory.join("olist_customers_dataset.csv"))?;
    let (mut orders, places) = read_orders(&directory.join(ORDERS_FILE), &customers)?;
    let known = |row: &Row<'_>| {
        let id = row.text("order_id")?;
        let place = places.get(id).copied();
        place.ok_or_else(|| row.wrong("order_id", format!("{id:?} is not in {ORDERS_FILE}")))
    };

    each_row(&directory.join("olist_order_items_dataset.csv"), |row| {
        let item = OlistItem {
            number: row.number("order_item_id")?,
            product: row.text("product_id")?.to_owned(),
            seller: row.text("seller_id")?.to_owned(),
            price: row.amount("price")?,
            freight: row.amount("freight_value")?,
        };
        if let Some(order) = orders.get_mut(known(&row)?) {
            order.items.push(item);
        }
        Ok(())
    })?;
    each_row(&directory.join("olist_order_payments_dataset.csv"), |row| {
        let payment = OlistPayment {
            sequential: row.number("payment_sequential")?,
            kind: row.text("payment_type")?.to_owned(),
            amount: row.amount("payment_value")?,
        };
        if let Some(order) = orders.get_mut(known(&row)?) {
            if order
                .payments
                .iter()
                .any(|other| other.sequential == payment.sequential)
            {
                return Err(row.wrong("payment_sequential", "it stands twice for this order"));
            }
            order.payments.push(payment);
        }
        Ok(())
    })?;

    for order in &mut orders {
        order.items.sort_by_key(|item| item.number);
        order.payments.sort_by_key(|payment| payment.sequential);
    }
    Ok(orders)
}

/// By `customer_id`: who it is, and where.
fn read_customers(file: &Path) -> Result<HashMap<String, (String, String)>, SourceError> {
    let mut customers = HashMap::new();
    each_row(file, |row| {
        let person = (
            row.text("customer_unique_id")?.to_owned(),
            row.text("customer_state")?.to_owned(),
        );
        customers.insert(row.text("customer_id")?.to_owned(), person);
        Ok(())
    })?;
    Ok(customers)
}

type Places = HashMap<String, usize>;

fn read_orders(
    file: &Path,
    customers: &HashMap<String, (String, String)>,
) -> Result<(Vec<OlistOrder>, Places), SourceError> {
    let mut orders = Vec::new();
    let mut places = Places::new();
    each_row(file, |row| {
        let id = row.text("order_id")?.to_owned();
        let customer = row.text("customer_id")?;
        let Some((customer, region)) = customers.get(customer).cloned() else {
            return Err(row.wrong("customer_id", format!("{customer:?} is not a customer")));
        };
        if places.insert(id.clone(), orders.len()).is_some() {
            return Err(row.wrong("order_id", format!("{id:?} stands twice")));
        }
        orders.push(OlistOrder {
            line: row.line,
            id,
            customer,
            region,
            status: row.status("order_status")?,
            purchased: row
                .time("order_purchase_timestamp")?
                .ok_or_else(|| row.wrong("order_purchase_timestamp", "it is missing"))?,
            approved: row.time("order_approved_at")?,
            carrier: row.time("order_delivered_carrier_date")?,
            delivered: row.time("order_delivered_customer_date")?,
            items: Vec::new(),
            payments: Vec::new(),
        });
        Ok(())
    })?;
    Ok((orders, places))
}

/// A row and where it stands.
struct Row<'a> {
    file: &'a Path,
    line: u64,
    columns: &'a HashMap<String, usize>,
    record: &'a StringRecord,
}

impl Row<'_> {
    fn wrong(&self, field: &str, problem: impl ToString) -> SourceError {
        SourceError::malformed(self.file, self.line, field, problem)
    }

    /// A field as it stands, possibly empty.
    fn raw(&self, field: &str) -> Result<&str, SourceError> {
        let found = self.columns.get(field).and_then(|at| self.record.get(*at));
        found.ok_or_else(|| self.wrong(field, "there is no such column"))
    }

    fn text(&self, field: &str) -> Result<&str, SourceError> {
        match self.raw(field)? {
            "" => Err(self.wrong(field, "it is empty")),
            text => Ok(text),
        }
    }

    fn number(&self, field: &str) -> Result<u32, SourceError> {
        let text = self.text(field)?;
        text.parse()
            .map_err(|_| self.wrong(field, format!("{text:?} is no whole number")))
    }

    fn amount(&self, field: &str) -> Result<Amount, SourceError> {
        parse_centavos(self.text(field)?).map_err(|problem| self.wrong(field, problem))
    }

    fn time(&self, field: &str) -> Result<Option<SourceTime>, SourceError> {
        match self.raw(field)? {
            "" => Ok(None),
            text => match SourceTime::parse_civil(text) {
                Ok(time) => Ok(Some(time)),
                Err(problem) => Err(self.wrong(field, problem)),
            },
        }
    }

    fn status(&self, field: &str) -> Result<ReportedStatus, SourceError> {
        let text = self.text(field)?;
        let value = serde_json::Value::from(text);
        serde_json::from_value(value)
            .map_err(|_| self.wrong(field, format!("{text:?} is no known status")))
    }
}

fn each_row(
    file: &Path,
    mut take: impl FnMut(Row<'_>) -> Result<(), SourceError>,
) -> Result<(), SourceError> {
    let unreadable = |error: csv::Error| in_csv(file.to_owned(), error);
    let mut reader = csv::Reader::from_path(file).map_err(unreadable)?;
    let headers = reader.headers().map_err(unreadable)?;
    let columns: HashMap<String, usize> = headers
        .iter()
        .enumerate()
        .map(|(at, name)| (name.to_owned(), at))
        .collect();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, csv::Position::line);
        take(Row {
            file,
            line,
            columns: &columns,
            record: &record,
        })?;
    }
    Ok(())
}

fn in_csv(file: PathBuf, error: csv::Error) -> SourceError {
    let line = error.position().map_or(0, csv::Position::line);
    let problem = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => SourceError::Unreadable { file, source },
        _ => SourceError::malformed(&file, line, "the whole line", problem),
    }
}

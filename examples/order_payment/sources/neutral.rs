//! The neutral format: JSON lines of orders, returns and adjustments, in the order of arrival.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use chronicler_domain::AggregateId;
use order_payment::domain::{
    AMOUNT_MAX, Amount, GoodsReturnCommand, InventoryCommand, Line, MessageId, OrderCommand,
    Parcel, PaymentPlan, Placement, Process, SourceTime,
};
use serde_json::Value;

use super::json_fields::{FieldError, Fields};
use super::{Message, Sent, SourceError};

/// The longest line, in bytes. An order of 700 lines has about 60 kB.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest order id, in bytes: ids of payments are made of it.
const ORDER_ID_BYTES_MAX: usize = 200;

/// How an order without payments is said to be paid.
const PAID_IN_FULL: &str = "full";

/// Reads a file line by line. After an error there is nothing more to read.
pub(crate) struct NeutralReader {
    file: PathBuf,
    /// The file's name alone, so that a replay may go on after the file was moved.
    name: String,
    lines: BufReader<File>,
    line: u64,
    failed: bool,
}

impl NeutralReader {
    /// Opens a file at its beginning.
    pub(crate) fn open(file: &Path) -> Result<Self, SourceError> {
        let opened = File::open(file).map_err(|source| SourceError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        let name = file.file_name().unwrap_or(file.as_os_str());
        Ok(Self {
            file: file.to_owned(),
            name: name.to_string_lossy().into_owned(),
            lines: BufReader::new(opened),
            line: 0,
            failed: false,
        })
    }

    /// How many lines the file has at present.
    pub(crate) fn line_count(&self) -> Result<u64, SourceError> {
        let unreadable = |source| SourceError::Unreadable {
            file: self.file.clone(),
            source,
        };
        let mut lines = BufReader::new(File::open(&self.file).map_err(unreadable)?);
        let mut count = 0;
        loop {
            let block = lines.fill_buf().map_err(unreadable)?;
            if block.is_empty() {
                return Ok(count);
            }
            count += block.iter().filter(|byte| **byte == b'\n').count() as u64;
            let length = block.len();
            lines.consume(length);
        }
    }

    fn complaint(&self, line: u64, field: &str, problem: impl ToString) -> SourceError {
        SourceError::malformed(&self.file, line, field, problem)
    }

    fn read(&mut self) -> Result<Option<Message>, SourceError> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let taken = std::io::Read::take(&mut self.lines, limit).read_until(b'\n', &mut bytes);
            let taken = taken.map_err(|source| SourceError::Unreadable {
                file: self.file.clone(),
                source,
            })?;
            if taken == 0 {
                return Ok(None);
            }
            self.line += 1;
            if taken > LINE_BYTES_MAX {
                let problem = format!("it is longer than {LINE_BYTES_MAX} bytes");
                return Err(self.complaint(self.line, "the whole line", problem));
            }
            if !bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| self.complaint(self.line, "the whole line", in_line(&error)))?;
        let message = MessageId {
            source: self.name.clone(),
            line: self.line,
        };
        let message = parse(&value, message)
            .map_err(|FieldError { field, problem }| self.complaint(self.line, &field, problem))?;
        Ok(Some(message))
    }
}

impl Iterator for NeutralReader {
    type Item = Result<Message, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read();
        self.failed = read.is_err();
        read.transpose()
    }
}

/// The words of a JSON error with the place in this line; its own line number is always 1.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    format!("no JSON: {words} at column {}", error.column())
}

fn parse(value: &Value, message: MessageId) -> Result<Message, FieldError> {
    let fields = Fields::of_line(value)?;
    let position = message.line;
    let (key, sent, skus) = match fields.text("kind")? {
        "order" => parse_order(&fields, message)?,
        "return" => parse_return(&fields, message)?,
        "adjust" => parse_adjust(&fields, message)?,
        other => {
            let problem = format!("{other:?} is not order, return or adjust");
            return Err(fields.wrong("kind", problem));
        }
    };
    Ok(Message {
        position,
        key,
        sent,
        skus,
    })
}

type Parsed = Result<(String, Sent, Vec<String>), FieldError>;

fn parse_order(fields: &Fields<'_>, message: MessageId) -> Parsed {
    let order = parse_order_id(fields)?;
    let lines = parse_lines(fields)?;
    let mut payments = Vec::new();
    if fields.optional("payments").is_some() {
        for (sequential, payment) in (1..).zip(fields.list("payments")?) {
            payments.push(PaymentPlan {
                sequential,
                kind: payment.text("type")?.to_owned(),
                amount: payment.integer("amount", -AMOUNT_MAX, AMOUNT_MAX)?,
            });
        }
    }
    if payments.is_empty() {
        payments.push(PaymentPlan {
            sequential: 1,
            kind: PAID_IN_FULL.to_owned(),
            amount: lines.iter().map(Line::price).sum(),
        });
    }
    let skus = stocked(&lines);
    let placement = Placement {
        message,
        at: parse_time(fields)?,
        customer: fields.optional_text("customer")?.map(str::to_owned),
        region: None,
        lines,
        payments,
        process: Process::StockFirst,
    };
    Ok((order, Sent::Order(OrderCommand::Place(placement)), skus))
}

fn parse_return(fields: &Fields<'_>, message: MessageId) -> Parsed {
    let lines = parse_lines(fields)?;
    let skus = stocked(&lines);
    // The same return id may stand on many lines; the line is what tells them apart.
    let key = message.to_string();
    let parcel = Parcel {
        return_id: fields.text("return")?.to_owned(),
        order: fields.optional_text("order")?.map(str::to_owned),
        at: parse_time(fields)?,
        message,
        lines,
    };
    Ok((key, Sent::Return(GoodsReturnCommand::Receive(parcel)), skus))
}

fn parse_adjust(fields: &Fields<'_>, message: MessageId) -> Parsed {
    let sku = parse_sku(fields)?;
    let command = InventoryCommand::Adjust {
        message,
        quantity: fields.integer("quantity", -AMOUNT_MAX, AMOUNT_MAX)?,
        reason: fields
            .optional_text("reason")?
            .unwrap_or_default()
            .to_owned(),
        at: parse_time(fields)?,
    };
    Ok((sku.clone(), Sent::Inventory(command), vec![sku]))
}

fn parse_lines(fields: &Fields<'_>) -> Result<Vec<Line>, FieldError> {
    let mut lines = Vec::new();
    let mut total: Amount = 0;
    for entry in fields.list("lines")? {
        let quantity = entry.integer("quantity", 1, i64::from(u32::MAX))?;
        let line = Line {
            sku: parse_sku(&entry)?,
            quantity: u32::try_from(quantity).unwrap_or(u32::MAX),
            unit_price: entry.integer("unit_price", -AMOUNT_MAX, AMOUNT_MAX)?,
            freight: 0,
            seller: None,
            stocked: entry.flag("stocked", true)?,
        };
        total = total.saturating_add(line.price().saturating_abs());
        if total > AMOUNT_MAX {
            let problem = format!("the lines come to more than {AMOUNT_MAX}");
            return Err(entry.wrong("unit_price", problem));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The stocked products, once each, in the order of their lines.
fn stocked(lines: &[Line]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let stocked = lines.iter().filter(|line| line.stocked);
    let new = stocked.filter(|line| seen.insert(&line.sku));
    new.map(|line| line.sku.clone()).collect()
}

fn parse_time(fields: &Fields<'_>) -> Result<SourceTime, FieldError> {
    SourceTime::parse_rfc3339(fields.text("at")?).map_err(|problem| fields.wrong("at", problem))
}

fn parse_order_id(fields: &Fields<'_>) -> Result<String, FieldError> {
    let order = fields.text("order")?;
    if order.len() > ORDER_ID_BYTES_MAX {
        let problem = format!("it is longer than {ORDER_ID_BYTES_MAX} bytes");
        return Err(fields.wrong("order", problem));
    }
    AggregateId::new(order).map_err(|problem| fields.wrong("order", problem))?;
    Ok(order.to_owned())
}

fn parse_sku(fields: &Fields<'_>) -> Result<String, FieldError> {
    let sku = fields.text("sku")?;
    AggregateId::new(sku).map_err(|problem| fields.wrong("sku", problem))?;
    Ok(sku.to_owned())
}

#[cfg(test)]
#[path = "neutral_tests.rs"]
mod tests;

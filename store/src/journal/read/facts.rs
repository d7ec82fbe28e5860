//! Facts: what the index has, with what it does not have yet laid over it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{self, BoxFuture};

use super::blocking::run;
use crate::error::ReadError;
use crate::frame::FactKind;
use crate::journal::memory::FactValue;
use crate::journal::shared::Shared;
use crate::journal::write::index_failed;
use crate::log::FactEntry;
use crate::query::FactQuery;

/// How many rows of the index are read at a time.
const PAGE_ROWS: usize = 1_024;
/// Longer than any key of a fact.
const BEYOND_KEY_BYTES: usize = 1_025;

/// Reads facts as durable.
pub(crate) struct FactReader {
    shared: Arc<Shared>,
}

impl FactReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// One fact.
    pub(crate) fn fact(
        self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        if self.shared.is_closed() {
            return Box::pin(future::ready(Err(ReadError::Closed)));
        }
        let durable = self.shared.durable();
        match self.shared.facts.durable(kind, &key, durable) {
            Some(fact) => Box::pin(future::ready(Ok(entry(key, fact)))),
            None => run(move || {
                let found = self.shared.index()?.fact(kind, &key);
                let found = found.map_err(|error| index_failed(&error))?;
                Ok(found.map(|(value, sequence)| FactEntry {
                    key,
                    value,
                    sequence,
                }))
            }),
        }
    }

    /// Facts of one kind.
    pub(crate) fn facts(
        self,
        query: FactQuery,
    ) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        if self.shared.is_closed() {
            return Box::pin(future::ready(Err(ReadError::Closed)));
        }
        run(move || self.read(&query))
    }

    fn read(&self, query: &FactQuery) -> Result<Vec<FactEntry>, ReadError> {
        let index = self.shared.index()?;
        let mut after = first_after(query);
        // Memory before the index: what moves from one to the other meanwhile is seen twice, not never.
        let durable = self.shared.durable();
        let changed = self.shared.facts.range(query.kind, after.as_ref(), durable);
        let mut changed = changed.into_iter().peekable();
        let mut found = Vec::new();
        let within = |key: &Bytes| {
            key.starts_with(&query.prefix) && query.until.as_ref().is_none_or(|until| key <= until)
        };
        loop {
            let page = index.facts(query.kind, after.as_deref(), PAGE_ROWS);
            let page = page.map_err(|error| index_failed(&error))?;
            let is_last = page.len() < PAGE_ROWS;
            after = page.last().map(|(key, _, _)| key.clone()).or(after);
            for (key, value, sequence) in page {
                while let Some((key, fact)) = changed.next_if(|(changed, _)| *changed < key) {
                    found.extend(entry(key, fact).filter(|entry| within(&entry.key)));
                }
                let fact = match changed.next_if(|(changed, _)| *changed == key) {
                    Some((_, fact)) => fact,
                    None => FactValue {
                        value: Some(value),
                        sequence,
                    },
                };
                if !within(&key) || found.len() >= query.limit {
                    found.truncate(query.limit);
                    return Ok(found);
                }
                found.extend(entry(key, fact));
            }
            if is_last {
                break;
            }
        }
        let rest = changed.take_while(|(key, _)| within(key));
        found.extend(rest.filter_map(|(key, fact)| entry(key, fact)));
        found.truncate(query.limit);
        Ok(found)
    }
}

/// The key behind which the wanted ones begin; `None`: at the first.
fn first_after(query: &FactQuery) -> Option<Bytes> {
    query.after.clone().max(just_before(&query.prefix))
}

/// A key that is less than `prefix`, with no possible key between; `None` if there is no key before it.
fn just_before(prefix: &Bytes) -> Option<Bytes> {
    let (last, rest) = prefix.split_last()?;
    let mut before = rest.to_vec();
    if let Some(less) = last.checked_sub(1) {
        before.push(less);
        before.resize(before.len() + BEYOND_KEY_BYTES, u8::MAX);
    }
    Some(before.into())
}

fn entry(key: Bytes, fact: FactValue) -> Option<FactEntry> {
    Some(FactEntry {
        key,
        value: fact.value?,
        sequence: fact.sequence,
    })
}

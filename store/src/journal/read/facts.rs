//! Facts: what the index has, with what it does not have yet laid over it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{self, BoxFuture};

use super::blocking::run;
use crate::error::ReadError;
use crate::frame::FactKind;
use crate::index::Index;
use crate::journal::memory::{FactValue, Stretch};
use crate::journal::shared::Shared;
use crate::log::FactEntry;
use crate::query::FactQuery;

/// How many rows of the index are read at a time, at most and at least.
const PAGE_ROWS: usize = 1_024;
const PAGE_ROWS_MIN: usize = 32;
/// How many rows of the index that count no more one read may pass before the index is brought after the log, whatever
/// else there is to do: about 10 ms of reading.
const HIDDEN_ROWS_MAX: usize = 8_192;
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
        let durable = self
            .shared
            .facts
            .durable(kind, &key, || self.shared.durable());
        match durable {
            Some(fact) => Box::pin(future::ready(Ok(entry(key, fact)))),
            None => run(move || {
                let found = self.shared.ask_index(|index| index.fact(kind, &key))?;
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
        let mut after = first_after(query);
        let (mut found, mut hidden) = (Vec::new(), 0);
        let within = |key: &Bytes| {
            key.starts_with(&query.prefix) && query.until.as_ref().is_none_or(|until| key <= until)
        };
        // No more of the index than is wanted, and more only if what it has does not count any more.
        let mut rows_max = query.limit.clamp(PAGE_ROWS_MIN, PAGE_ROWS);
        'stretches: while found.len() < query.limit {
            let generation = self.shared.facts.generation();
            let page = |index: &dyn Index| index.facts(query.kind, after.as_deref(), rows_max);
            let rows = self.shared.ask_index(page)?;
            let last = rows.last().map(|(key, _, _)| key.clone());
            let to = last.filter(|_| rows.len() >= rows_max);
            let stretch = Stretch {
                kind: query.kind,
                after: after.as_ref(),
                to: to.iter().chain(&query.until).min(),
                rows,
                wanted: (query.limit - found.len()).min(PAGE_ROWS),
            };
            let durable = || self.shared.durable();
            let overlaid = self.shared.facts.overlay(&stretch, generation, durable);
            let Some(overlaid) = overlaid else {
                continue 'stretches;
            };
            hidden += overlaid.hidden;
            // As many as were wanted: more may lie before the end of the stretch.
            let is_cut = overlaid.facts.len() == stretch.wanted;
            let last = overlaid.facts.last().map(|(key, _, _)| key.clone());
            let to = last.filter(|_| is_cut).or(to);
            for (key, value, sequence) in overlaid.facts {
                if !within(&key) {
                    break 'stretches;
                }
                found.push(FactEntry {
                    key,
                    value,
                    sequence,
                });
            }
            after = match to {
                Some(to) if within(&to) => Some(to),
                _ => break,
            };
            rows_max = PAGE_ROWS;
        }
        if hidden > HIDDEN_ROWS_MAX {
            self.shared.follower.apply_soon();
        }
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

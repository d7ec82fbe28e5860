//! What the log remembers of durable subscriptions, and who holds which name.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use chronicler_store::{Append, FactEntry, FactKind, FactQuery, SideRecord, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::options::{NAME_MAX, SubscribeError};
use crate::clock::Clock;
use crate::ids::Ids;

/// How the key of a subscription's fact begins.
const PREFIX: &[u8] = b"subscription\0";

/// Who follows under which name.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<String>>>);

/// A name, held by one.
pub(super) struct Claim {
    claims: Claims,
    name: String,
}

impl Claims {
    pub(super) fn claim(&self, name: &str) -> Result<Claim, SubscribeError> {
        if !(1..=NAME_MAX).contains(&name.len()) {
            return Err(SubscribeError::Name(name.len()));
        }
        if !self.0.lock().insert(name.to_owned()) {
            return Err(SubscribeError::InUse(name.to_owned()));
        }
        Ok(Claim {
            claims: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.name);
    }
}

pub(super) fn key(name: &str) -> Bytes {
    [PREFIX, name.as_bytes()].concat().into()
}

pub(super) fn position(name: &str, fact: &FactEntry) -> Result<GlobalPosition, SubscribeError> {
    decode(CodecId::BINCODE, &fact.value).map_err(|source| SubscribeError::Cursor {
        name: name.to_owned(),
        source,
    })
}

/// What the log remembers of durable subscriptions.
pub(crate) async fn list(
    store: &dyn Store,
) -> Result<Vec<(String, GlobalPosition)>, SubscribeError> {
    let query = FactQuery {
        prefix: Bytes::from_static(PREFIX),
        ..FactQuery::all(FactKind::CURSOR)
    };
    let facts = store.facts(query).await?;
    let entry = |fact: &FactEntry| {
        let name = String::from_utf8_lossy(fact.key.get(PREFIX.len()..).unwrap_or_default());
        Ok((name.to_string(), position(&name, fact)?))
    };
    facts.iter().map(entry).collect()
}

/// Waits until everything handed in before was answered.
pub(super) async fn barrier(store: &dyn Store) {
    let (reached, answered) = oneshot::channel();
    store.barrier(Box::new(move || _ = reached.send(())));
    drop(answered.await);
}

/// Forgets a subscription: under its name a new one begins.
pub(crate) async fn forget(
    claims: &Claims,
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
) -> Result<(), SubscribeError> {
    let _claim = claims.claim(name)?;
    barrier(store).await;
    let fact = store.fact(FactKind::CURSOR, key(name)).await?;
    fact.ok_or_else(|| SubscribeError::Unknown(name.to_owned()))?;
    store.append(cursor(key(name), None, clock.now())).await?;
    Ok(())
}

/// A commit that records a cursor, or removes it.
pub(super) fn cursor(key: Bytes, position: Option<GlobalPosition>, now: Timestamp) -> Append {
    let encoded = |position| encode(PayloadCodec::Bincode, &position).ok();
    Append::new(Ids::next(now), now).record(SideRecord::Fact {
        kind: FactKind::CURSOR,
        key,
        value: position.and_then(encoded),
    })
}

//! How far consumers say they have come: recorded in the commit that goes with it, and never backwards.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chronicler::store::{FactKind, SideRecord, Store};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::answer::{Kind, Refused};

/// How the key of a consumer's fact begins.
const PREFIX: &str = "esdrv\0";

/// One lock per consumer: whoever checks how far it is, records it before anybody else checks.
#[derive(Default)]
pub(crate) struct Tracking(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

/// A consumer's turn.
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] OwnedMutexGuard<()>);

impl Tracking {
    /// Checks that `position` is new to the consumer, and gives the record for the commit. The turn must be held
    /// until the commit was answered.
    pub(crate) async fn advance(
        &self,
        store: &dyn Store,
        name: &str,
        position: u64,
    ) -> Result<(Turn, SideRecord), Refused> {
        let lock = self.0.lock().entry(name.to_owned()).or_default().clone();
        let turn = lock.lock_owned().await;
        let reached = reached(store, name).await?;
        if reached.is_some_and(|reached| position <= reached) {
            let reached = reached.unwrap_or_default();
            let message = format!("{name} has processed position {reached} already");
            return Err(Refused::new(Kind::Conflict, message));
        }
        Ok((Turn(turn), record(name, position)))
    }
}

/// The largest position recorded.
pub(crate) async fn reached(store: &dyn Store, name: &str) -> Result<Option<u64>, Refused> {
    let fact = store.fact(FactKind::CURSOR, key(name)).await?;
    let position = |fact: chronicler::store::FactEntry| {
        let bytes: [u8; 8] = fact.value.as_ref().try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    Ok(fact.and_then(position))
}

pub(crate) fn record(name: &str, position: u64) -> SideRecord {
    SideRecord::Fact {
        kind: FactKind::CURSOR,
        key: key(name),
        value: Some(Bytes::copy_from_slice(&position.to_le_bytes())),
    }
}

fn key(name: &str) -> Bytes {
    format!("{PREFIX}{name}").into()
}

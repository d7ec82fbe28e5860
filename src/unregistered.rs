//! What a log holds that nothing registered in the running application answers for.

use std::collections::BTreeMap;
use std::fmt;

use chronicler_domain::StreamId;
use chronicler_projections::projection_of_facts;
use chronicler_runtime::owner_of_timer;
use chronicler_store::{FactKind, FactQuery, ReadError};
use serde::{Deserialize, Serialize};

use crate::app::App;

/// Facts that are read together.
const FACTS_READ_MAX: usize = 1_024;

/// Something in the log that nothing registered answers for: it does not go on until an application registers it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unregistered {
    /// Which kind of thing.
    pub what: UnregisteredKind,
    /// Its name: of a saga type or a category as `saga:order`, of timers their owner.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// What nothing registered answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UnregisteredKind {
    /// Open instances of a saga type.
    OpenSagas,
    /// Armed timers of an owner.
    Timers,
    /// Instances of a category that are in quarantine.
    Quarantined,
    /// Events that a consumer has set aside.
    Parked,
}

impl fmt::Display for Unregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            UnregisteredKind::OpenSagas => "open sagas",
            UnregisteredKind::Timers => "armed timers",
            UnregisteredKind::Quarantined => "instances in quarantine",
            UnregisteredKind::Parked => "parked events",
        };
        let name = self.name.escape_debug();
        write!(f, "{name}: {what} in number {}", self.count)
    }
}

impl App {
    /// What the log holds that nothing registered here answers for, by kind and name: open sagas, armed timers, instances in
    /// quarantine, parked events. Looked for at the start, too, and told in a warning. Reads the open facts of the log, not
    /// the log: a tenth of a second for 100,000 open sagas.
    ///
    /// Of an aggregate type that is not registered, and of which nothing is open, nothing is told.
    ///
    /// # Errors
    /// When the store cannot be read.
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub async fn unregistered(&self) -> Result<Vec<Unregistered>, ReadError> {
        let (effects, timers) = (self.runtime().effects(), self.runtime().timers());
        let projections = self.projections().list();
        let category_of = |key: &[u8]| {
            let stream = StreamId::from_key(std::str::from_utf8(key).ok()?)?;
            let category = stream.category();
            (!effects.hosts(category)).then(|| category.to_owned())
        };
        let owner_of = |key: &[u8]| {
            let owner = owner_of_timer(key)?;
            let is_handled = timers.handles(owner) || effects.hosts(owner);
            (!is_handled).then(|| owner.to_owned())
        };
        let consumer_of = |key: &[u8]| {
            let end = key.iter().position(|byte| *byte == 0)?;
            let name = std::str::from_utf8(key.get(..end)?).ok()?;
            let name = projection_of_facts(name);
            let is_known = effects.hosts(name)
                || projections
                    .iter()
                    .any(|projection| *projection.name == *name);
            (!is_known).then(|| name.to_owned())
        };
        let mut found = Vec::new();
        for (kind, what, name) in [
            (
                FactKind::OPEN_SAGA,
                UnregisteredKind::OpenSagas,
                &category_of as &(dyn Fn(&[u8]) -> Option<String> + Sync),
            ),
            (FactKind::TIMER, UnregisteredKind::Timers, &owner_of),
            (
                FactKind::QUARANTINE,
                UnregisteredKind::Quarantined,
                &category_of,
            ),
            (FactKind::PARKED, UnregisteredKind::Parked, &consumer_of),
        ] {
            let counted = self.count(kind, name).await?.into_iter();
            found.extend(counted.map(|(name, count)| Unregistered { what, name, count }));
        }
        Ok(found)
    }

    /// How many facts of a kind there are under each name.
    async fn count(
        &self,
        kind: FactKind,
        name: &(dyn Fn(&[u8]) -> Option<String> + Sync),
    ) -> Result<BTreeMap<String, u64>, ReadError> {
        let (mut counts, mut after) = (BTreeMap::new(), None);
        loop {
            let query = FactQuery {
                after: after.take(),
                limit: FACTS_READ_MAX,
                ..FactQuery::all(kind)
            };
            let facts = self.store().facts(query).await?;
            for name in facts.iter().filter_map(|fact| name(&fact.key)) {
                *counts.entry(name).or_insert(0) += 1;
            }
            match facts.last() {
                Some(last) if facts.len() == FACTS_READ_MAX => after = Some(last.key.clone()),
                _ => return Ok(counts),
            }
        }
    }

    /// Says in one warning what nothing registered answers for.
    pub(crate) async fn tell_unregistered(&self) {
        match self.unregistered().await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    found = found.join("; "),
                    "the log holds what nothing registered here answers for: it waits until an application registers it again"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "what nothing registered here answers for could not be looked up")
            }
        }
    }
}

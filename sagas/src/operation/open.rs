//! Open sagas, as the list of them has each, without waking any.

use chronicler_domain::{LogSequence, StreamId, Timestamp};
use chronicler_store::{FactKind, FactQuery, ReadError, Store};

use crate::instance::open_fact::{OpenFact, OpenStatus};

/// An open instance of any saga type, as the list of open ones has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenSaga {
    /// Its stream: whose data it is, the saga, and its id.
    pub stream: StreamId,
    /// When it began.
    pub since: Timestamp,
    /// Where it is, in a word.
    pub status: OpenStatus,
    /// The version of the definition that it goes by.
    pub version: u32,
    /// What it waits for, if it waits.
    pub on: Vec<String>,
    /// When the first of its timers is due, if it waits.
    pub until: Option<Timestamp>,
    /// Why a person should look at it.
    pub escalated: Option<String>,
    /// The commit that last changed this.
    pub sequence: LogSequence,
}

impl OpenSaga {
    /// Reads a fact of kind [`FactKind::OPEN_SAGA`] that was set by this commit; `None` if it cannot be read.
    pub fn read(key: &[u8], value: &[u8], sequence: LogSequence) -> Option<Self> {
        let stream = StreamId::from_key(std::str::from_utf8(key).ok()?)?;
        let open = OpenFact::read(value)?;
        Some(Self {
            stream,
            since: open.since,
            status: open.status,
            version: open.version,
            on: open.on,
            until: open.until,
            escalated: open.escalated,
            sequence,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.stream.id()
    }

    /// Whose data it is.
    pub fn tenant(&self) -> &str {
        self.stream.tenant()
    }

    /// Whether it goes no further, or should not, until a person sees to it: for its
    /// [status](OpenStatus::needs_a_person), or because it was escalated.
    pub fn needs_a_person(&self) -> bool {
        self.status.needs_a_person() || self.escalated.is_some()
    }
}

/// The open instances of all sagas that a store holds, whether they are registered or not, without waking any of them.
///
/// # Errors
/// When the store cannot be read.
pub async fn list_open(store: &dyn Store) -> Result<Vec<OpenSaga>, ReadError> {
    let facts = store.facts(FactQuery::all(FactKind::OPEN_SAGA)).await?;
    let listed = facts
        .iter()
        .filter_map(|fact| OpenSaga::read(&fact.key, &fact.value, fact.sequence));
    Ok(listed.collect())
}

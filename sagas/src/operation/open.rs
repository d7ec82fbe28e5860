//! Open sagas, as the list of them has each, without waking any.

use chronicler_domain::{LogSequence, StreamId, Timestamp};
use chronicler_store::{FactKind, FactQuery, ReadError, Store};

use crate::instance::open_fact::OpenFact;

/// An open instance, as the list of open ones has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSaga {
    /// Whose data it is.
    pub tenant: String,
    /// Its id.
    pub id: String,
    /// When it began.
    pub since: Timestamp,
    /// Its status in a word, as [`SagaStatus::word`] has it.
    pub status: &'static str,
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
    /// Whether it goes no further, or should not, until a person sees to it: it is parked, paused, stuck or quarantined, or
    /// was escalated.
    pub fn needs_a_person(&self) -> bool {
        let stands = matches!(
            self.status,
            "parked" | "paused" | "compensation stuck" | "quarantined"
        );
        stands || self.escalated.is_some()
    }
}

/// An open instance of any saga type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSaga {
    /// Its stream.
    pub stream: StreamId,
    /// What is known of it without waking it.
    pub open: OpenSaga,
}

/// The open instances of all sagas that a store holds, whether they are registered or not, without waking any of them.
///
/// # Errors
/// When the store cannot be read.
pub async fn list_open(store: &dyn Store) -> Result<Vec<ListedSaga>, ReadError> {
    let facts = store.facts(FactQuery::all(FactKind::OPEN_SAGA)).await?;
    let listed = facts
        .iter()
        .filter_map(|fact| ListedSaga::read(&fact.key, &fact.value, fact.sequence));
    Ok(listed.collect())
}

impl ListedSaga {
    /// Reads a fact of kind [`FactKind::OPEN_SAGA`] that was set by this commit; `None` if it cannot be read.
    pub fn read(key: &[u8], value: &[u8], sequence: LogSequence) -> Option<Self> {
        let stream = StreamId::from_key(std::str::from_utf8(key).ok()?)?;
        let open = OpenFact::read(value)?;
        let open = OpenSaga {
            tenant: stream.tenant().to_owned(),
            id: stream.id().to_owned(),
            since: open.since,
            status: open.status.word(),
            version: open.version,
            on: open.on,
            until: open.until,
            escalated: open.escalated,
            sequence,
        };
        Some(Self { stream, open })
    }
}

//! Events that a consumer has set aside: the facts about them in the log, and how they are grouped.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::codec::{CodecError, CodecId, PayloadCodec, decode, encode};
use chronicler_store::{
    Append, AppendError, FactEntry, FactKind, FactQuery, ReadError, SideRecord, Store,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Clock;
use crate::ids::Ids;

/// The longest reason that is kept with a parked event, in bytes; a panic message can be of any length.
pub const PARKED_REASON_MAX: usize = 1_024;
/// Facts in one commit, and in one page when they are read. Each has at most a few KiB.
const FACTS_PER_COMMIT: usize = 128;
/// The wait before a commit is handed in again that the log had no room for.
const NO_ROOM_WAIT: Duration = Duration::from_millis(10);
/// The space of the names of keys within the keys of facts.
const KEY_NAMES: Uuid = Uuid::from_u128(0x1f9a_54c2_7d31_4b0e_9c55_3e8a_6b7d_0214);
/// The space of the names of failures.
const FAILURE_NAMES: Uuid = Uuid::from_u128(0x6a02_c8b1_15de_49f7_8d44_90ce_2f31_7ab9);

/// An event that a consumer has set aside. The fields are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// Its place in the log.
    pub position: GlobalPosition,
    /// The key of its stream.
    pub stream_key: Arc<str>,
    /// The key within which order is kept: later events of it wait.
    pub key: Arc<str>,
    /// Why it was set aside.
    pub cause: SetAside,
    /// What the last try failed with; empty for an event that is only held back.
    pub reason: Arc<str>,
    /// How often it was tried.
    pub tries: u32,
    /// When it was set aside.
    pub at: Timestamp,
    /// The shape of the consumer that could not take it, 0 if it has none.
    pub fingerprint: u64,
    /// When it was last tried.
    pub last: Timestamp,
    /// What its consumer made of it, to be taken up again. `None`: not even that could be said.
    pub item: Option<Vec<u8>>,
}

/// A parked event as it was written before retries and items were in it.
#[derive(Deserialize)]
struct FirstParkedEvent {
    position: GlobalPosition,
    stream_key: Arc<str>,
    key: Arc<str>,
    cause: SetAside,
    reason: Arc<str>,
    tries: u32,
    at: Timestamp,
    fingerprint: u64,
}

/// Why an event was set aside. The order of the variants is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SetAside {
    /// It failed, and waits for a person, or for a start with mended code.
    Parked,
    /// An earlier event of its key is set aside.
    Held {
        /// That event.
        behind: GlobalPosition,
    },
    /// It failed, and is left out for good.
    Skipped,
    /// It failed for what may pass, and is tried again without a person.
    Retrying,
}

/// Which parked events a verb is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// All of a consumer.
    All,
    /// Those whose failures look alike: the [fingerprint](ParkedGroup::fingerprint) of their group.
    Group(u64),
    /// Those of one key.
    Key(Arc<str>),
    /// The one at this position; under several keys if it concerns several.
    Event(GlobalPosition),
}

/// Parked events whose failures look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedGroup {
    /// Names the group; the same for the same failure at another time.
    pub fingerprint: u64,
    /// The reason of the first of them.
    pub reason: Arc<str>,
    /// How many failed so.
    pub events: u64,
    /// How many wait for one of those.
    pub held: u64,
    /// How many keys they are of.
    pub keys: u64,
    /// How often they were tried, together.
    pub tries: u64,
    /// When the first was set aside.
    pub since: Timestamp,
    /// When one was last tried.
    pub last: Timestamp,
}

impl ParkedEvent {
    /// An event that was set aside at a time, before any try.
    pub fn new(
        position: GlobalPosition,
        stream_key: Arc<str>,
        key: Arc<str>,
        cause: SetAside,
        at: Timestamp,
    ) -> Self {
        Self {
            position,
            stream_key,
            key,
            cause,
            reason: "".into(),
            tries: 0,
            at,
            fingerprint: 0,
            last: at,
            item: None,
        }
    }

    /// The same after a failure: its reason, of which at most [`PARKED_REASON_MAX`] bytes are kept, and how often it was tried
    /// by now.
    #[must_use]
    pub fn failed(self, reason: &str, tries: u32, last: Timestamp) -> Self {
        Self {
            reason: shortened(reason),
            tries,
            last,
            ..self
        }
    }

    /// Whether it failed, and does not only wait for another.
    pub fn has_failed(&self) -> bool {
        !matches!(self.cause, SetAside::Held { .. })
    }

    /// Names its failure: the same for reasons that differ only in their numbers.
    pub fn failure(&self) -> u64 {
        let words = self.reason.split(|c: char| c.is_ascii_digit());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let name = Uuid::new_v5(&FAILURE_NAMES, words.join("#").as_bytes());
        name.as_u64_pair().0
    }

    pub(super) fn read(name: &str, fact: &FactEntry) -> Option<Self> {
        if let Ok(event) = decode::<Self>(CodecId::BINCODE, &fact.value) {
            return Some(event);
        }
        if let Ok(first) = decode::<FirstParkedEvent>(CodecId::BINCODE, &fact.value) {
            return Some(first.into());
        }
        // A router once wrote the bare reason.
        let reason = std::str::from_utf8(&fact.value).ok()?;
        let after_name = fact.key.get(name.len() + 1..)?;
        let position = GlobalPosition::new(u64::from_be_bytes(after_name.try_into().ok()?));
        let key: Arc<str> = format!("at {position}").into();
        let event = Self::new(
            position,
            "".into(),
            key,
            SetAside::Parked,
            Timestamp::default(),
        );
        Some(event.failed(reason, 1, Timestamp::default()))
    }
}

impl From<FirstParkedEvent> for ParkedEvent {
    fn from(first: FirstParkedEvent) -> Self {
        Self {
            position: first.position,
            stream_key: first.stream_key,
            key: first.key,
            cause: first.cause,
            reason: first.reason,
            tries: first.tries,
            at: first.at,
            fingerprint: first.fingerprint,
            last: first.at,
            item: None,
        }
    }
}

/// Groups parked events by what they failed with, the largest group first. Those that are held back count for the group
/// of the first of their key that waits. Those that are left out for good hold up nobody and are in no group.
pub fn group_parked(events: &[ParkedEvent]) -> Vec<ParkedGroup> {
    let mut groups: BTreeMap<u64, (ParkedGroup, HashSet<&str>)> = BTreeMap::new();
    let mut of_key: BTreeMap<&str, u64> = BTreeMap::new();
    let waits = |event: &&ParkedEvent| event.cause != SetAside::Skipped;
    for event in events
        .iter()
        .filter(|event| event.has_failed())
        .filter(waits)
    {
        let fingerprint = event.failure();
        of_key.entry(&event.key).or_insert(fingerprint);
        let (group, keys) = groups.entry(fingerprint).or_insert_with(|| {
            let group = ParkedGroup {
                fingerprint,
                reason: Arc::clone(&event.reason),
                events: 0,
                held: 0,
                keys: 0,
                tries: 0,
                since: event.at,
                last: event.last,
            };
            (group, HashSet::new())
        });
        group.events += 1;
        group.tries += u64::from(event.tries);
        group.since = group.since.min(event.at);
        group.last = group.last.max(event.last);
        keys.insert(&event.key);
    }
    for event in events.iter().filter(|event| !event.has_failed()) {
        let group = of_key.get(&*event.key);
        if let Some((group, _)) = group.and_then(|group| groups.get_mut(group)) {
            group.held += 1;
        }
    }
    let mut all: Vec<_> = groups
        .into_values()
        .map(|(group, keys)| ParkedGroup {
            keys: keys.len() as u64,
            ..group
        })
        .collect();
    all.sort_by_key(|group| (std::cmp::Reverse(group.events), group.fingerprint));
    all
}

/// Everything that a consumer has set aside, by position.
///
/// # Errors
/// When the log cannot be read.
pub async fn parked_events(store: &dyn Store, name: &str) -> Result<Vec<ParkedEvent>, ReadError> {
    let mut found = Vec::new();
    let mut query = FactQuery {
        prefix: prefix(name),
        limit: FACTS_PER_COMMIT,
        ..FactQuery::all(FactKind::PARKED)
    };
    loop {
        let page = store.facts(query.clone()).await?;
        let full = page.len() >= FACTS_PER_COMMIT;
        query.after = page.last().map(|entry| entry.key.clone());
        // What a later release wrote differently is not for this one to judge.
        found.extend(page.iter().filter_map(|fact| ParkedEvent::read(name, fact)));
        if !full {
            return Ok(found);
        }
    }
}

/// Writes facts about these events into the log. Durable when it returns.
///
/// # Errors
/// When the log does not take them.
pub async fn record_parked(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    events: &[ParkedEvent],
) -> Result<(), AppendError> {
    let facts: Vec<_> = events.iter().cloned().map(Fact::Set).collect();
    write(store, clock, name, &facts).await
}

/// Removes the facts about these events. Durable when it returns.
///
/// # Errors
/// When the log does not take it.
pub async fn forget_parked(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    events: &[ParkedEvent],
) -> Result<(), AppendError> {
    let facts: Vec<_> = events.iter().cloned().map(Fact::Removed).collect();
    write(store, clock, name, &facts).await
}

/// What is to be known of a parked event.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Set(ParkedEvent),
    Removed(ParkedEvent),
}

/// Writes facts, in order. Durable when it returns.
pub(super) async fn write(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    facts: &[Fact],
) -> Result<(), AppendError> {
    for chunk in facts.chunks(FACTS_PER_COMMIT) {
        let now = clock.now();
        let mut append = Append::new(Ids::next(now), now);
        for fact in chunk {
            let (event, value) = match fact {
                Fact::Removed(event) => (event, None),
                Fact::Set(event) => {
                    let value = encode(PayloadCodec::Bincode, event);
                    let invalid = |error: CodecError| AppendError::Invalid {
                        reason: error.to_string(),
                    };
                    (event, Some(value.map_err(invalid)?))
                }
            };
            append = append.record(SideRecord::Fact {
                kind: FactKind::PARKED,
                key: key(name, event),
                value,
            });
        }
        append_with_patience(store, clock, append).await?;
    }
    Ok(())
}

/// Appends, and waits for as long as the log has no room.
pub(super) async fn append_with_patience(
    store: &dyn Store,
    clock: &dyn Clock,
    append: Append,
) -> Result<(), AppendError> {
    loop {
        match store.append(append.clone()).await {
            Err(AppendError::Overloaded { .. }) => {
                store.room().await;
                clock.sleep(NO_ROOM_WAIT).await;
            }
            answered => return answered.map(drop),
        }
    }
}

fn prefix(name: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(name.len() + 1);
    key.put_slice(name.as_bytes());
    key.put_u8(0);
    key.freeze()
}

/// The consumer's name, NUL, the position in eight bytes, big-endian, so that they are ordered by position. One event may
/// be parked under several keys: where its consumer has made something of it the name of the key stands after that, in
/// sixteen bytes.
fn key(name: &str, event: &ParkedEvent) -> Bytes {
    let mut key = BytesMut::with_capacity(name.len() + 25);
    key.put_slice(name.as_bytes());
    key.put_u8(0);
    key.put_u64(event.position.get());
    if event.item.is_some() {
        key.put_slice(Uuid::new_v5(&KEY_NAMES, event.key.as_bytes()).as_bytes());
    }
    key.freeze()
}

fn shortened(text: &str) -> Arc<str> {
    let mut end = text.len().min(PARKED_REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

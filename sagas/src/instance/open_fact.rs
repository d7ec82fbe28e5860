//! The fact of an open saga, beside its stream: it is known without waking the instance.

use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::Timestamp;
use chronicler_store::codec::{CodecId, decode};
use serde::{Deserialize, Serialize};

use crate::definition::saga::Saga;
use crate::instance::occupancy::Occupancy;

/// What the fact of an open saga says. The fields are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenFact {
    pub(crate) since: Timestamp,
    /// It has something to carry out: it is woken after a restart.
    pub(crate) has_work: bool,
    pub(crate) status: OpenStatus,
    /// The version of the definition that it goes by.
    pub(crate) version: u32,
    /// When the first of its timers is due.
    pub(crate) until: Option<Timestamp>,
    /// What it waits for.
    pub(crate) on: Vec<String>,
    /// Why a person should look at it.
    pub(crate) escalated: Option<String>,
    /// The place that it has as a child, among those of which only so many are alive.
    pub(crate) occupies: Option<Occupancy>,
}

/// The fact as it was written before places of children were in it.
#[derive(Deserialize)]
struct SecondOpenFact {
    since: Timestamp,
    has_work: bool,
    status: OpenStatus,
    version: u32,
    until: Option<Timestamp>,
    on: Vec<String>,
    escalated: Option<String>,
}

/// The fact as it was written before versions and waits were in it.
#[derive(Deserialize)]
struct FirstOpenFact {
    since: Timestamp,
    has_work: bool,
    status: OpenStatus,
}

/// Where an open saga is, in a word. The order of the variants is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OpenStatus {
    /// It waits for an event, a signal or a timer.
    Waiting,
    /// Effects are under way.
    Running,
    /// An effect failed more often than its budget allows.
    Parked,
    /// Undos are under way.
    Compensating,
    /// An undo failed for good.
    CompensationStuck,
    /// Its own code failed.
    Quarantined,
    /// Somebody paused it.
    Paused,
    /// An effect failed, and is tried again.
    Retrying,
}

/// What a saga says that it waits for; nothing if its code panics over it.
pub(crate) fn waits_for<S: Saga>(saga: &S, state: &S::State) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| saga.waits_for(state))).unwrap_or_default()
}

impl OpenFact {
    /// Reads a fact, of this or an earlier form.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let latest: Option<Self> = decode(CodecId::BINCODE, value).ok();
        let second = || decode(CodecId::BINCODE, value).ok();
        let first = || decode(CodecId::BINCODE, value).ok();
        latest
            .or_else(|| second().map(SecondOpenFact::up_to_date))
            .or_else(|| first().map(FirstOpenFact::up_to_date))
    }
}

impl SecondOpenFact {
    fn up_to_date(self) -> OpenFact {
        OpenFact {
            since: self.since,
            has_work: self.has_work,
            status: self.status,
            version: self.version,
            until: self.until,
            on: self.on,
            escalated: self.escalated,
            occupies: None,
        }
    }
}

impl FirstOpenFact {
    fn up_to_date(self) -> OpenFact {
        OpenFact {
            since: self.since,
            has_work: self.has_work,
            status: self.status,
            version: 1,
            until: None,
            on: Vec::new(),
            escalated: None,
            occupies: None,
        }
    }
}

impl OpenStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Running,
        Self::Retrying,
        Self::Parked,
        Self::Paused,
        Self::Compensating,
        Self::CompensationStuck,
        Self::Quarantined,
    ];

    /// The word or two for it, as [`SagaStatus::word`](crate::SagaStatus::word) has it: `waiting`, `compensation stuck`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Compensating => "compensating",
            Self::CompensationStuck => "compensation stuck",
            Self::Quarantined => "quarantined",
            Self::Paused => "paused",
            Self::Retrying => "retrying",
        }
    }

    /// The status of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether an instance goes no further until a person sees to it.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Parked | Self::Paused | Self::CompensationStuck | Self::Quarantined => true,
            Self::Waiting | Self::Running | Self::Retrying | Self::Compensating => false,
        }
    }
}

impl Display for OpenStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use chronicler_store::codec::{PayloadCodec, encode};

    use super::*;

    #[test]
    fn a_fact_of_an_earlier_form_is_read() {
        let since = Timestamp::from_millis(7);
        let first = (since, true, OpenStatus::Compensating);
        let written = encode(PayloadCodec::default(), &first).unwrap();
        let read = OpenFact::read(&written).unwrap();
        assert_eq!((read.since, read.has_work, read.status), first);
        let (version, on) = (3, vec!["paid".to_owned()]);
        let second = (first, version, Some(since), on.clone(), None::<String>);
        let written = encode(PayloadCodec::default(), &second).unwrap();
        let read = OpenFact::read(&written).unwrap();
        assert_eq!((read.since, read.has_work, read.status), first);
        let rest = (read.version, read.until, read.on, read.escalated);
        assert_eq!(rest, (version, Some(since), on, None));
    }
}

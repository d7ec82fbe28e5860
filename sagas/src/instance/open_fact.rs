//! What is known of an open saga without waking it: a fact beside its stream.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::Timestamp;
use chronicler_store::codec::{CodecId, decode};
use serde::{Deserialize, Serialize};

use crate::definition::saga::Saga;

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
}

/// The fact as it was written before versions and waits were in it.
#[derive(Deserialize)]
struct FirstOpenFact {
    since: Timestamp,
    has_work: bool,
    status: OpenStatus,
}

/// The status of an open saga, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OpenStatus {
    Waiting,
    Running,
    Parked,
    Compensating,
    CompensationStuck,
    Quarantined,
    Paused,
    Retrying,
}

/// What a saga says that it waits for; nothing if its code panics over it.
pub(crate) fn waits_for<S: Saga>(saga: &S, state: &S::State) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| saga.waits_for(state))).unwrap_or_default()
}

impl OpenFact {
    /// Reads a fact, of this or the earlier form.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let read = decode(CodecId::BINCODE, value);
        read.ok().or_else(|| {
            let first: FirstOpenFact = decode(CodecId::BINCODE, value).ok()?;
            let FirstOpenFact {
                since,
                has_work,
                status,
            } = first;
            Some(Self {
                since,
                has_work,
                status,
                version: 1,
                until: None,
                on: Vec::new(),
                escalated: None,
            })
        })
    }
}

impl OpenStatus {
    pub(crate) fn word(self) -> &'static str {
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
}

#[cfg(test)]
mod tests {
    use chronicler_store::codec::{PayloadCodec, encode};

    use super::*;

    #[test]
    fn a_fact_of_the_earlier_form_is_read() {
        let since = Timestamp::from_millis(7);
        let first = (since, true, OpenStatus::Compensating);
        let written = encode(PayloadCodec::default(), &first).unwrap();
        let read = OpenFact::read(&written).unwrap();
        assert_eq!((read.since, read.has_work, read.status), first);
    }
}

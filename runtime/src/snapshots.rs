//! When snapshots are taken.

use std::time::Duration;

/// When a snapshot of an instance is taken. Policies compose.
///
/// A snapshot costs one write off the reply path; a missing one costs time at the next recovery. Neither ever
/// changes what is true.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotPolicy {
    /// Never, and existing ones are ignored.
    Never,
    /// When so many events were decided or recovered since the last one, or so many commits: those that only remember an
    /// outcome have no events, and cost a recovery time as well.
    EveryEvents(u64),
    /// When the events since the last one have so many bytes.
    EveryBytes(u64),
    /// When the last recovery took so long.
    RecoveryTook(Duration),
    /// When the instance is passivated and has changed, unless as many as may wait to be saved then:
    /// [`snapshots_waiting_max`](crate::RuntimeOptions::snapshots_waiting_max).
    OnPassivation,
    /// When any of these says so.
    AnyOf(Vec<SnapshotPolicy>),
    /// When all of these say so.
    AllOf(Vec<SnapshotPolicy>),
}

/// What a policy may look at.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotFacts {
    /// Events since the last snapshot.
    pub events: u64,
    /// Commits recorded in the stream since then, those without events included.
    pub commits: u64,
    /// Payload bytes of the events, and of the outcomes that are remembered.
    pub bytes: u64,
    /// How long the last recovery took.
    pub recovery: Duration,
    /// Whether the instance is being passivated.
    pub passivating: bool,
}

impl SnapshotPolicy {
    /// Whether a snapshot is due. Never when nothing was recorded since the last one.
    pub fn is_due(&self, facts: &SnapshotFacts) -> bool {
        facts.events.max(facts.commits) > 0
            && match self {
                Self::Never => false,
                Self::EveryEvents(events) => facts.events.max(facts.commits) >= *events,
                Self::EveryBytes(bytes) => facts.bytes >= *bytes,
                Self::RecoveryTook(time) => facts.recovery >= *time,
                Self::OnPassivation => facts.passivating,
                Self::AnyOf(policies) => policies.iter().any(|policy| policy.is_due(facts)),
                Self::AllOf(policies) => {
                    !policies.is_empty() && policies.iter().all(|policy| policy.is_due(facts))
                }
            }
    }

    /// Whether snapshots are used at all.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s20_policies_combine() {
        let facts = SnapshotFacts {
            events: 10,
            bytes: 100,
            ..SnapshotFacts::default()
        };
        let (few, many) = (
            SnapshotPolicy::EveryEvents(10),
            SnapshotPolicy::EveryBytes(101),
        );
        assert!(few.is_due(&facts) && !many.is_due(&facts));
        assert!(SnapshotPolicy::AnyOf(vec![few.clone(), many.clone()]).is_due(&facts));
        assert!(!SnapshotPolicy::AllOf(vec![few, many]).is_due(&facts));
        assert!(!SnapshotPolicy::AllOf(vec![]).is_due(&facts));
        let none = SnapshotFacts {
            passivating: true,
            ..SnapshotFacts::default()
        };
        assert!(
            !SnapshotPolicy::OnPassivation.is_due(&none),
            "nothing has changed"
        );
    }

    #[test]
    fn s13_below_at_and_above_the_interval() {
        let due = |events| {
            SnapshotPolicy::EveryEvents(5).is_due(&SnapshotFacts {
                events,
                ..SnapshotFacts::default()
            })
        };
        assert_eq!([due(4), due(5), due(6)], [false, true, true]);
    }
}

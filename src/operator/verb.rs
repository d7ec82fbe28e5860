//! The verbs, who asks for them and why, and what they answer.

use chronicler_sagas::SagaVerb;
use serde::{Deserialize, Serialize};

use crate::unregistered::Unregistered;

/// The longest request, in bytes of its line.
pub(super) const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// What an operator wants done. Doing it twice is as doing it once, but for a signal, which
/// is then said twice; a rebuild that is under way refuses another.
///
/// Names have at most 1,000 bytes, streams 1,367, and a whole request, as JSON, 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OperatorVerb {
    /// Says how the application is. Changes nothing, and is not journaled.
    Status,
    /// Lets an aggregate or saga instance go from quarantine, whether the runtime or the saga's own code put it there.
    Release {
        /// The instance: `category/id`, or `tenant:category/id`; of a saga `saga:name/id`.
        stream: String,
    },
    /// Builds a view anew beside the one that answers, and waits until it has taken its place.
    RebuildView {
        /// The projection's name.
        projection: String,
    },
    /// Lists the open sagas. Changes nothing, and is not journaled.
    Sagas,
    /// Shows one saga, whole. Changes nothing, and is not journaled.
    Saga {
        /// The instance: `saga:name/id`, or `tenant:saga:name/id`.
        stream: String,
    },
    /// Has something done with one saga.
    ChangeSaga {
        /// The instance.
        stream: String,
        /// What.
        change: SagaVerb,
    },
    /// Lists what a consumer has parked, in groups by what it failed with. Changes nothing, and is not journaled.
    Parked {
        /// The consumer: a projection, or `saga:name`.
        consumer: String,
    },
    /// Has what a consumer has parked tried again, in order within each key.
    RetryParked {
        /// The consumer.
        consumer: String,
        /// Which events.
        #[serde(flatten)]
        which: WhichParked,
    },
    /// Leaves events out for good that a consumer has parked.
    DropParked {
        /// The consumer.
        consumer: String,
        /// Which events.
        #[serde(flatten)]
        which: WhichParked,
    },
    /// Forgets a durable subscription that nobody is following.
    ForgetSubscription {
        /// Its name.
        subscription: String,
    },
}

impl OperatorVerb {
    /// Whether it changes something, and is journaled.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Status | Self::Sagas | Self::Saga { .. } | Self::Parked { .. }
        )
    }
}

/// Which parked events a verb is about: all, or those that one of these names. At most one of them is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WhichParked {
    /// Those of a group, by its name as it is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Those of a key: of a saga the stream of an instance or of an aggregate, as it is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The one at this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// A verb, who wants it and why. Journaled before it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRequest {
    /// What is to be done.
    #[serde(flatten)]
    pub verb: OperatorVerb,
    /// Who wants it. 1 to 1,000 bytes, for a verb that changes something.
    #[serde(default)]
    pub by: String,
    /// Why. 1 to 1,000 bytes, for a verb that changes something.
    #[serde(default)]
    pub why: String,
}

/// Why a verb was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", content = "message", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OperatorError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// Something stands in the way.
    #[error("{0}")]
    Refused(String),
    /// The log or a view failed.
    #[error("{0}")]
    Failed(String),
}

/// How an application is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The process.
    pub process: u32,
    /// Why the log takes no more writes, if it does not.
    pub read_only: Option<String>,
    /// The last durable position.
    pub position: u64,
    /// The last durable commit.
    pub commit: u64,
    /// The projections, by name.
    pub projections: Vec<ProjectionLine>,
    /// Durable subscriptions, by name.
    pub subscriptions: Vec<SubscriptionLine>,
    /// Followers that bring events to consumers, by name.
    #[serde(default)]
    pub followers: Vec<FollowerLine>,
    /// Instances in quarantine, by stream.
    pub quarantined: Vec<QuarantineLine>,
    /// What nothing registered in the application answers for, by kind and name.
    #[serde(default)]
    pub unregistered: Vec<Unregistered>,
    /// Instances that cannot be recovered at present, by stream; the next command to one tries again.
    #[serde(default)]
    pub failing: Vec<FailingLine>,
    /// Workers that failed of late or were given up.
    #[serde(default)]
    pub workers: Vec<WorkerLine>,
}

/// One projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectionLine {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub status: String,
    /// The last position that its view shows.
    pub position: u64,
    /// How many events it is behind.
    pub lag: u64,
    /// Events set aside.
    pub parked: u64,
    /// For how many milliseconds the oldest event has waited that was read and is neither folded nor set aside.
    #[serde(default)]
    pub lag_ms: Option<u64>,
    /// What holds it up, if it is behind and does not move.
    #[serde(default)]
    pub unhealthy: Option<String>,
}

/// One follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowerLine {
    /// Its name.
    pub name: String,
    /// Up to where everything was taken or is parked.
    pub position: u64,
    /// How many events of the log come after that, whether it wants them or not.
    pub behind: u64,
    /// When the first event happened that it has read and neither taken nor parked.
    pub oldest: Option<String>,
    /// Events that are parked, those that wait for them included.
    pub parked: u64,
    /// Whether as many are parked as may be, so that nothing more is read.
    pub full: bool,
}

/// Parked events whose failures look alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedLine {
    /// Names the group; the same for the same failure at another time.
    pub group: String,
    /// The reason of the first of them.
    pub reason: String,
    /// How many failed so.
    pub events: u64,
    /// How many wait for one of those.
    pub held: u64,
    /// The first of their keys, at most 10.
    pub keys: Vec<String>,
    /// How often they were tried, together.
    pub tries: u64,
    /// When the first was set aside.
    pub since: String,
    /// When one was last tried.
    pub last: String,
}

/// One durable subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscriptionLine {
    /// Its name.
    pub name: String,
    /// Up to where everything is recorded as done.
    pub position: u64,
}

/// One instance in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuarantineLine {
    /// The instance: `category/id`, or `tenant:category/id`.
    pub stream: String,
    /// Why.
    pub reason: String,
}

/// One instance that cannot be recovered at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailingLine {
    /// The instance: `category/id`, or `tenant:category/id`.
    pub stream: String,
    /// Why the last try failed.
    pub reason: String,
    /// Tries since the last one that succeeded.
    pub attempts: u32,
    /// When the first of them failed.
    pub since: String,
}

/// One worker that failed of late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerLine {
    /// Its name.
    pub name: String,
    /// Why it failed last.
    pub reason: String,
    /// How often it failed without a long enough life in between.
    pub failures: u32,
    /// When it failed first.
    pub since: String,
    /// Whether it was given up: it is not started again.
    pub given_up: bool,
}

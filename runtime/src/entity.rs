//! What an actor hosts: state folded from a stream, and decisions as bytes. Aggregates and saga instances both.

use bytes::Bytes;
use chronicler_domain::{Category, Context, LogSequence, SchemaVersion, StreamId};
use chronicler_store::codec::{CodecError, CodecId};
use chronicler_store::{NewEvent, OutcomeResult, PartRef, RecordedCommit, SideRecord};

/// A kind of instance. One value serves all instances of its category.
///
/// The functions are synchronous and must not block. A panic in any of them fails the command that it was
/// called for; where it may have changed the state, the instance is then recovered from the log.
pub trait Entity: Send + Sync + 'static {
    /// What is folded from the stream.
    type State: Send + 'static;
    /// What can be asked.
    type Command: Send + 'static;
    /// What is answered.
    type Reply: Clone + Send + 'static;
    /// Why it is refused.
    type Rejection: Clone + std::error::Error + Send + Sync + 'static;

    /// The category of its streams.
    fn category(&self) -> &Category;

    /// The state before anything happened.
    fn initial(&self, stream: &StreamId) -> Self::State;

    /// Folds what one commit recorded in the instance's stream. Called in order, for events and for commits that
    /// have none.
    ///
    /// # Errors
    /// When the commit cannot be understood; the recovery fails.
    fn fold(
        &self,
        state: &mut Self::State,
        commit: &RecordedCommit,
        part: &PartRef<'_>,
    ) -> Result<(), FoldError>;

    /// Decides a command. With `Ok` the state has moved on by the drafted events; with [`Refusal::Rejected`] and
    /// [`Refusal::Undecided`] it has not. After any other refusal and after a panic the state is recovered from the log, so
    /// that a command which fails each time is dear: catch what fails before the state is touched.
    ///
    /// # Errors
    /// The domain's no, or that something cannot be encoded.
    fn decide(
        &self,
        state: &mut Self::State,
        command: Self::Command,
        ctx: &Context,
    ) -> Result<Draft<Self::Reply>, Refusal<Self::Rejection>>;

    /// Told once for each decision, when what it led to is durable, whether or not anybody still waits for the answer.
    /// Called on the log's own thread: it must neither block nor panic. After a crash in between it is not called; what
    /// depends on it must be found in the log. Does nothing by default.
    fn committed(&self, stream: &StreamId, reply: &Self::Reply, sequence: LogSequence) {
        let _ = (stream, reply, sequence);
    }

    /// Whether an instance in this state is likely to be left alone for long. Once more than
    /// [`RuntimeOptions::warm_max`](crate::RuntimeOptions) of its kind are alive it is passivated as soon as nothing
    /// waits, instead of when it was unused for long.
    fn rests(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// The version of the state's own shape; a snapshot of another one is ignored.
    fn snapshot_version(&self) -> u32;

    /// Encodes a state.
    ///
    /// # Errors
    /// When it cannot be encoded; no snapshot is taken.
    fn snapshot(&self, state: &Self::State) -> Result<Bytes, CodecError>;

    /// Whether no snapshot of this type is worth a try any more, since none could be read. By default `false`.
    fn is_without_snapshots(&self) -> bool {
        false
    }

    /// Decodes a state.
    ///
    /// # Errors
    /// When it cannot be decoded; an older snapshot or the events are used instead.
    fn restore(&self, stream: &StreamId, payload: &[u8]) -> Result<Self::State, CodecError>;

    /// Decodes a command that a saga sent.
    ///
    /// # Errors
    /// When the bytes are not one.
    fn decode_command(&self, codec: CodecId, payload: &[u8]) -> Result<Self::Command, CodecError>;

    /// A command, for people: as JSON. `None`, as by default, if these commands cannot be shown.
    fn command_json(&self, codec: CodecId, payload: &[u8]) -> Option<String> {
        let _ = (codec, payload);
        None
    }

    /// Encodes a reply or rejection, to be remembered.
    ///
    /// # Errors
    /// When it cannot be encoded; the command fails.
    fn encode_outcome(
        &self,
        outcome: Result<&Self::Reply, &Self::Rejection>,
    ) -> Result<EncodedOutcome, CodecError>;

    /// Decodes what [`encode_outcome`](Self::encode_outcome) encoded.
    ///
    /// # Errors
    /// When the bytes are not one.
    fn decode_outcome(
        &self,
        result: OutcomeResult,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<Result<Self::Reply, Self::Rejection>, CodecError>;
}

/// A decision, ready to be committed.
#[derive(Clone, Debug)]
pub struct Draft<R> {
    /// What happened, in order.
    pub events: Vec<NewEvent>,
    /// What the commit holds beside events.
    pub records: Vec<SideRecord>,
    /// What is answered.
    pub reply: R,
}

/// Why there is no decision.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal<R> {
    /// The domain said no.
    #[error("{0}")]
    Rejected(R),
    /// The domain said no after it had changed the state: that is forgotten. Nothing remembers the refusal, and repeated
    /// the command is decided again: it is none for the commands of effects, whose outcomes are for good.
    #[error("{0}")]
    Withdrawn(R),
    /// Nothing could be decided, and the state is as it was: it stays.
    #[error(transparent)]
    Undecided(Undecided),
    /// Something could not be encoded, and the state may have changed: it is forgotten, and recovered from the log.
    #[error(transparent)]
    Failed(CodecError),
}

/// Why nothing could be decided. The same command fails again, however often it is sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Undecided {
    /// The decision panicked, with these words.
    #[error("the decision panicked: {0}")]
    Panicked(String),
    /// What was decided cannot be encoded.
    #[error(transparent)]
    Unencodable(CodecError),
}

/// A reply or rejection as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedOutcome {
    /// Its type.
    pub type_name: String,
    /// Its schema version.
    pub schema_version: SchemaVersion,
    /// How it is encoded.
    pub codec: CodecId,
    /// The bytes.
    pub payload: Bytes,
}

/// A recorded commit that an instance cannot understand.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{event_type:?} at version {version} cannot be folded: {reason}")]
pub struct FoldError {
    /// The event's type.
    pub event_type: String,
    /// The event's place in its stream.
    pub version: chronicler_domain::StreamVersion,
    /// Why.
    pub reason: String,
}

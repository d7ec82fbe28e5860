//! A typed aggregate as an entity: encodes what it decides, decodes what it recovers from.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::{Aggregate, Category, Context, InvalidId, SchemaVersion, StreamId};
use chronicler_store::codec::{
    self, CodecError, CodecId, EventDecoder, PayloadCodec, decode_shaped, encode_certainly,
    encode_event, encode_shaped, read_back,
};
use chronicler_store::{OutcomeResult, PartRef, RecordedCommit};

use crate::contain::contain;
use crate::entity::{Draft, EncodedOutcome, Entity, FoldError, Refusal, Undecided};

/// An aggregate type, hosted.
#[derive(Debug)]
pub struct AggregateEntity<A: Aggregate> {
    category: Category,
    codec: PayloadCodec,
    decoder: EventDecoder<A::Event>,
    /// Snapshots that were encoded.
    snapshots: AtomicU64,
    /// A state was written that cannot be read: the type hides its shape.
    is_without_snapshots: AtomicBool,
}

/// So many first snapshots of a type are read back, and then fewer and fewer: serde lets a type write what it cannot read,
/// and does not say so.
const SNAPSHOTS_READ_BACK: u64 = 16;

impl<A: Aggregate> AggregateEntity<A> {
    /// Checks the category's name.
    ///
    /// # Errors
    /// [`InvalidId`] when [`Aggregate::CATEGORY`] is not a category name.
    pub fn new(codec: PayloadCodec) -> Result<Self, InvalidId> {
        let category = Category::new(A::CATEGORY)?;
        Ok(Self {
            category,
            codec,
            decoder: EventDecoder::new(),
            snapshots: AtomicU64::new(0),
            is_without_snapshots: AtomicBool::new(false),
        })
    }
}

impl<A: Aggregate> Entity for AggregateEntity<A> {
    type State = A;
    type Command = A::Command;
    type Reply = A::Reply;
    type Rejection = A::Rejection;

    fn category(&self) -> &Category {
        &self.category
    }

    fn initial(&self, _: &StreamId) -> A {
        A::default()
    }

    fn fold(&self, state: &mut A, _: &RecordedCommit, part: &PartRef<'_>) -> Result<(), FoldError> {
        for event in part.events() {
            let decoded = self.decoder.decode(&event).map_err(|error| FoldError {
                event_type: event.event_type().to_owned(),
                version: event.version(),
                reason: error.to_string(),
            })?;
            for event in decoded {
                state.evolve(&event);
            }
        }
        Ok(())
    }

    fn decide(
        &self,
        state: &mut A,
        command: A::Command,
        ctx: &Context,
    ) -> Result<Draft<A::Reply>, Refusal<A::Rejection>> {
        // Whatever fails before `evolve` leaves the state as it is: no command makes its stream be read each time.
        let decided = contain(|| -> Result<_, Refusal<A::Rejection>> {
            let decision = state.decide(command, ctx).map_err(Refusal::Rejected)?;
            let mut events = Vec::with_capacity(decision.events.len());
            let mut recorded = Vec::with_capacity(decision.events.len());
            for event in &decision.events {
                let encoded = encode_event(self.codec, event).map_err(unencodable)?;
                recorded.push(read_back(event, &encoded).map_err(unencodable)?);
                events.push(encoded);
            }
            Ok((events, recorded, decision.reply))
        });
        let panicked = |said| Refusal::Undecided(Undecided::Panicked(said));
        let (events, recorded, reply) = decided.map_err(panicked)??;
        // The events as a recovery will see them, so that the state is the same then as now.
        for event in &recorded {
            state.evolve(event);
        }
        Ok(Draft {
            events,
            records: Vec::new(),
            reply,
        })
    }

    fn snapshot_version(&self) -> u32 {
        A::SNAPSHOT_VERSION
    }

    fn snapshot(&self, state: &A) -> Result<Bytes, CodecError> {
        let encoded = encode_shaped(state)?;
        let number = self.snapshots.fetch_add(1, Ordering::Relaxed) + 1;
        if number <= SNAPSHOTS_READ_BACK || number.is_power_of_two() {
            let read = contain(|| decode_shaped::<A>(&encoded).map(drop));
            let unreadable = match read {
                Ok(read) => read.err().map(|error| error.to_string()),
                Err(said) => Some(format!("it panicked: {said}")),
            };
            if let Some(error) = unreadable {
                self.is_without_snapshots.store(true, Ordering::Release);
                return Err(CodecError::Unencodable {
                    type_name: std::any::type_name::<A>(),
                    reason: format!(
                        "what was written cannot be read back ({error}): no snapshot of this type is taken until the next \
                         start, and each recovery reads all events. A state needs a type that says its shape: keep a \
                         serde_json::Value as text, and leave out serde's untagged, tag and flatten"
                    ),
                });
            }
        }
        Ok(encoded)
    }

    fn is_without_snapshots(&self) -> bool {
        self.is_without_snapshots.load(Ordering::Acquire)
    }

    fn restore(&self, _: &StreamId, payload: &[u8]) -> Result<A, CodecError> {
        decode_shaped(payload)
    }

    fn decode_command(&self, codec: CodecId, payload: &[u8]) -> Result<A::Command, CodecError> {
        codec::decode(codec, payload)
    }

    fn command_json(&self, codec: CodecId, payload: &[u8]) -> Option<String> {
        let command = self.decode_command(codec, payload).ok()?;
        // Another command than the one that waits must not be shown, nor edited.
        let json = encode_certainly(PayloadCodec::Json, &command).ok()?;
        String::from_utf8(json.to_vec()).ok()
    }

    fn encode_outcome(
        &self,
        outcome: Result<&A::Reply, &A::Rejection>,
    ) -> Result<EncodedOutcome, CodecError> {
        // A later release gives it again, and it has no schema version.
        let codec = self.codec.by_name();
        let (type_name, payload) = match outcome {
            Ok(reply) => (short_name::<A::Reply>(), encode_certainly(codec, reply)?),
            Err(rejection) => (
                short_name::<A::Rejection>(),
                encode_certainly(codec, rejection)?,
            ),
        };
        let (schema_version, codec) = (SchemaVersion::FIRST, codec.id());
        Ok(EncodedOutcome {
            type_name,
            schema_version,
            codec,
            payload,
        })
    }

    fn decode_outcome(
        &self,
        result: OutcomeResult,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<Result<A::Reply, A::Rejection>, CodecError> {
        Ok(match result {
            OutcomeResult::Reply => Ok(codec::decode(codec, payload)?),
            OutcomeResult::Rejection => Err(codec::decode(codec, payload)?),
        })
    }
}

fn unencodable<R>(error: CodecError) -> Refusal<R> {
    Refusal::Undecided(Undecided::Unencodable(error))
}

/// The last segment of a type's path: for people who look at the log.
fn short_name<T>() -> String {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

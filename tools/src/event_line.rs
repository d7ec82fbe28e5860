//! One event as it is printed.

use std::collections::BTreeMap;
use std::fmt;

use chronicler_domain::Metadata;
use chronicler_store::{EventRef, hex};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::payload::{Payloads, codec_name};
use crate::stream_name;

/// One event. The payload is there as JSON or, if it cannot be shown as such, as hexadecimal digits.
#[derive(Debug, Serialize)]
pub(crate) struct EventLine {
    position: u64,
    commit: u64,
    time: String,
    stream: String,
    version: u64,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    codec: String,
    event_id: Uuid,
    commit_id: Uuid,
    correlation_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_hex: Option<String>,
}

impl EventLine {
    /// An event of a commit with this metadata.
    pub(crate) fn new(event: &EventRef<'_>, metadata: &Metadata, payloads: &dyn Payloads) -> Self {
        let commit = event.commit();
        let payload = payloads.json(event);
        let own = event.metadata();
        Self {
            position: event.position().get(),
            commit: commit.sequence().get(),
            time: event.timestamp().to_string(),
            stream: stream_name::show(event.part().stream_key()),
            version: event.version().get(),
            event_type: event.event_type().to_owned(),
            schema_version: event.schema_version().get(),
            codec: codec_name(event.codec()),
            event_id: event.id(),
            commit_id: commit.commit_id(),
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            principal: metadata.principal.as_deref().map(str::to_owned),
            extra: metadata.extra.clone(),
            payload_hex: payload.is_none().then(|| hex::encode(event.payload())),
            payload,
            metadata_hex: (!own.is_empty()).then(|| hex::encode(own)),
        }
    }
}

impl fmt::Display for EventLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}  {}  {} @{}  {}",
            self.position, self.time, self.stream, self.version, self.event_type
        )?;
        if self.schema_version > 1 {
            write!(f, " v{}", self.schema_version)?;
        }
        match (&self.payload, &self.payload_hex) {
            (Some(json), _) => write!(f, "  {}", json.get()),
            (None, hex) => write!(f, "  {}:{}", self.codec, hex.as_deref().unwrap_or_default()),
        }
    }
}

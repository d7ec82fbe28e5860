//! What a commit says about itself beside its events: who caused it, and what caused that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// On whose behalf a command runs: a user, a service account. Free text, at most 255 bytes are stored.
pub type Principal = Arc<str>;

/// What a commit says about itself beside its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Shared by everything that one request from outside set in motion.
    pub correlation_id: Uuid,
    /// The id of the command or effect that directly caused this one; `None` at the origin.
    pub causation_id: Option<Uuid>,
    /// On whose behalf.
    pub principal: Option<Principal>,
    /// How many causes lie between this and the request from outside: 0 at the origin. Cuts cycles.
    pub causation_depth: u16,
    /// Anything else, by name. At most 16 entries; names and values at most 1,024 bytes each.
    pub extra: BTreeMap<String, String>,
}

impl Metadata {
    /// The metadata of a request that comes from outside.
    pub fn origin(correlation_id: Uuid) -> Self {
        Self {
            correlation_id,
            causation_id: None,
            principal: None,
            causation_depth: 0,
            extra: BTreeMap::new(),
        }
    }

    /// The metadata of what `cause` (with this metadata) sets in motion.
    #[must_use]
    pub fn caused_by(&self, cause: Uuid) -> Self {
        Self {
            correlation_id: self.correlation_id,
            causation_id: Some(cause),
            principal: self.principal.clone(),
            causation_depth: self.causation_depth.saturating_add(1),
            extra: BTreeMap::new(),
        }
    }
}

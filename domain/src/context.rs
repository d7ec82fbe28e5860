//! What a decision may know beside state and command: time and ids, as values.

use uuid::Uuid;

use crate::{Metadata, Principal, Tenant, Timestamp};

/// What `decide` may know beside its state and its command.
///
/// Stamped once by dispatch. Everything that a decision could want from the outside world is a value in
/// here, so a decision gives the same result however often it is made.
#[derive(Clone, Debug)]
pub struct Context {
    now: Timestamp,
    tenant: Tenant,
    command_id: Uuid,
    metadata: Metadata,
    deadline: Option<Timestamp>,
}

impl Context {
    /// A context of the default tenant at `now`, for the command `command_id`, from outside.
    pub fn new(now: Timestamp, command_id: Uuid) -> Self {
        Self {
            now,
            tenant: Tenant::default(),
            command_id,
            metadata: Metadata::origin(command_id),
            deadline: None,
        }
    }

    /// The same under another tenant.
    #[must_use]
    pub fn with_tenant(self, tenant: Tenant) -> Self {
        Self { tenant, ..self }
    }

    /// The same with other metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The same with a deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Timestamp) -> Self {
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// When the command was dispatched. Never the wall clock at the time of deciding.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whose data it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The id of the command; of an effect, if a saga sent it.
    pub fn command_id(&self) -> Uuid {
        self.command_id
    }

    /// Shared by everything that one request set in motion.
    pub fn correlation_id(&self) -> Uuid {
        self.metadata.correlation_id
    }

    /// What directly caused this command; `None` at the origin.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.metadata.causation_id
    }

    /// On whose behalf the command runs.
    pub fn principal(&self) -> Option<&Principal> {
        self.metadata.principal.as_ref()
    }

    /// All of the metadata that the commit will carry.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// After this the sender no longer waits.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The `index`-th new id of this decision: derived from the command id, so the same decision made
    /// again gives the same ids.
    pub fn new_id(&self, index: u32) -> Uuid {
        let [a, b, c, d] = index.to_le_bytes();
        Uuid::new_v5(&self.command_id, &[b'n', b'e', b'w', a, b, c, d])
    }
}

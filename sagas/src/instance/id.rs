//! The id of an instance of a saga type.

use chronicler_domain::{AggregateId, StreamId, Tenant};

/// An instance of a saga type, by its tenant and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InstanceId {
    pub(crate) tenant: Tenant,
    pub(crate) id: AggregateId,
}

impl InstanceId {
    pub(crate) fn new(tenant: &Tenant, id: &AggregateId) -> Self {
        Self {
            tenant: tenant.clone(),
            id: id.clone(),
        }
    }

    /// The instance whose stream this is; `None` if it is no stream of an instance.
    pub(crate) fn of(stream: &StreamId) -> Option<Self> {
        let tenant = Tenant::try_from(stream.tenant().to_owned()).ok()?;
        Some(Self {
            tenant,
            id: AggregateId::new(stream.id()).ok()?,
        })
    }
}

/// A stream as people read it, by its key.
pub(crate) fn printed(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.to_owned(), |stream| stream.to_string())
}

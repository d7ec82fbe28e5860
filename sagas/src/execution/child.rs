//! Sagas that begin others: a child is begun, and told to end, by the executor of its own type.

use std::collections::HashMap;
use std::sync::Weak;

use chronicler_runtime::{DispatchError, SendOptions};
use futures::future::BoxFuture;
use parking_lot::RwLock;

use crate::definition::payload::Payload;
use crate::instance::entry::Parent;
use crate::instance::id::InstanceId;
use crate::instance::occupancy::Occupancy;
use crate::instance::status::Ending;

/// The saga types that can be begun as children, by their names, as far as they are started.
pub(crate) type ChildHosts = RwLock<HashMap<String, Weak<dyn ChildHost>>>;

/// A saga type whose instances can be begun as children, whatever it is.
pub(crate) trait ChildHost: Send + Sync {
    /// Begins an instance as the child of another, or finds it begun by the same.
    fn begin_child(
        &self,
        child: InstanceId,
        parent: Parent,
        start: Payload,
        occupies: Option<Occupancy>,
        options: SendOptions,
    ) -> BoxFuture<'_, Result<ChildAnswer, DispatchError>>;

    /// Whether an instance was begun.
    fn has_begun(&self, child: InstanceId) -> BoxFuture<'_, Result<bool, DispatchError>>;

    /// Has a child undo what it did, if it can be; `is_spared`: only sees to it that it does not begin any more.
    fn end_child(
        &self,
        child: InstanceId,
        parent: Parent,
        is_spared: bool,
    ) -> BoxFuture<'_, Result<ChildAnswer, DispatchError>>;
}

/// What a child says when it is begun, or told to end.
pub(crate) enum ChildAnswer {
    /// Its end will be reported.
    GoesOn,
    /// It has ended.
    Ended(Ending),
    /// There is another instance of this id.
    Refused(String),
}

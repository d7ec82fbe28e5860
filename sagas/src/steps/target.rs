//! Where a step's command or call goes.

use chronicler_domain::Aggregate;
use serde::Serialize;

use crate::effect::Request;
use crate::next::{call, request};

/// A command on its way to an aggregate.
#[derive(Debug)]
pub struct To<A: Aggregate> {
    id: String,
    command: A::Command,
}

/// A command for an aggregate of this application, under the saga's tenant.
pub fn to<A: Aggregate>(id: impl Into<String>, command: A::Command) -> To<A> {
    let id = id.into();
    To { id, command }
}

/// A call on its way out of the process.
#[derive(Debug)]
pub struct ToService(Result<Request, String>);

/// A call to a service, which gets the effect's id as its idempotency key.
pub fn to_service<T: Serialize>(service: &str, request: &T) -> ToService {
    ToService(call(service, request))
}

impl<A: Aggregate> To<A> {
    pub(super) fn request(self) -> Result<Request, String> {
        request::<A>(&self.id, &self.command)
    }
}

impl ToService {
    pub(super) fn request(self) -> Result<Request, String> {
        self.0
    }
}

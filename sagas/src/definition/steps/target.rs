//! Targets of steps: aggregates, services, other sagas.

use std::any::TypeId;
use std::fmt::{self, Debug};

use chronicler_domain::{Aggregate, Certain, Never};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::phase::NeverHappens;
use crate::definition::effect::Request;
use crate::definition::error::DefinitionError;
use crate::definition::requests::{call, request};

/// A command on its way to an aggregate.
pub struct To<A: Aggregate> {
    id: String,
    command: A::Command,
}

impl<A: Aggregate> Debug for To<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a command to {}/{}", A::CATEGORY, self.id)
    }
}

impl<A: Aggregate> Debug for Surely<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command for an aggregate of this application, under the saga's tenant.
pub fn to<A: Aggregate>(id: impl Into<String>, command: A::Command) -> To<A> {
    let id = id.into();
    To { id, command }
}

/// A command on its way to an aggregate that does not refuse it.
pub struct Surely<A: Aggregate>(To<A>);

/// A command that its aggregate never refuses, as [`Certain`] says.
pub fn surely<A, C>(id: impl Into<String>, command: C) -> Surely<A>
where
    A: Certain<C>,
    C: Into<A::Command>,
{
    Surely(to(id, command.into()))
}

/// A command on its way to an aggregate: [`to`], or [`surely`].
pub trait ToAggregate: sealed::Sealed + 'static {
    /// What it answers.
    type Reply: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Why it is refused.
    type Rejection: DeserializeOwned + std::fmt::Display + 'static;

    #[doc(hidden)]
    fn may_be_refused() -> bool;

    #[doc(hidden)]
    fn request(self) -> Result<Request, DefinitionError>;
}

/// A command that cannot be refused: [`surely`], or [`to`] an aggregate that refuses nothing.
pub trait CannotBeRefused: ToAggregate {}

impl<A: Aggregate> CannotBeRefused for To<A> where A::Rejection: NeverHappens {}
impl<A: Aggregate> CannotBeRefused for Surely<A> {}

mod sealed {
    pub trait Sealed {}
    impl<A: super::Aggregate> Sealed for super::To<A> {}
    impl<A: super::Aggregate> Sealed for super::Surely<A> {}
}

impl<A: Aggregate> ToAggregate for To<A> {
    type Reply = A::Reply;
    type Rejection = A::Rejection;

    fn may_be_refused() -> bool {
        TypeId::of::<A::Rejection>() != TypeId::of::<Never>()
    }

    fn request(self) -> Result<Request, DefinitionError> {
        request::<A>(&self.id, &self.command)
    }
}

impl<A: Aggregate> ToAggregate for Surely<A> {
    type Reply = A::Reply;
    type Rejection = A::Rejection;

    fn may_be_refused() -> bool {
        false
    }

    fn request(self) -> Result<Request, DefinitionError> {
        self.0.request()
    }
}

/// A call on its way out of the process.
#[derive(Debug)]
pub struct ToService(Result<Request, DefinitionError>);

/// A call to a service, which gets the effect's id as its idempotency key.
pub fn to_service<T: Serialize>(service: &str, request: &T) -> ToService {
    ToService(call(service, request))
}

impl ToService {
    pub(super) fn request(self) -> Result<Request, DefinitionError> {
        self.0
    }
}

/// The beginning of another saga.
#[derive(Debug)]
pub struct ToChild(pub(super) Result<Request, DefinitionError>);

impl ToChild {
    pub(super) fn request(self) -> Result<Request, DefinitionError> {
        self.0
    }
}

//! An application as one tenant sees it; and a view, whether or not it is registered.

use chronicler_domain::{Aggregate, AggregateId, GlobalPosition, InvalidId, Tenant};
use chronicler_projections::{MemoryView, Projection, ViewRef};
use chronicler_runtime::{DispatchError, Receipt, SendError, StateOf};

use crate::app::App;
use crate::command::Command;
use crate::error::ViewAccessError;

/// An application as one tenant sees it.
#[derive(Clone)]
pub struct Scope {
    app: App,
    tenant: Result<Tenant, InvalidId>,
}

impl Scope {
    pub(crate) fn new(app: App, tenant: Result<Tenant, InvalidId>) -> Self {
        Self { app, tenant }
    }

    /// Sends a command; see [`App::send`].
    ///
    /// # Errors
    /// As [`App::send`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back.
    pub async fn send<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
        command: impl Into<A::Command>,
    ) -> Result<Receipt<A::Reply>, SendError<A::Rejection>> {
        self.command::<A>(id, command).send().await
    }

    /// A command about which more is to be said; see [`App::command`].
    pub fn command<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
        command: impl Into<A::Command>,
    ) -> Command<A> {
        let id = id.try_into().map_err(Into::into);
        Command::new(self.app.clone(), self.tenant.clone(), id, command.into())
    }

    /// One aggregate's durable state; see [`App::state`].
    ///
    /// # Errors
    /// As [`App::state`].
    pub async fn state<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
    ) -> Result<StateOf<A>, DispatchError> {
        let id = id.try_into().map_err(Into::into)?;
        let tenant = self.tenant.clone()?;
        self.app.runtime().state::<A>(&tenant, &id).await
    }
}

/// A view that is kept in memory, whether or not it is registered.
pub struct View<P: Projection> {
    view: Option<MemoryView<P>>,
}

impl<P: Projection> View<P> {
    pub(crate) fn new(view: Option<MemoryView<P>>) -> Self {
        Self { view }
    }

    /// The view as it is.
    ///
    /// # Errors
    /// When it is not registered, or is still being built.
    pub fn read(&self) -> Result<ViewRef<P>, ViewAccessError> {
        Ok(self.get()?.read()?)
    }

    /// The view once it shows everything up to `position`: read your own write with a receipt's position.
    ///
    /// # Errors
    /// When it is not registered, does not get there in time, or the position is beyond the log.
    pub async fn at_least(&self, position: GlobalPosition) -> Result<ViewRef<P>, ViewAccessError> {
        Ok(self.get()?.at_least(position).await?)
    }

    fn get(&self) -> Result<&MemoryView<P>, ViewAccessError> {
        self.view
            .as_ref()
            .ok_or(ViewAccessError::NotRegistered { name: P::NAME })
    }
}

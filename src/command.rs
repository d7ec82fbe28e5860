//! A command about which more is said than its content.

use std::time::Duration;

use chronicler_domain::{Aggregate, AggregateId, CommandId, InvalidId, Principal, Tenant};
use chronicler_runtime::{Deadline, DispatchError, Receipt, SendError, SendOptions};
use uuid::Uuid;

use crate::app::App;

/// A command about which more is said than its content; made by [`App::command`].
#[must_use = "nothing happens before it is sent"]
pub struct Command<A: Aggregate> {
    app: App,
    tenant: Result<Tenant, InvalidId>,
    id: Result<AggregateId, InvalidId>,
    command: A::Command,
    options: SendOptions,
}

impl<A: Aggregate> Command<A> {
    pub(crate) fn new(
        app: App,
        tenant: Result<Tenant, InvalidId>,
        id: Result<AggregateId, InvalidId>,
        command: A::Command,
    ) -> Self {
        Self {
            app,
            tenant,
            id,
            command,
            options: SendOptions::default(),
        }
    }

    /// Its id: sent again under it, the command takes effect once and is answered the same.
    pub fn command_id(mut self, id: CommandId) -> Self {
        self.options.command_id = Some(id);
        self
    }

    /// On whose behalf.
    pub fn principal(mut self, principal: impl Into<Principal>) -> Self {
        self.options.principal = Some(principal.into());
        self
    }

    /// Shared by everything that one request sets in motion; by default the command's own id.
    pub fn correlation_id(mut self, id: Uuid) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// What caused it: an event or another command.
    pub fn caused_by(mut self, cause: Uuid) -> Self {
        self.options.causation = Some((cause, 0));
        self
    }

    /// How long its sender waits.
    pub fn within(mut self, time: Duration) -> Self {
        self.options.deadline = Deadline::Within(time);
        self
    }

    /// Its sender waits for as long as it takes, whatever the default is.
    pub fn without_deadline(mut self) -> Self {
        self.options.deadline = Deadline::None;
        self
    }

    /// More metadata; see [`Metadata::extra`](chronicler_domain::Metadata::extra) for its limits.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.extra.insert(name.into(), value.into());
        self
    }

    /// Sends it; see [`App::send`].
    ///
    /// # Errors
    /// As [`App::send`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back.
    pub async fn send(self) -> Result<Receipt<A::Reply>, SendError<A::Rejection>> {
        let tenant = self.tenant.map_err(DispatchError::from)?;
        let id = self.id.map_err(DispatchError::from)?;
        self.app
            .runtime()
            .send::<A>(&tenant, &id, self.command, self.options)
            .await
    }
}

//! The two kinds of projection that an application writes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handlers::Handlers;
use crate::table::Table;

/// A view in memory: the struct itself is the view, and the handlers fold events into it.
///
/// It is built from the log whenever the application starts, so it needs no storage and no migration.
/// Readers get a whole, unchanging [`ViewRef`](crate::ViewRef) of it, with its position.
///
/// `Clone` is used to keep readers apart from the fold: there are two copies of the view, and a further one
/// while a reader holds on to an old one. A view whose clone costs much (a map with millions of entries)
/// is better off with shared maps inside, or as a [`TableProjection`].
///
/// # Examples
/// ```
/// # use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Default, Serialize, Deserialize)]
/// # struct Account;
/// # #[derive(Serialize, Deserialize)]
/// # enum AccountEvent { Deposited { cents: i64 } }
/// # impl Event for AccountEvent {}
/// # impl Aggregate for Account {
/// #     const CATEGORY: &'static str = "account";
/// #     type Command = ();
/// #     type Event = AccountEvent;
/// #     type Reply = ();
/// #     type Rejection = Never;
/// #     fn decide(&self, (): (), _: &Context) -> Decided<Self> { Ok(Decision::nothing()) }
/// #     fn evolve(&mut self, _: &AccountEvent) {}
/// # }
/// use std::collections::BTreeMap;
/// use chronicler_projections::{Handlers, Projection};
///
/// #[derive(Clone, Default)]
/// struct Balances(BTreeMap<String, i64>);
///
/// impl Projection for Balances {
///     const NAME: &'static str = "balances";
///     fn define(on: &mut Handlers<Self>) {
///         on.events::<Account>(|view, event, info| match event {
///             AccountEvent::Deposited { cents } => {
///                 *view.0.entry(info.id().to_owned()).or_default() += cents;
///             }
///         });
///     }
/// }
/// ```
pub trait Projection: Clone + Send + Sync + 'static {
    /// Its name, unique in the application; parked events are kept under it.
    const NAME: &'static str;
    /// The version of what it does with events. Raise it when a handler changes: events that were parked
    /// under an older version are then tried again.
    const VERSION: u32 = 1;

    /// Names the handlers.
    fn define(on: &mut Handlers<Self>);
}

/// A view in the store: typed rows by key, which survive a restart and need not fit into memory.
pub trait TableProjection: Send + Sync + 'static {
    /// Its name, unique in the application; its rows and parked events are kept under it.
    const NAME: &'static str;
    /// The version of what it does with events. Raise it when a handler changes: the table is then rebuilt.
    const VERSION: u32 = 1;
    /// The version of the row's own shape. Raise it when a field changes: the table is then rebuilt. Without it a table is
    /// rebuilt when a row is met, by the fold or by a reader, that has other fields than the type.
    const ROW_VERSION: u32 = 1;

    /// A row. Its type says its shape: a `serde_json::Value`, and serde's `untagged`, `tag` and `flatten`, can be written and
    /// not read back. An event whose row cannot be written or read back fails by the failure policy.
    type Row: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Names the handlers.
    fn define(on: &mut TableHandlers<Self>);
}

/// The handlers of a table: they get a [`Table`] of rows to change.
pub type TableHandlers<P> = Handlers<Table<<P as TableProjection>::Row>>;

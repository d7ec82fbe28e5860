//! The key of a step: its name, and the type of what it gives.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The key of a step: a type of its own, so that the compiler knows which steps have run.
///
/// ```
/// use chronicler_sagas::steps::StepKey;
///
/// #[derive(Clone, Copy)]
/// struct Reserve;
/// impl StepKey for Reserve {
///     const ID: &'static str = "reserve";
///     type Output = u64;
/// }
/// ```
pub trait StepKey: Copy + Send + Sync + 'static {
    /// The stable name of the step in the log, unique within its saga. Never change it while instances are
    /// open. It must not be empty, and must not contain NUL or `[`.
    const ID: &'static str;
    /// The version of what it gives. Raise it with the shape of [`Output`](Self::Output): part of the fingerprint.
    const VERSION: u32 = 1;
    /// What the step gives: the reply of its command.
    type Output: Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// Writes types that are keys of steps: name, id, and what the step gives.
///
/// ```
/// chronicler_sagas::step_keys! {
///     /// Takes the units out of the stock.
///     pub(crate) Reserve = "reserve" -> u64;
///     Charge = "charge" -> ();
/// }
/// # let _ = (Reserve, Charge);
/// ```
#[macro_export]
macro_rules! step_keys {
    ($($(#[$doc:meta])* $seen:vis $key:ident = $id:literal -> $output:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        $seen struct $key;

        impl $crate::steps::StepKey for $key {
            const ID: &'static str = $id;
            type Output = $output;
        }
    )*};
}

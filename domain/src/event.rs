//! What can have happened to an aggregate, under names that outlive the code.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{SchemaVersion, Upcasters};

/// Something that happened, usually an enum with one variant for each event type.
///
/// **The stable type name** of an event in the log is the name that serde knows its variant by: the Rust
/// name, or the one given with `#[serde(rename = "…")]`. Variants may be reordered and added freely;
/// before renaming one in Rust, pin its old name with `rename`. A struct that is no enum is one event type
/// with the struct's own name.
///
/// **The schema version** is 1 until [`VERSIONS`](Self::VERSIONS) says otherwise. The default codec is
/// positional, so any change of a variant's fields needs a new version and a step in
/// [`upcasters`](Self::upcasters); the chain is checked for gaps when the application starts.
///
/// ```
/// use chronicler_domain::{Event, Upcasters};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum AccountEvent {
///     Deposited { cents: i64, currency: String },
///     Closed,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct DepositedV1 { cents: i64 }
/// #[derive(Serialize, Deserialize)]
/// struct DepositedV2 { cents: i64, currency: String }
///
/// impl Event for AccountEvent {
///     const VERSIONS: &'static [(&'static str, u32)] = &[("Deposited", 2)];
///     fn upcasters() -> Upcasters {
///         Upcasters::new().step("Deposited", 1, |old: DepositedV1| DepositedV2 {
///             cents: old.cents,
///             currency: "EUR".into(),
///         })
///     }
/// }
/// assert!(AccountEvent::upcasters().check(AccountEvent::VERSIONS).is_ok());
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The present schema versions of the types that are past version 1, by type name.
    const VERSIONS: &'static [(&'static str, u32)] = &[];

    /// How payloads of older versions become the present ones.
    fn upcasters() -> Upcasters {
        Upcasters::new()
    }

    /// The present schema version of a type.
    fn schema_version(event_type: &str) -> SchemaVersion {
        let found = Self::VERSIONS.iter().find(|(name, _)| *name == event_type);
        found.map_or(SchemaVersion::FIRST, |(_, version)| {
            SchemaVersion::new(*version)
        })
    }
}

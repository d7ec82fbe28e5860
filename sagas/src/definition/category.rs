//! How the categories of sagas' streams are told from all others.

/// The category of a saga's streams begins with this; its name follows.
pub(crate) const CATEGORY_PREFIX: &str = "saga:";

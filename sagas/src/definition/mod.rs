//! Definitions, as one writes them: a saga, its routes and decisions, its effects, and the step language.

pub(crate) mod answer;
pub(crate) mod category;
pub(crate) mod directive;
pub(crate) mod effect;
pub(crate) mod effect_view;
pub(crate) mod error;
pub(crate) mod external;
pub(crate) mod input;
pub(crate) mod next;
pub(crate) mod payload;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod saga;
pub mod steps;
pub(crate) mod terms;

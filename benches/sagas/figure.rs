//! A figure, and the bar that it is held to.

use std::fmt::{self, Display};

use serde::Serialize;

/// A figure. All bars are upper bounds.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) at_most: f64,
    /// How it came about.
    pub(crate) of: String,
}

impl Figure {
    pub(crate) fn holds(&self) -> bool {
        self.value <= self.at_most
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            unit,
            at_most,
            of,
        } = self;
        let holds = if self.holds() { "yes" } else { "NO" };
        let value = format!("{value:.2} {unit}");
        write!(
            f,
            "{name:<24}{value:>16}   <= {at_most:<6} {holds:<4} ({of})"
        )
    }
}

//! What a command prints: lines for people, or one JSON object a line.

use std::fmt;
use std::io::Write;

use serde::Serialize;

use crate::exit::ToolError;

/// Where a command prints to, and how.
pub struct Output<'a> {
    to: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    /// Prints lines for people, or with `json` one JSON object a line.
    pub fn new(to: &'a mut dyn Write, json: bool) -> Self {
        Self { to, json }
    }

    /// Prints one thing: `object` as JSON, or `text` and a line end.
    pub(crate) fn item(
        &mut self,
        object: &impl Serialize,
        text: impl fmt::Display,
    ) -> Result<(), ToolError> {
        let written = if self.json {
            serde_json::to_writer(&mut *self.to, object)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(self.to))
        } else {
            writeln!(self.to, "{text}")
        };
        written.map_err(ToolError::Output)
    }

    /// Whether it prints lines for people.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.json
    }

    /// Makes everything that was printed visible.
    pub(crate) fn flush(&mut self) -> Result<(), ToolError> {
        self.to.flush().map_err(ToolError::Output)
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), ToolError> {
        self.to.write_all(bytes).map_err(ToolError::Output)
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

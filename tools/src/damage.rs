//! Damage as it is printed.

use std::fmt;

use chronicler_store::journal::{Damage, Remedy};
use serde::Serialize;

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub(crate) struct DamageLine {
    file: String,
    offset: u64,
    after_position: u64,
    after_commit: u64,
    reason: String,
    /// "open" or "restore"
    remedy: &'static str,
    what_to_do: String,
}

impl From<&Damage> for DamageLine {
    fn from(damage: &Damage) -> Self {
        Self {
            file: damage.file.display().to_string(),
            offset: damage.offset,
            after_position: damage.position.get(),
            after_commit: damage.sequence.get(),
            reason: damage.reason.clone(),
            remedy: match damage.remedy {
                Remedy::Open => "open",
                _ => "restore",
            },
            what_to_do: damage.remedy.to_string(),
        }
    }
}

impl fmt::Display for DamageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} at byte {} (after position {}, commit {}): {}",
            self.file, self.offset, self.after_position, self.after_commit, self.reason
        )?;
        write!(f, "    what to do: {}", self.what_to_do)
    }
}

//! How the gateway behaves towards a charge: by chance, but the same each time it is asked.

use sha2::{Digest, Sha256};

/// How the gateway behaves towards one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    Declines,
    /// It charges, but the reply is lost the first time.
    LosesTheFirstReply,
    NeverAnswers,
    ChargesAndNeverAnswers,
}

/// How often the gateway misbehaves, in parts of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moods {
    pub(crate) seed: u64,
    pub(crate) declines: u16,
    pub(crate) loses: u16,
    pub(crate) never_answers: u16,
}

impl Moods {
    pub(super) fn of(&self, charge: &str) -> Mood {
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_le_bytes());
        hasher.update(charge.as_bytes());
        let hash = hasher.finalize();
        let chance = match hash.first_chunk::<4>() {
            Some(bytes) => u32::from_le_bytes(*bytes) % 1_000,
            None => return Mood::Answers,
        };
        let charges_first = hash.last().is_some_and(|byte| byte % 2 == 0);
        let declines = u32::from(self.declines);
        let loses = declines + u32::from(self.loses);
        let silent = loses + u32::from(self.never_answers);
        match chance {
            chance if chance < declines => Mood::Declines,
            chance if chance < loses => Mood::LosesTheFirstReply,
            chance if chance < silent && charges_first => Mood::ChargesAndNeverAnswers,
            chance if chance < silent => Mood::NeverAnswers,
            _ => Mood::Answers,
        }
    }
}

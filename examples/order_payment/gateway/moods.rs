//! How the gateway behaves towards a charge: by chance, but the same each time it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
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
    /// The call reaches it twice.
    ActsTwice,
}

/// How often the gateway misbehaves, in parts of a thousand.
#[derive(Clone, Debug, Default)]
pub struct Moods {
    pub seed: u64,
    pub declines: u16,
    pub loses: u16,
    pub never_answers: u16,
    /// What was said about single charges, payments or orders, by their ids; it comes before chance.
    script: Arc<Mutex<BTreeMap<String, Mood>>>,
}

impl Moods {
    /// Moods by chance, in parts of a thousand.
    pub fn by_chance(seed: u64, declines: u16, loses: u16, never_answers: u16) -> Self {
        Self {
            seed,
            declines,
            loses,
            never_answers,
            ..Self::default()
        }
    }

    /// Says how it behaves towards one charge (`order-1-1/1`), one payment (`order-1-1`) or one order.
    pub fn program(&self, key: &str, mood: &str) -> Result<(), String> {
        let mood = match mood {
            "ok" => Mood::Answers,
            "fail" => Mood::Declines,
            "timeout" => Mood::NeverAnswers,
            "lost_reply" => Mood::LosesTheFirstReply,
            "late" => Mood::ChargesAndNeverAnswers,
            "duplicate" => Mood::ActsTwice,
            other => return Err(format!("the gateway knows no {other:?}")),
        };
        self.script.lock().insert(key.to_owned(), mood);
        Ok(())
    }

    fn programmed(&self, charge: &str) -> Option<Mood> {
        let payment = charge
            .rsplit_once('/')
            .map_or(charge, |(payment, _)| payment);
        let order = payment.rsplit_once('-').map_or(payment, |(order, _)| order);
        let script = self.script.lock();
        [charge, payment, order]
            .into_iter()
            .find_map(|key| script.get(key).copied())
    }

    pub(super) fn of(&self, charge: &str) -> Mood {
        if let Some(mood) = self.programmed(charge) {
            return mood;
        }
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

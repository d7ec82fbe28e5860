//! What the stand-in payment server does: its charges, the answers it gave by key, and its bad days.

use std::collections::{BTreeMap, HashMap, HashSet};

use hyper::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How the server behaves towards the charge of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Declines,
    /// It charges, and closes the connection without an answer, the first time.
    BreaksOnce,
    /// It charges, and says that it failed, the first time.
    FailsOnce,
    /// It charges, and says each time that it failed.
    ChargesAndFails,
    /// It fails each time, and charges nothing.
    Fails,
}

/// What it does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Says(StatusCode, Value),
    HangsUp,
}

/// How often an order was charged, and given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) charged: u32,
    pub(crate) refunded: u32,
}

/// The server's book. It would charge an order twice if it were asked under two keys.
#[derive(Debug, Default)]
pub(crate) struct Book {
    answers: HashMap<String, (StatusCode, Value)>,
    accounts: BTreeMap<String, Account>,
    called_off: HashSet<String>,
    /// How it behaves towards an order, where that is said; else it is by chance.
    pub(crate) moods: HashMap<String, Mood>,
    /// Requests whose key it knew.
    pub(crate) repeated: u64,
    /// So many requests are not taken, as of a server that has just begun.
    pub(crate) warming_up: u32,
}

impl Book {
    pub(crate) fn account(&self, order: &str) -> Account {
        self.accounts.get(order).copied().unwrap_or_default()
    }

    /// `GET /charges/<order>`
    pub(crate) fn look(&self, order: &str) -> Answer {
        match self.accounts.get(order) {
            Some(_) => says(StatusCode::OK, &charge_of(order)),
            None => Answer::Says(StatusCode::NOT_FOUND, json!({ "why": "no such charge" })),
        }
    }

    /// `POST /charges`
    pub(crate) fn charge(&mut self, key: &str, order: &str) -> Answer {
        let is_first = !self.answers.contains_key(key);
        let mood = self.mood(order);
        let answer = match (mood, self.called_off.contains(order)) {
            (Mood::Fails, _) => return failed(),
            (Mood::Declines, _) => self.once(key, |_| refusal("the bank said no")),
            (_, true) => self.once(key, |_| refusal("it was called off")),
            _ => self.once(key, |book| {
                book.accounts.entry(order.to_owned()).or_default().charged += 1;
                (StatusCode::OK, json!({ "charge": charge_of(order) }))
            }),
        };
        match mood {
            Mood::BreaksOnce if is_first => Answer::HangsUp,
            Mood::FailsOnce if is_first => failed(),
            Mood::ChargesAndFails => failed(),
            _ => answer,
        }
    }

    /// `POST /refunds`
    pub(crate) fn refund(&mut self, key: &str, order: &str) -> Answer {
        self.once(key, |book| {
            book.called_off.insert(order.to_owned());
            let charge = match book.accounts.get_mut(order) {
                Some(account) => {
                    account.refunded = account.charged;
                    charge_of(order)
                }
                None => String::new(),
            };
            (StatusCode::OK, json!({ "charge": charge }))
        })
    }

    /// Does something the first time that a key comes, and then says the same again.
    fn once(&mut self, key: &str, act: impl FnOnce(&mut Self) -> (StatusCode, Value)) -> Answer {
        if let Some((status, said)) = self.answers.get(key).cloned() {
            self.repeated += 1;
            return Answer::Says(status, said);
        }
        let (status, said) = act(self);
        self.answers.insert(key.to_owned(), (status, said.clone()));
        Answer::Says(status, said)
    }

    fn mood(&self, order: &str) -> Mood {
        if let Some(mood) = self.moods.get(order) {
            return *mood;
        }
        let hash = Sha256::digest(order.as_bytes());
        match hash
            .first_chunk()
            .map_or(0, |bytes| u16::from_le_bytes(*bytes))
            % 100
        {
            0..=7 => Mood::Declines,
            8..=17 => Mood::BreaksOnce,
            18..=27 => Mood::FailsOnce,
            28..=30 => Mood::ChargesAndFails,
            31..=33 => Mood::Fails,
            _ => Mood::Answers,
        }
    }
}

fn charge_of(order: &str) -> String {
    format!("charge-of-{order}")
}

fn says(status: StatusCode, charge: &str) -> Answer {
    Answer::Says(status, json!({ "charge": charge }))
}

fn failed() -> Answer {
    Answer::Says(StatusCode::INTERNAL_SERVER_ERROR, json!({}))
}

fn refusal(why: &str) -> (StatusCode, Value) {
    (StatusCode::PAYMENT_REQUIRED, json!({ "why": why }))
}

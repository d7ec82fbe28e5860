//! What a number asks for: the worker sends it, the parent knows it without being told.

use crate::bank::{AccountCommand, Amount};

/// Accounts that everybody uses.
const HOT: u64 = 4;
/// Accounts that are used rarely: more than may live at a time.
const COLD: u64 = 300;
/// Numbers of one life of the worker.
pub(crate) const NUMBERS: u64 = 10_000_000;
/// More than any account ever holds.
const TOO_MUCH: i64 = 1 << 40;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    OfAccount(String, AccountCommand),
    Transfer(Amount),
}

/// A command of some number.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    /// Whether its sender gives it an id, so that it can be repeated.
    pub(crate) has_id: bool,
    /// Whether its sender does not wait for long.
    pub(crate) is_hasty: bool,
}

impl Asked {
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        let mut chance = Chance::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let cents = 1 + chance.below(100) as i64;
        let wish = match chance.below(16) {
            0..8 => Wish::OfAccount(
                account(&mut chance),
                AccountCommand::Deposit {
                    number,
                    cents,
                    parts: 1 + chance.below(3),
                },
            ),
            8..10 => Wish::OfAccount(
                account(&mut chance),
                AccountCommand::Withdraw { number, cents },
            ),
            10 => Wish::OfAccount(
                account(&mut chance),
                AccountCommand::Withdraw {
                    number,
                    cents: TOO_MUCH,
                },
            ),
            _ => {
                let (from, to) = (account(&mut chance), account(&mut chance));
                Wish::Transfer(Amount {
                    number,
                    from,
                    to,
                    cents,
                })
            }
        };
        Self {
            wish,
            has_id: chance.below(2) == 0,
            is_hasty: chance.below(32) == 0,
        }
    }

    /// How many events it has if it is carried out.
    pub(crate) fn events(&self) -> u64 {
        match self.wish {
            Wish::OfAccount(_, AccountCommand::Deposit { parts, .. }) => parts,
            _ => 1,
        }
    }
}

/// All accounts.
pub(crate) fn accounts() -> impl Iterator<Item = String> {
    let hot = (0..HOT).map(|account| format!("hot-{account}"));
    hot.chain((0..COLD).map(|account| format!("cold-{account}")))
}

fn account(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => format!("hot-{}", chance.below(HOT)),
        _ => format!("cold-{}", chance.below(COLD)),
    }
}

/// Numbers that a seed gives again (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }
}

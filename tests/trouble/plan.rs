//! What trouble there is when: drawn by chance, the same again for the same seed.

use std::time::Duration;

use crate::asked::Chance;
use crate::troubles::Trouble;

/// How quickly lives go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Commands a second.
    pub(crate) rate: u64,
    pub(crate) slow_readers: usize,
    /// How long it is loaded without trouble, before and after.
    pub(crate) calm: Duration,
    /// How long there is trouble, and how much of it.
    pub(crate) trouble: Duration,
    pub(crate) kinds: usize,
    /// How long one kind lasts.
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

impl Pace {
    pub(crate) const SHORT: Self = Self {
        rate: 600,
        slow_readers: 20,
        calm: Duration::from_millis(400),
        trouble: Duration::from_millis(2_000),
        kinds: 3,
        shortest: Duration::from_millis(500),
        longest: Duration::from_millis(1_200),
    };
    pub(crate) const LONG: Self = Self {
        rate: 2_000,
        // More than tokio has threads for blocking work.
        slow_readers: 600,
        calm: Duration::from_secs(1),
        trouble: Duration::from_secs(15),
        kinds: 4,
        shortest: Duration::from_secs(1),
        longest: Duration::from_secs(8),
    };
}

/// When a trouble begins or ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) at: Duration,
    pub(crate) trouble: Trouble,
    pub(crate) begins: bool,
}

/// Draws the troubles of one life after the other.
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) kinds: Vec<Trouble>,
    /// Kinds that are still to come before any comes again.
    deck: Vec<Trouble>,
}

impl Plan {
    pub(crate) fn new(pace: Pace, kinds: Vec<Trouble>) -> Self {
        Self {
            pace,
            kinds,
            deck: Vec::new(),
        }
    }

    /// The troubles of a life, drawn so that each kind comes once before any comes again.
    pub(crate) fn draw(&mut self, chance: &mut Chance) -> Vec<Turn> {
        let mut drawn: Vec<Trouble> = Vec::new();
        let is_disk =
            |trouble: &Trouble| matches!(trouble, Trouble::DiskStalls | Trouble::DiskFills);
        for _ in 0..self.pace.kinds {
            if self.deck.is_empty() {
                self.deck.clone_from(&self.kinds);
            }
            let nth = chance.below(self.deck.len() as u64) as usize;
            let trouble = self.deck[nth];
            // A disk that stalls cannot be filled, and nobody can make room on it.
            let collides =
                drawn.contains(&trouble) || (is_disk(&trouble) && drawn.iter().any(is_disk));
            if !collides {
                drawn.push(self.deck.swap_remove(nth));
            }
        }
        let mut turns = Vec::new();
        for trouble in drawn {
            let longer = self.pace.longest - self.pace.shortest;
            let lasts = self.pace.shortest + part_of(chance, longer);
            let at = part_of(chance, self.pace.trouble.saturating_sub(lasts));
            turns.push(Turn {
                at,
                trouble,
                begins: true,
            });
            turns.push(Turn {
                at: at + lasts,
                trouble,
                begins: false,
            });
        }
        turns.sort_by_key(|turn| turn.at);
        turns
    }
}

/// Some time up to this.
fn part_of(chance: &mut Chance, whole: Duration) -> Duration {
    Duration::from_millis(chance.below(1 + whole.as_millis() as u64))
}

//! New ids, without a lock and without asking the system for chance.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use chronicler_domain::Timestamp;
use uuid::Uuid;

/// New ids: version 7, from the runtime's clock and a generator of each thread's own.
pub(crate) struct Ids;

thread_local! {
    /// Where this thread's generator is, and its step.
    static IDS: Cell<(u64, u64)> = Cell::new({
        let seed = RandomState::new();
        (seed.hash_one(1_u8), seed.hash_one(2_u8) | 1)
    });
}

impl Ids {
    /// Begins again from a seed, on this thread.
    pub(crate) fn seed(seed: u64) {
        IDS.set((seed, seed.rotate_left(17) | 1));
    }

    pub(crate) fn next(now: Timestamp) -> Uuid {
        // splitmix64 over a counter with a random start and a random odd step: cheap, and two threads or
        // processes meet no more often than random numbers do.
        let mix = |mut z: u64| {
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (high, low) = IDS.with(|state| {
            let (at, step) = state.get();
            state.set((at.wrapping_add(step), step));
            (mix(at), mix(at ^ step.rotate_left(32)))
        });
        let mut random = [0_u8; 10];
        let bytes = high.to_le_bytes().into_iter().chain(low.to_le_bytes());
        random
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid()
    }
}

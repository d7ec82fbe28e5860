//! The memory against a list of everything that was carried out: whatever happens, nothing inside the window is lost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use uuid::Uuid;

use super::run::{Entry, OpenRun, Run, Span, fingerprint};
use super::{Identity, Memory, MemoryImage, Place, Remembered, Rules};
use crate::options::RuntimeOptions;

/// Numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, so_many: u64) -> bool {
        self.below(so_many) == 0
    }
}

/// A command that was carried out.
#[derive(Clone, Debug)]
struct Done {
    id: Uuid,
    identity: Identity,
    sequence: LogSequence,
    outcome: Remembered,
}

const WINDOW: Duration = Duration::from_secs(1_000);
const AHEAD: Duration = Duration::from_secs(50);
const JUMP: Duration = Duration::from_secs(2_500);

struct World {
    random: Random,
    rules: Arc<Rules>,
    memory: Memory,
    now: Timestamp,
    /// The clock is ahead by far, until it is set back.
    jumped: bool,
    sequence: u64,
    done: Vec<Done>,
    /// Decided, and not durable yet.
    in_flight: Vec<Done>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let options = RuntimeOptions {
            remembered_for: WINDOW,
            remembered_ahead_max: AHEAD,
            remembered_max: random.below(5) as usize,
            remembered_answer_bytes_max: random.below(40) as usize,
            remembered_id_bytes_max: random.below(30) as usize * 8,
            ..RuntimeOptions::default()
        };
        let mut rules = Rules::new(&options);
        rules.run_ids = 1 + random.below(4) as usize;
        rules.runs_merged = 2 + random.below(2) as usize;
        rules.run_ids_max = 4 + random.below(20);
        rules.runs_max = 2 + random.below(8) as usize;
        let rules = Arc::new(rules);
        Self {
            memory: Memory::new(&rules),
            random,
            rules,
            now: Timestamp::from_millis(1_700_000_000_000),
            jumped: false,
            sequence: 0,
            done: Vec::new(),
            in_flight: Vec::new(),
        }
    }

    fn decide(&mut self) {
        // Other commits of the stream and of the log lie between.
        self.sequence += 1 + self.random.below(3);
        let sequence = LogSequence::new(self.sequence);
        let random = self.random.next();
        let id = Uuid::from_u64_pair(self.random.next(), random);
        let identity = match self.random.below(4) {
            0 => Identity::Effect {
                decided_at: LogSequence::new(self.random.below(self.sequence)),
            },
            _ => Identity::Caller {
                issued_at: self.issued_at(),
            },
        };
        let issued_at = match identity {
            Identity::Caller { issued_at } => Some(issued_at),
            Identity::Effect { .. } => None,
        };
        let outcome = Remembered {
            rejected: false,
            codec: CodecId::BINCODE,
            payload: Bytes::from(vec![0; self.random.below(20) as usize]),
            command_hash: None,
            issued_at,
            at: self.now,
            first_version: StreamVersion::ZERO,
            version: StreamVersion::ZERO,
            place: Arc::new(OnceLock::new()),
        };
        self.memory.remember(id, outcome.clone(), self.now);
        self.in_flight.push(Done {
            id,
            identity,
            sequence,
            outcome,
        });
    }

    /// A time of a caller whose clock may be ahead, or whose command was long under way.
    fn issued_at(&mut self) -> Timestamp {
        let ahead = self.now.plus(AHEAD);
        let back = match self.random.below(4) {
            0 => self.random.below(1_000),
            _ => self.random.below(60),
        };
        ahead.minus(Duration::from_secs(back + self.random.below(2) * 40))
    }

    /// The oldest commits that wait become durable.
    fn settle(&mut self) {
        let some = self.random.below(self.in_flight.len() as u64 + 1) as usize;
        for done in self.in_flight.drain(..some) {
            let place = Place {
                sequence: done.sequence,
                position: GlobalPosition::ZERO,
            };
            done.outcome.place.set(place).expect("it is set once");
            self.done.push(done);
        }
    }

    /// Snapshot and tail, as after a passivation or a restart.
    fn restart(&mut self) {
        self.settle_all();
        let image = self.memory.copy().image().expect("all are durable");
        assert!(image.runs.len() <= self.rules.runs_max + 2);
        let bytes = encode(PayloadCodec::Bincode, &image).expect("it is encoded");
        let image: MemoryImage = decode(CodecId::BINCODE, &bytes).expect("it is decoded");
        self.memory = Memory::restore(
            &self.rules,
            image,
            LogSequence::new(self.sequence),
            self.now,
        );
    }

    fn settle_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.settle();
        }
    }

    /// What a look into the log gives.
    fn learn(&mut self, span: Span) {
        let mut open = OpenRun::new();
        for done in &self.done {
            if (span.first..=span.last).contains(&done.sequence) {
                let entry = Entry::of(done.id, &done.outcome, AHEAD).expect("it is durable");
                assert!(open.push(&entry));
            }
        }
        let runs: Vec<Run> = (open.len() > 0).then(|| open.close()).into_iter().collect();
        self.memory.learn(span, runs);
    }

    fn check(&mut self) {
        let remembered_after = self.memory.remembered_after(self.now);
        assert!(
            remembered_after <= self.now.minus(WINDOW),
            "an id inside the window would be refused unseen"
        );
        let all: Vec<Done> = self.done.iter().chain(&self.in_flight).cloned().collect();
        for done in all {
            if let Identity::Caller { issued_at } = done.identity
                && issued_at <= remembered_after
            {
                continue;
            }
            if self.memory.find(done.id).is_some() {
                continue;
            }
            let spans = self
                .memory
                .sought(done.id, done.identity, LogSequence::ZERO);
            let holds = |span: &&Span| (span.first..=span.last).contains(&done.sequence);
            let span = spans.iter().find(holds).copied();
            let span =
                span.unwrap_or_else(|| panic!("{done:?} would be carried out again: {spans:?}"));
            if self.random.one_in(8) && span.first < span.last {
                self.learn(span);
            }
        }
        assert!(self.rules.id_bytes() <= self.rules.id_bytes_max);
        assert!(self.memory.copy().runs.len() <= self.rules.runs_max + 1);
    }
}

#[test]
fn d6_whatever_is_remembered_forgotten_and_restored_nothing_inside_the_window_is_lost() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..100 {
            match world.random.below(12) {
                0 => world.settle(),
                1 => world.settle_all(),
                2 => world.memory.shed(world.now),
                3 if world.random.one_in(4) => world.restart(),
                4 => {
                    let far = world.random.one_in(10);
                    let seconds = world.random.below(if far { 900 } else { 30 });
                    world.now = world.now.plus(Duration::from_secs(seconds));
                }
                // A clock that is set back.
                5 if world.random.one_in(6) => {
                    world.now = world.now.minus(Duration::from_secs(40));
                    world.memory.shed(world.now);
                }
                // One that jumps ahead by more than the window, and is set right later.
                6 if world.random.one_in(3) => {
                    world.now = match world.jumped {
                        true => world.now.minus(JUMP),
                        false => world.now.plus(JUMP),
                    };
                    world.jumped = !world.jumped;
                    world.memory.shed(world.now);
                }
                _ => world.decide(),
            }
            world.check();
        }
        drop(world.memory);
        assert_eq!(world.rules.id_bytes(), 0, "all was given back");
    }
}

#[test]
fn d6_an_id_that_was_never_seen_is_not_looked_for_in_the_log() {
    let rules = Arc::new(Rules::new(&RuntimeOptions::default()));
    let mut memory = Memory::new(&rules);
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut random = Random(7);
    let identity = Identity::Caller { issued_at: now };
    for sequence in 1..=20_000 {
        let random_id = random.next();
        let id = Uuid::from_u64_pair(random.next(), random_id);
        assert!(memory.sought(id, identity, LogSequence::ZERO).is_empty() || sequence > 1_000);
        let place = Place {
            sequence: LogSequence::new(sequence),
            position: GlobalPosition::ZERO,
        };
        let outcome = Remembered {
            rejected: false,
            codec: CodecId::BINCODE,
            payload: Bytes::new(),
            command_hash: None,
            issued_at: Some(now),
            at: now,
            first_version: StreamVersion::ZERO,
            version: StreamVersion::ZERO,
            place: Arc::new(OnceLock::from(place)),
        };
        memory.remember(id, outcome, now);
    }
    // Of 20,000 ids of one millisecond 8 bytes each are kept, and what is in them is told from what is not.
    assert!(rules.id_bytes() <= 160_000);
    let strangers = (0..1_000).filter(|_| {
        let random_id = random.next();
        let id = Uuid::from_u64_pair(random.next(), random_id);
        !memory.sought(id, identity, LogSequence::ZERO).is_empty()
    });
    assert!(strangers.count() <= 3);
}

#[test]
fn d6_ids_that_differ_little_have_fingerprints_that_differ() {
    let of = |number: u128| fingerprint(Uuid::from_u128(number));
    for shift in [0, 8, 16, 32, 62, 64, 80] {
        let mut all: Vec<u32> = (0..10_000_u128)
            .map(|n| of((7 << 100) | (n << shift)))
            .collect();
        all.sort_unstable();
        all.dedup();
        assert!(
            all.len() > 9_990,
            "shifted by {shift}: {} of 10,000",
            all.len()
        );
    }
}

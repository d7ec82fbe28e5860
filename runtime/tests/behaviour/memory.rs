//! Whatever the load and however small the limits, a command takes effect once, and none inside the window is refused.

use std::time::Duration;

use chronicler_domain::{CommandId, LogSequence, Metadata, Tenant, Timestamp};
use chronicler_runtime::{
    Clock, DispatchError, EffectCommand, RuntimeOptions, SendError, SendOptions, SnapshotPolicy,
};
use chronicler_store::codec::{PayloadCodec, encode};
use chronicler_store::{MemoryStore, Outcome, SnapshotStore};
use futures::future::join_all;
use uuid::Uuid;

use crate::fixture::{
    Command, Counter, Fixture, Sent, command_id, fixture, id, settle, stream, with,
};

/// Numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A command as its sender knows it.
#[derive(Clone)]
enum Sending {
    Caller(SendOptions, Timestamp),
    Effect(Uuid, LogSequence),
}

const AHEAD: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// As little memory as can be had: one outcome whole, and the ids of no closed run.
fn forgetful() -> RuntimeOptions {
    let mut options = RuntimeOptions::default();
    options.remembered_max = 1;
    options.remembered_answer_bytes_max = 0;
    options.remembered_id_bytes_max = 0;
    options.remembered_ahead_max = AHEAD;
    options
}

impl Fixture {
    fn new_sending(&self, random: &mut Random, name: &str) -> Sending {
        if random.below(5) == 0 {
            return Sending::Effect(self.runtime.new_id(), self.runtime.head().sequence);
        }
        // A clock that is ahead, a command that was made long before it is sent, or both right.
        let late = match random.below(8) {
            0 => random.below(20 * 3_600),
            1 | 2 => random.below(600),
            _ => AHEAD.as_secs(),
        };
        let at = self
            .clock
            .now()
            .plus(AHEAD)
            .minus(Duration::from_secs(late));
        let options = SendOptions {
            command_id: Some(CommandId::derived(at, name)),
            ..SendOptions::default()
        };
        Sending::Caller(options, at)
    }

    /// Sends one more; whether it was a repetition, as far as one is told.
    async fn carry_out(&self, sending: &Sending) -> Result<Option<bool>, String> {
        match sending {
            Sending::Caller(options, _) => {
                let sent = self.send_with("a", Command::Add(1), options.clone()).await;
                sent.map(|receipt| Some(receipt.duplicate))
                    .map_err(|error| error.to_string())
            }
            Sending::Effect(effect_id, decided_at) => {
                let effect = EffectCommand {
                    target: stream("a"),
                    codec: PayloadCodec::Bincode.id(),
                    command: encode(PayloadCodec::Bincode, &Command::Add(1)).unwrap(),
                    effect_id: *effect_id,
                    decided_at: *decided_at,
                    metadata: Metadata::origin(*effect_id),
                    deadline: None,
                };
                let done = self.runtime.effects().dispatch(effect).await;
                done.map(|_| None).map_err(|error| error.to_string())
            }
        }
    }
}

#[tokio::test]
async fn d6_however_little_is_kept_each_command_takes_effect_once_and_none_is_refused() {
    for seed in 0..4 {
        let random = &mut Random(seed);
        let mut options = forgetful();
        options.remembered_id_bytes_max = [0, 2_048, 8_192, 1 << 20][seed as usize];
        options.snapshots = SnapshotPolicy::AnyOf(vec![
            SnapshotPolicy::EveryEvents(100 + random.below(300)),
            SnapshotPolicy::OnPassivation,
        ]);
        let mut f = with(MemoryStore::new(), options.clone()).await;
        let mut sent: Vec<Sending> = Vec::new();
        for round in 0..40 {
            let fresh: Vec<Sending> = (0..1 + random.below(40))
                .map(|n| f.new_sending(random, &format!("{round} {n}")))
                .collect();
            let first = join_all(fresh.iter().map(|sending| f.carry_out(sending))).await;
            for answer in first {
                assert_ne!(answer.unwrap(), Some(true), "it was never sent before");
            }
            sent.extend(fresh);
            // Twice at once, and long after.
            let again: Vec<_> = (0..6)
                .map(|_| sent[random.below(sent.len() as u64) as usize].clone())
                .collect();
            let twice = again.iter().chain(&again);
            let answers = join_all(twice.clone().map(|sending| f.carry_out(sending))).await;
            for (sending, answer) in twice.zip(answers) {
                match (sending, answer) {
                    (_, Ok(duplicate)) => assert_ne!(duplicate, Some(false), "carried out again"),
                    (Sending::Caller(_, at), Err(error)) => {
                        assert!(*at <= f.clock.now().minus(WINDOW), "{error}");
                    }
                    (Sending::Effect(..), Err(error)) => panic!("{error}"),
                }
            }
            match random.below(6) {
                0 => {
                    let handle = f.runtime.aggregate::<crate::fixture::Counter>().unwrap();
                    handle.passivate(&Tenant::default(), &id("a")).await;
                }
                1 => {
                    let clock = f.clock.now();
                    f = with(f.store.clone(), options.clone()).await;
                    f.clock.advance(clock.since(f.clock.now()));
                }
                2 => f
                    .clock
                    .advance(Duration::from_secs(random.below(3 * 3_600))),
                _ => f.clock.advance(Duration::from_millis(random.below(2_000))),
            }
        }
        assert_eq!(f.total("a").await, sent.len() as i64, "seed {seed}");
    }
}

#[tokio::test]
async fn d6_an_id_from_the_future_is_refused_and_locks_nobody_out() {
    let f = fixture().await;
    let from = |ahead: Duration| SendOptions {
        command_id: Some(CommandId::derived(f.clock.now().plus(ahead), "x")),
        ..SendOptions::default()
    };
    let year = Duration::from_secs(365 * 86_400);
    for ahead in [Duration::from_secs(301), year, year * 10] {
        let error = f
            .send_with("a", Command::Add(1), from(ahead))
            .await
            .unwrap_err();
        let refused = matches!(error, SendError::Failed(DispatchError::IdFromFuture { .. }));
        assert!(refused && error.outcome() == Outcome::NotApplied, "{error}");
    }
    let within = from(Duration::from_secs(299));
    f.send_with("a", Command::Add(1), within.clone())
        .await
        .unwrap();
    for n in 0..1_000 {
        let right = command_id(&f, &format!("{n}"));
        f.send_with("a", Command::Add(1), right).await.unwrap();
    }
    assert!(
        f.send_with("a", Command::Add(1), within)
            .await
            .unwrap()
            .duplicate
    );
    assert_eq!(f.total("a").await, 1_001);
}

#[tokio::test]
async fn d6_ids_made_long_before_they_are_sent_are_all_taken_in_any_order() {
    for (count, options) in [(400, forgetful()), (3_000, RuntimeOptions::default())] {
        ids_made_first(count, options).await;
    }
}

async fn ids_made_first(count: usize, options: RuntimeOptions) {
    let f = with(MemoryStore::new(), options).await;
    let ids: Vec<SendOptions> = (0..count)
        .map(|n| {
            f.clock.advance(Duration::from_micros(30));
            command_id(&f, &format!("{n}"))
        })
        .collect();
    let shuffled = (0..count).map(|n| &ids[(n * 1_103) % count]);
    for (n, options) in shuffled.enumerate() {
        let receipt = f.send_with("a", Command::Add(1), options.clone()).await;
        assert!(!receipt.unwrap().duplicate);
        if n % 97 == 0 {
            let again = f.send_with("a", Command::Add(1), options.clone()).await;
            assert!(again.unwrap().duplicate);
        }
    }
    assert_eq!(f.total("a").await, count as i64);
}

#[tokio::test]
async fn d6_what_is_in_flight_is_never_forgotten_however_little_is_kept() {
    let f = with(MemoryStore::new(), forgetful()).await;
    f.store.faults().hold();
    let ids: Vec<_> = (0..64).map(|n| command_id(&f, &format!("{n}"))).collect();
    let send = || {
        ids.iter()
            .map(|id| f.spawn_with("a", Command::Add(1), id.clone()))
    };
    let sent: Vec<_> = send().chain(send()).collect();
    settle().await;
    f.store.faults().release();
    let answers = join_all(sent).await;
    let answers: Vec<Sent> = answers.into_iter().map(Result::unwrap).collect();
    let fresh = answers
        .iter()
        .filter(|sent| !sent.as_ref().unwrap().duplicate);
    assert_eq!(fresh.count(), 64);
    assert_eq!(f.total("a").await, 64);
}

#[tokio::test]
async fn d7_snapshots_hold_the_newest_answers_and_of_older_ids_only_where_they_lie() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(500);
    let f = with(MemoryStore::new(), options.clone()).await;
    let ids: Vec<_> = (0..4_200)
        .map(|n| command_id(&f, &format!("{n}")))
        .collect();
    for chunk in ids.chunks(420) {
        let sent = chunk
            .iter()
            .map(|id| f.send_with("a", Command::Add(1), id.clone()));
        for answer in join_all(sent).await {
            answer.unwrap();
        }
    }
    settle().await;
    let newest = f.store.load_snapshot(&stream("a"), u64::MAX.into()).await;
    let snapshot = newest.unwrap().unwrap();
    assert!(snapshot.version.get() >= 3_500);
    let bytes = snapshot.payload.len();
    assert!(bytes < 3_000, "{bytes} bytes beside a state of 8");
    let restarted = with(f.store.clone(), options).await;
    for id in ids.iter().step_by(300) {
        let again = restarted.send_with("a", Command::Add(1), id.clone()).await;
        assert!(again.unwrap().duplicate);
    }
}

#[tokio::test]
async fn d7_rejections_that_are_remembered_lead_to_snapshots() {
    let mut options = RuntimeOptions::default();
    options.snapshots = SnapshotPolicy::EveryEvents(100);
    let f = with(MemoryStore::new(), options).await;
    f.send("a", Command::Add(1)).await.unwrap();
    for n in 0..250 {
        let refused = f.send_with("a", Command::Add(-9), command_id(&f, &format!("{n}")));
        assert!(refused.await.unwrap_err().rejection().is_some());
    }
    settle().await;
    let newest = f.store.load_snapshot(&stream("a"), u64::MAX.into()).await;
    let snapshot = newest
        .unwrap()
        .expect("rejections cost a recovery time as well");
    assert!(
        snapshot.sequence >= LogSequence::new(200),
        "{}",
        snapshot.sequence
    );
}

#[tokio::test]
async fn d6_a_clock_that_jumps_ahead_once_makes_no_window_refuse_what_it_holds() {
    for (is_saved, knows) in [(true, true), (true, false), (false, true)] {
        let mut options = match knows {
            true => RuntimeOptions::default(),
            false => forgetful(),
        };
        options.snapshots = SnapshotPolicy::OnPassivation;
        let f = with(MemoryStore::new(), options).await;
        let long_ago = command_id(&f, "long ago");
        f.send_with("a", Command::Add(1), long_ago.clone())
            .await
            .unwrap();
        f.clock.advance(WINDOW);
        let ids: Vec<_> = (0..300).map(|n| command_id(&f, &format!("{n}"))).collect();
        let unsent = command_id(&f, "unsent");
        for id in &ids {
            let sent = f.send_with("a", Command::Add(1), id.clone()).await;
            assert!(!sent.unwrap().duplicate);
        }
        let passivate = || async {
            let counters = f.runtime.aggregate::<Counter>().unwrap();
            assert!(counters.passivate(&Tenant::default(), &id("a")).await);
        };
        passivate().await;
        let right = f.clock.now();
        f.clock.set(right.plus(2 * WINDOW));
        // It is recovered, and lets go of all that is too old by this clock.
        f.send("a", Command::Add(1)).await.unwrap();
        if is_saved {
            passivate().await;
            f.send("a", Command::Add(1)).await.unwrap();
        }
        f.clock.set(right);
        let total = f.total("a").await;
        for id in ids.iter().rev().step_by(20) {
            let again = f.send_with("a", Command::Add(1), id.clone()).await;
            assert!(again.unwrap().duplicate);
        }
        for repeated in [false, true] {
            let sent = f.send_with("a", Command::Add(1), unsent.clone()).await;
            assert_eq!(sent.unwrap().duplicate, repeated);
        }
        assert_eq!(f.total("a").await, total + 1);
        let error = f.send_with("a", Command::Add(1), long_ago).await;
        assert!(matches!(
            error.unwrap_err(),
            SendError::Failed(DispatchError::CommandTooOld { .. })
        ));
    }
}

//! Lives of the application with all its sagas: each works for a while, and ends well, dies, or has its disk fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chronicler::domain::StreamId;
use chronicler::prelude::*;
use chronicler::sagas::Ending;
use chronicler::store::MemoryStore;
use chronicler_testkit::{CrashPoint, ManualClock};
use futures::future::{BoxFuture, LocalBoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::app::start;
use super::desk::Desk;
use super::seed;
use crate::chance::Chance;
use crate::history::History;
use crate::turns::turn_until;

const LIVES_MAX: u64 = 4;
const STEPS_MAX: u64 = 40;
/// How often time goes by for something that only has to wait for its next attempt: an hour and a half of it.
const WAITS_MAX: u32 = 100;

/// What came of something that was asked.
pub(crate) enum Heard {
    Answer(String),
    /// An instance has ended.
    End(StreamId, Ending),
}

pub(crate) type UnderWay = FuturesUnordered<BoxFuture<'static, Heard>>;

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: ManualClock,
    pub(crate) desk: Desk,
    pub(crate) history: History,
    /// How much instances were told so far.
    pub(crate) told: u64,
    /// What was said of the ends of instances.
    pub(crate) endings: BTreeMap<StreamId, Ending>,
    /// Instances that went on as another, and those others: what they did is of both.
    pub(crate) forked: BTreeSet<StreamId>,
}

impl World {
    pub(crate) fn new(number: u64) -> Self {
        seed::begin(number);
        let clock = ManualClock::new(Timestamp::from_millis(1_767_312_000_000));
        Self {
            chance: Chance::new(number),
            store: Arc::new(MemoryStore::new()),
            desk: Desk::new(clock.clone()),
            clock,
            history: History::default(),
            told: 0,
            endings: BTreeMap::new(),
            forked: BTreeSet::new(),
        }
    }

    pub(crate) fn run(mut self) -> History {
        let lives = 1 + self.chance.below(LIVES_MAX);
        for _ in 0..lives {
            seed::release(self.chance.one_in(3));
            self.desk.is_well(self.chance.one_in(4));
            self.in_a_runtime(|world| world.live().boxed_local());
            self.history.lives += 1;
            self.store = self.store.faults().survivor();
        }
        seed::release(false);
        self.desk.is_well(true);
        self.in_a_runtime(|world| world.end().boxed_local());
        self.history
    }

    fn in_a_runtime<'a>(&'a mut self, life: impl FnOnce(&'a mut Self) -> LocalBoxFuture<'a, ()>) {
        crate::runtime_of_a_life().block_on(life(self));
    }

    async fn live(&mut self) {
        if self.chance.one_in(2) {
            let write = 1 + self.chance.below(150);
            let durable = self.chance.one_in(2);
            self.store.faults().crash_at(CrashPoint { write, durable });
        }
        let (store, desk) = (Arc::clone(&self.store), self.desk.clone());
        let id_seed = self.chance.next();
        let starting = start(&store, &self.clock, &desk, id_seed);
        let Some(Some(app)) = turn_until(starting.boxed_local()).await else {
            assert!(self.store.faults().is_dead(), "it starts, or is dead");
            return;
        };
        let mut under_way = UnderWay::new();
        for _ in 0..self.chance.below(STEPS_MAX) {
            self.step(&app, &mut under_way).await;
            self.desk.catch_up();
            self.turn(&mut under_way).await;
            if self.store.faults().is_dead() {
                return;
            }
        }
        self.store.faults().fail_reads(None);
        if self.chance.one_in(2) {
            turn_until(app.stop().boxed_local()).await;
        }
    }

    /// Lets everything go on for a while, and hears what comes of what was asked.
    async fn turn(&mut self, under_way: &mut UnderWay) {
        for _ in 0..self.chance.below(30) {
            tokio::task::yield_now().await;
            while let Some(Some(heard)) = under_way.next().now_or_never() {
                self.heard(heard);
            }
        }
    }

    pub(crate) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Answer(answer) => self.history.answers.push(answer),
            Heard::End(stream, ending) => self.note_end(&stream, ending),
        }
    }

    /// An end is an end: whoever asks is told the same, in every life.
    pub(crate) fn note_end(&mut self, stream: &StreamId, ending: Ending) {
        let said = format!("{stream} ended: {ending:?}");
        match self.endings.insert(stream.clone(), ending.clone()) {
            Some(before) => assert_eq!(before, ending, "the end of {stream}"),
            None => self.history.answers.push(said),
        }
    }

    /// Waits for something that ends by itself as time goes by.
    pub(crate) async fn patiently<T>(&self, what: &str, wanted: impl Future<Output = T>) -> T {
        let mut wanted = std::pin::pin!(wanted);
        for wait in waits() {
            if let Some(value) = turn_until(wanted.as_mut()).await {
                return value;
            }
            self.clock.advance(wait);
        }
        panic!("{what} does not end");
    }
}

/// Ever longer waits, up to a minute.
pub(crate) fn waits() -> impl Iterator<Item = Duration> {
    (0..WAITS_MAX).map(|wait| Duration::from_secs(1 << wait.min(6)))
}

/// Something that was asked and that whoever asked does not wait for to the end, if `polls` says after how many looks.
pub(crate) fn asked<T: Send + 'static>(
    asking: impl Future<Output = T> + Send + 'static,
    polls: Option<u64>,
    heard: impl FnOnce(T) -> Heard + Send + 'static,
) -> BoxFuture<'static, Heard> {
    let mut asking = asking.boxed();
    let mut left = polls.unwrap_or(u64::MAX);
    let mut heard = Some(heard);
    let mut asking = Some(move |cx: &mut std::task::Context<'_>| asking.poll_unpin(cx));
    std::future::poll_fn(move |cx| {
        let Some(poll) = &mut asking else {
            return std::task::Poll::Ready(Heard::Answer("gone".to_owned()));
        };
        if let std::task::Poll::Ready(value) = poll(cx)
            && let Some(heard) = heard.take()
        {
            return std::task::Poll::Ready(heard(value));
        }
        left -= 1;
        if left == 0 {
            asking = None;
            return std::task::Poll::Ready(Heard::Answer("gone".to_owned()));
        }
        std::task::Poll::Pending
    })
    .boxed()
}

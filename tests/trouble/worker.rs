//! The process that is in trouble: an application under load, which says what each command was answered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chronicler::prelude::*;
use chronicler::runtime::{Clock, RuntimeOptions, SnapshotPolicy};
use chronicler::sagas::{OpenSaga, OpenStatus};
use chronicler::store::journal::{Durability, JournalOptions};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::asked::{Asked, Chance, Wish, accounts};
use crate::bank::{Account, Balances, MoneyTransfer, Statements, Transfer};
use crate::clock::SetClock;
use crate::readers::{follow, read_slowly};
use crate::words::{Answer, Mouth, Said, Start, Told};

/// Commands under way at a time.
const UNDER_WAY_MAX: usize = 128;
/// Instances alive at a time: fewer than there are accounts that are used rarely.
const LIVE_MAX: usize = 64;
const SNAPSHOT_EVENTS: u64 = 40;
/// How often commands are sent.
const TICK: Duration = Duration::from_millis(5);
/// How long a hasty sender waits.
const HASTY: Duration = Duration::from_millis(20);
/// After how long a timer is late.
const LATE: Duration = Duration::from_secs(10);
/// How often sagas that wait are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Commands that may be sent again.
const RECENT: usize = 256;
/// How long tokio keeps a thread that nobody needs.
const THREAD_KEPT: Duration = Duration::from_millis(200);

/// Is the worker, until it is told to stop or its parent is gone.
pub(crate) fn work(start: Start) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(THREAD_KEPT)
        .enable_all()
        .build()
        .unwrap();
    let (tell, told) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let told = serde_json::from_str(&line.unwrap()).unwrap();
            tell.blocking_send(told).unwrap();
        }
        // Nobody is there any more to say something to.
        std::process::exit(1);
    });
    runtime.block_on(Worker::run(start, told));
}

/// What the tasks of a worker share.
struct Shared {
    app: App,
    clock: SetClock,
    mouth: Mouth,
    seed: u64,
    /// Account to the version that somebody was told of.
    versions: Mutex<HashMap<String, u64>>,
    /// Commands with an id that were answered, and the date of the id.
    recent: Mutex<VecDeque<(u64, u64)>>,
    errors: Mutex<BTreeMap<String, u64>>,
    slow_reads: Arc<AtomicU64>,
}

struct Worker {
    shared: Arc<Shared>,
    start: Start,
    chance: Chance,
    next: u64,
    under_way: JoinSet<()>,
    readers: JoinSet<()>,
    came: watch::Receiver<u64>,
    /// The follower, and whoever looks out for the end of writing.
    _watchers: JoinSet<()>,
}

impl Worker {
    async fn run(start: Start, mut told: mpsc::Receiver<Told>) {
        let mut worker = Self::open(start).await;
        let mut is_loading = false;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let told = tokio::select! {
                told = told.recv() => told.unwrap(),
                _ = ticks.tick(), if is_loading => {
                    worker.offer();
                    continue;
                }
                Some(ended) = worker.under_way.join_next() => {
                    ended.unwrap();
                    continue;
                }
            };
            match told {
                Told::Again { number, date } => worker.send(number, Some(date)),
                Told::Load => {
                    is_loading = true;
                    worker.begin_reading();
                }
                Told::Quiet => {
                    is_loading = false;
                    worker.come_to_rest().await;
                }
                Told::Clock { ahead } => worker.shared.clock.set(ahead),
                Told::Report => worker.report().await,
                Told::Stop => {
                    worker.readers.shutdown().await;
                    worker.shared.app.stop().await;
                    return worker.shared.mouth.say_surely(Said::Stopped).await;
                }
            }
        }
    }

    async fn open(start: Start) -> Self {
        let clock = SetClock::default();
        clock.set(start.ahead);
        let durability = match start.syncs {
            true => Durability::Fsync,
            false => Durability::Os,
        };
        let store = JournalOptions::default()
            .durability(durability)
            .segment_bytes(start.segment_bytes);
        let mut options = RuntimeOptions::default();
        options.live_max = LIVE_MAX;
        options.idle = Duration::from_secs(1);
        options.snapshots = SnapshotPolicy::EveryEvents(SNAPSHOT_EVENTS);
        let app = App::open_with(&start.dir, store)
            .clock(Arc::new(clock.clone()))
            .options(options)
            .aggregate::<Account>()
            .aggregate::<Transfer>()
            .projection(Balances::default())
            .table::<Statements>()
            .saga(MoneyTransfer)
            .start()
            .await
            .unwrap();
        let mouth = Mouth::open();
        let (came_to, came) = watch::channel(0);
        let mut watchers = JoinSet::new();
        watchers.spawn(follow(app.clone(), mouth.clone(), came_to));
        let (watched, told) = (app.clone(), mouth.clone());
        watchers.spawn(async move {
            let reason = watched.read_only().await.to_string();
            told.say(Said::ReadOnly { reason });
        });
        mouth.say(Said::Started);
        let shared = Shared {
            app,
            clock,
            mouth,
            seed: start.seed,
            versions: Mutex::default(),
            recent: Mutex::default(),
            errors: Mutex::default(),
            slow_reads: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
            chance: Chance::new(start.seed ^ start.first),
            next: start.first,
            start,
            under_way: JoinSet::new(),
            readers: JoinSet::new(),
            came,
            _watchers: watchers,
        }
    }

    fn begin_reading(&mut self) {
        for _ in 0..self.start.slow_readers {
            let shared = &self.shared;
            let (app, mouth) = (shared.app.clone(), shared.mouth.clone());
            let reads = Arc::clone(&shared.slow_reads);
            self.readers.spawn(read_slowly(app, mouth, reads));
        }
    }

    /// Sends what is to be sent in a tick: new commands, repeated ones, and looks at states.
    fn offer(&mut self) {
        let each = TICK.as_millis() as u64 * self.start.rate;
        let count = each / 1_000 + u64::from(self.chance.below(1_000) < each % 1_000);
        for _ in 0..count {
            if self.under_way.len() >= UNDER_WAY_MAX {
                return;
            }
            match self.chance.below(16) {
                0 => {
                    let nth = self.chance.below(RECENT as u64) as usize;
                    let repeated = self.shared.recent.lock().get(nth).copied();
                    if let Some((number, date)) = repeated {
                        self.send(number, Some(date));
                    }
                }
                1 => {
                    let all = accounts().count() as u64;
                    let nth = self.chance.below(all) as usize;
                    let account = accounts().nth(nth).unwrap();
                    self.under_way.spawn(Arc::clone(&self.shared).look(account));
                }
                _ => {
                    let number = self.next;
                    self.next += 1;
                    self.send(number, None);
                }
            }
        }
    }

    /// Sends a command; again, if its id has a date.
    fn send(&mut self, number: u64, date: Option<u64>) {
        let asked = Asked::of(self.start.seed, number);
        let date = date.or_else(|| {
            let date = self.shared.clock.now().as_millis();
            let said = Said::Asked { number, date };
            asked.has_id.then(|| self.shared.mouth.say(said))?;
            Some(date)
        });
        self.under_way
            .spawn(Arc::clone(&self.shared).send(number, asked, date));
    }

    /// Waits until nothing is under way any more, whatever it is.
    async fn come_to_rest(&mut self) {
        let (app, mouth) = (&self.shared.app, &self.shared.mouth);
        let awaits = |what: &str| {
            mouth.say(Said::Awaits {
                what: what.to_owned(),
            })
        };
        awaits("answers");
        while let Some(ended) = self.under_way.join_next().await {
            ended.unwrap();
        }
        awaits("slow readers");
        self.readers.shutdown().await;
        awaits("sagas");
        app.settled().await;
        // Those that wait for a timer have settled, and have not ended.
        let began = Instant::now();
        loop {
            match app.sagas().list().await {
                Ok(open) if open.is_empty() => break,
                Ok(open) if began.elapsed() > LATE && open.iter().all(rests) => {
                    let sagas = open.iter().map(|saga| saga.id().to_owned()).collect();
                    mouth.say(Said::Late { sagas });
                    break;
                }
                open => awaits(&format!("{open:?}")),
            }
            sleep(LOOK).await;
            app.settled().await;
        }
        let head = app.head().position;
        awaits("the view in memory");
        while app.view::<Balances>().at_least(head).await.is_err() {}
        awaits("the view in the store");
        let statements = app.table::<Statements>().unwrap();
        while statements.at_least(head).await.is_err() {}
        awaits("the durable subscription");
        let came = self.came.wait_for(|came| *came >= head.get()).await;
        drop(came.unwrap());
        let errors = std::mem::take(&mut *self.shared.errors.lock());
        let errors = errors.into_iter().collect();
        let slow_reads = self.shared.slow_reads.swap(0, Ordering::Relaxed);
        self.shared.mouth.say(Said::Counted { errors, slow_reads });
        self.shared.mouth.say(Said::Quiet);
    }

    /// Says what there is to be seen. Nothing may be under way.
    async fn report(&self) {
        let Shared { app, mouth, .. } = &*self.shared;
        for id in accounts() {
            let state = match app.state::<Account>(&id).await {
                Ok(state) => state,
                Err(error) => {
                    mouth.fault(format!("the state of {id}: {error}"));
                    continue;
                }
            };
            let balance = app.view::<Balances>().read().unwrap().0.get(&id).copied();
            let statement = app.table::<Statements>().unwrap().get(&id).await.unwrap();
            mouth.say(Said::Account {
                cents: state.state.cents,
                version: state.version.get(),
                balance,
                statement,
                id,
            });
        }
        let quarantined = app.runtime().quarantined().into_iter();
        let mut parked = Vec::new();
        for projection in [Balances::NAME, Statements::NAME] {
            let events = app.projections().parked(projection).await.unwrap();
            parked.extend(events.iter().map(|event| format!("{event:?}")));
        }
        let open = app.sagas().list().await.unwrap().into_iter();
        mouth.say(Said::Left {
            quarantined: quarantined.map(|one| format!("{one:?}")).collect(),
            parked,
            open: open.map(|saga| format!("{saga:?}")).collect(),
        });
    }
}

/// Whether a saga waits for its timer, and for nothing else.
fn rests(saga: &OpenSaga) -> bool {
    saga.status == OpenStatus::Waiting && saga.on == ["rest"]
}

impl Shared {
    async fn send(self: Arc<Self>, number: u64, asked: Asked, date: Option<u64>) {
        let answer = match asked.wish {
            Wish::Transfer(amount) => {
                let command = self.app.command::<Transfer>(format!("t{number}"), amount);
                self.answer(command, number, asked.is_hasty, date).await.0
            }
            Wish::OfAccount(account, command) => {
                let command = self.app.command::<Account>(&account, command);
                let (answer, version) = self.answer(command, number, asked.is_hasty, date).await;
                let mut versions = self.versions.lock();
                let known = versions.entry(account).or_default();
                *known = version.max(*known);
                answer
            }
        };
        if let (Some(date), Answer::Done { .. } | Answer::Rejected) = (date, answer) {
            let mut recent = self.recent.lock();
            recent.push_front((number, date));
            recent.truncate(RECENT);
        }
        self.mouth.say(Said::Answered { number, answer });
    }

    /// Sends a command; what it is answered, and the version it tells of.
    async fn answer<A: Aggregate>(
        &self,
        mut command: chronicler::Command<A>,
        number: u64,
        is_hasty: bool,
        date: Option<u64>,
    ) -> (Answer, u64) {
        if let Some(date) = date {
            let name = format!("{} {number}", self.seed);
            command = command.command_id(CommandId::derived(Timestamp::from_millis(date), &name));
        }
        if is_hasty {
            command = command.within(HASTY);
        }
        match command.send().await {
            Ok(receipt) => {
                let (position, version) = (receipt.position.get(), receipt.version.get());
                (Answer::Done { position }, version)
            }
            Err(SendError::Rejected(_)) => (Answer::Rejected, 0),
            Err(SendError::Failed(error)) => {
                self.count(&error);
                let answer = match error.outcome() {
                    Outcome::Applied => Answer::Applied,
                    Outcome::Unknown => Answer::Unknown,
                    Outcome::NotApplied => Answer::Refused,
                };
                (answer, 0)
            }
        }
    }

    /// Looks at a state: whatever somebody was told of is in it.
    async fn look(self: Arc<Self>, account: String) {
        let known = self.versions.lock().get(&account).copied();
        match self.app.state::<Account>(&account).await {
            Ok(state) => {
                let (known, seen) = (known.unwrap_or_default(), state.version.get());
                if seen < known {
                    let what = format!("{account} is at version {seen}, and was at {known}");
                    self.mouth.fault(what);
                }
            }
            Err(error) => self.count(&error),
        }
    }

    fn count(&self, error: &DispatchError) {
        let words = format!("{error:?}");
        let kind = words.split(|c: char| !c.is_alphanumeric()).next();
        let kind = format!("{} ({:?})", kind.unwrap_or_default(), error.outcome());
        *self.errors.lock().entry(kind).or_default() += 1;
    }
}

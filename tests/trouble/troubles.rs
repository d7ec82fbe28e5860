//! The kinds of trouble, and how each is made and ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::asked::Chance;
use crate::disk::Disk;
use crate::process::Process;
use crate::words::Told;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// The process gets no more file descriptors.
    NoDescriptors,
    /// The disk takes no writes and no syncs, and says nothing.
    DiskStalls,
    /// Nothing more fits on the disk.
    DiskFills,
    /// The clock is set forwards, and stays so.
    ClockForwards,
    /// The clock is set backwards, and forwards again.
    ClockBackwards,
    /// SIGSTOP, and SIGCONT.
    Stopped,
    /// All threads share one processor with many that never rest.
    Starved,
}

/// All of them.
pub(crate) const ALL: [Trouble; 7] = [
    Trouble::NoDescriptors,
    Trouble::DiskStalls,
    Trouble::DiskFills,
    Trouble::ClockForwards,
    Trouble::ClockBackwards,
    Trouble::Stopped,
    Trouble::Starved,
];

impl Trouble {
    /// A kind by its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|trouble| format!("{trouble:?}") == name)
    }
}

/// The farthest that the clock is set at a time.
const CLOCK_MAX: Duration = Duration::from_secs(2 * 3_600);
/// Descriptors that are left: what is open stays open, and nothing is opened any more.
const DESCRIPTORS_LEFT: u64 = 3;
/// Threads that never rest.
const SPINNERS: usize = 8;

/// Makes trouble, and ends it. What is not ended is ended with it.
pub(crate) struct Troublemaker<'a> {
    disk: Option<&'a Disk>,
    /// How far the clock was ever ahead, in milliseconds: it is so again at the end, so that everything gets due.
    ahead: i64,
    processors: CpuSet,
    spinners: Vec<JoinHandle<()>>,
    is_spinning: Arc<AtomicBool>,
    under_way: Vec<Trouble>,
}

impl<'a> Troublemaker<'a> {
    pub(crate) fn new(disk: Option<&'a Disk>) -> Self {
        Self {
            disk,
            ahead: 0,
            processors: sched_getaffinity(None).unwrap(),
            spinners: Vec::new(),
            is_spinning: Arc::default(),
            under_way: Vec::new(),
        }
    }

    /// Whether it can be made here.
    pub(crate) fn can(&self, trouble: Trouble) -> bool {
        let needs_disk = matches!(trouble, Trouble::DiskStalls | Trouble::DiskFills);
        self.disk.is_some() || !needs_disk
    }

    pub(crate) fn ahead(&self) -> i64 {
        self.ahead
    }

    pub(crate) fn begin(&mut self, trouble: Trouble, process: &mut Process, chance: &mut Chance) {
        let by = 1_000 + chance.below(CLOCK_MAX.as_millis() as u64) as i64;
        match (trouble, self.disk) {
            (Trouble::NoDescriptors, _) => limit_descriptors(process, Some(DESCRIPTORS_LEFT)),
            (Trouble::DiskStalls, Some(disk)) => disk.stall(),
            (Trouble::DiskFills, Some(disk)) => disk.fill(),
            (Trouble::DiskStalls | Trouble::DiskFills, None) => {}
            (Trouble::ClockForwards, _) => {
                self.ahead += by;
                process.tell(&Told::Clock { ahead: self.ahead });
            }
            (Trouble::ClockBackwards, _) => {
                let ahead = self.ahead - by;
                process.tell(&Told::Clock { ahead });
            }
            (Trouble::Stopped, _) => kill_process(process.pid(), Signal::STOP).unwrap(),
            (Trouble::Starved, _) => self.starve(process),
        }
        self.under_way.push(trouble);
    }

    pub(crate) fn end(&mut self, trouble: Trouble, process: &mut Process) {
        self.under_way.retain(|under_way| *under_way != trouble);
        match (trouble, self.disk) {
            (Trouble::NoDescriptors, _) => {
                limit_descriptors(process, getrlimit(Resource::Nofile).current);
            }
            (Trouble::DiskStalls, Some(disk)) => disk.go_on(),
            (Trouble::DiskFills, Some(disk)) => disk.make_room(),
            (Trouble::DiskStalls | Trouble::DiskFills, None) => {}
            (Trouble::ClockForwards | Trouble::ClockBackwards, _) => {
                process.tell(&Told::Clock { ahead: self.ahead });
            }
            (Trouble::Stopped, _) => kill_process(process.pid(), Signal::CONT).unwrap(),
            (Trouble::Starved, _) => self.feed(process),
        }
    }

    fn starve(&mut self, process: &Process) {
        let mut one = CpuSet::new();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| self.processors.is_set(*cpu));
        one.set(first.unwrap());
        self.is_spinning.store(true, Ordering::SeqCst);
        for _ in 0..SPINNERS {
            let is_spinning = Arc::clone(&self.is_spinning);
            self.spinners.push(thread::spawn(move || {
                sched_setaffinity(None, &one).unwrap();
                while is_spinning.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        set_processors(process, &one);
    }

    fn feed(&mut self, process: &Process) {
        self.rest();
        // Twice: a thread may have begun while the first were set.
        set_processors(process, &self.processors);
        set_processors(process, &self.processors);
    }

    fn rest(&mut self) {
        self.is_spinning.store(false, Ordering::SeqCst);
        for spinner in self.spinners.drain(..) {
            spinner.join().unwrap();
        }
    }
}

impl Drop for Troublemaker<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}

fn limit_descriptors(process: &Process, current: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current, maximum };
    prlimit(Some(process.pid()), Resource::Nofile, limit).unwrap();
}

fn set_processors(process: &Process, processors: &CpuSet) {
    for thread in process.threads() {
        // It may have ended by now.
        let _has_ended = sched_setaffinity(Some(thread), processors);
    }
}

//! The service outside: it answers, refuses, is silent, is late, does not know; and its books say what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::runtime::Clock;
use chronicler::store::codec::{PayloadCodec, decode};
use chronicler_testkit::ManualClock;
use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::seed;
use super::thing::Act;

/// What the service is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Asked {
    Do(Act),
    /// To take back what was done.
    Undo(Act),
    /// To take back what may have been done, and not to do it any more.
    Unless(Act),
    /// Whether it was done; if not, it never will be.
    Look(Act),
}

impl Asked {
    fn act(&self) -> &Act {
        match self {
            Self::Do(act) | Self::Undo(act) | Self::Unless(act) | Self::Look(act) => act,
        }
    }
}

/// What the service knows of one act.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Under which keys it was to be done.
    pub(crate) keys: BTreeSet<Uuid>,
    pub(crate) done: u32,
    pub(crate) undone: u32,
    /// It is not to be done any more.
    pub(crate) is_barred: bool,
}

#[derive(Debug, Default)]
struct Books {
    /// What came under each key, and how often.
    keys: BTreeMap<Uuid, (Vec<u8>, u64)>,
    acts: BTreeMap<Act, Entry>,
    /// What is done late, and when, without an answer.
    late: Vec<(Timestamp, Act)>,
    is_well: bool,
    /// What nobody may ask of it.
    faults: Vec<String>,
}

/// The service. Clones are the same one; it outlives every life of the application.
#[derive(Clone)]
pub(crate) struct Desk {
    books: Arc<Mutex<Books>>,
    clock: ManualClock,
}

impl Books {
    fn do_it(&mut self, act: &Act) -> CallResult {
        let entry = self.acts.entry(act.clone()).or_default();
        if entry.done == 0 && entry.is_barred {
            return CallResult::rejected(&"it is too late".to_owned());
        }
        entry.done = 1;
        CallResult::done(&u64::from(entry.done))
    }

    fn undo(&mut self, asked: &Asked) -> CallResult {
        let entry = self.acts.entry(asked.act().clone()).or_default();
        if matches!(asked, Asked::Undo(_)) && entry.done == 0 {
            self.faults.push(format!("{asked:?}, which was not done"));
        }
        entry.is_barred = true;
        entry.undone = entry.done;
        CallResult::done(&0_u64)
    }

    fn look(&mut self, act: &Act) -> CallResult {
        let entry = self.acts.entry(act.clone()).or_default();
        if entry.done > 0 {
            return CallResult::done(&1_u64);
        }
        entry.is_barred = true;
        CallResult::rejected(&"it was not done".to_owned())
    }

    /// What nobody has to wait for.
    fn carry_out(&mut self, asked: &Asked) -> CallResult {
        match asked {
            Asked::Do(act) => self.do_it(act),
            Asked::Undo(_) | Asked::Unless(_) => self.undo(asked),
            Asked::Look(act) => self.look(act),
        }
    }
}

impl Desk {
    pub(crate) fn new(clock: ManualClock) -> Self {
        let books = Arc::default();
        Self { books, clock }
    }

    /// From here on it answers everything at once, or no more.
    pub(crate) fn is_well(&self, is_well: bool) {
        self.books.lock().is_well = is_well;
    }

    /// Does what is done late and whose time has come.
    pub(crate) fn catch_up(&self) {
        let now = self.clock.now();
        let mut books = self.books.lock();
        let (due, later) = std::mem::take(&mut books.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        books.late = later;
        let due: Vec<(Timestamp, Act)> = due;
        for (_, act) in due {
            books.do_it(&act);
        }
    }

    /// Whether it was done. If not, it is not done any more: a person has said so on the phone.
    pub(crate) fn asked_by_a_person(&self, act: &Act) -> bool {
        let mut books = self.books.lock();
        let entry = books.acts.entry(act.clone()).or_default();
        entry.is_barred |= entry.done == 0;
        entry.done > 0
    }

    /// Whether it was done, and whether that was taken back.
    pub(crate) fn ledger(&self) -> BTreeMap<Act, (u32, u32)> {
        let books = self.books.lock();
        let acts = books.acts.iter();
        acts.map(|(act, entry)| (act.clone(), (entry.done, entry.undone)))
            .collect()
    }

    /// Under how many keys each act was asked for.
    pub(crate) fn keys_of(&self) -> BTreeMap<Act, usize> {
        let books = self.books.lock();
        let acts = books.acts.iter();
        acts.map(|(act, entry)| (act.clone(), entry.keys.len()))
            .collect()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.books.lock().faults.clone()
    }
}

impl ExternalService for Desk {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let asked: Asked = decode(PayloadCodec::default().id(), &request).unwrap();
        let mut books = self.books.lock();
        let (before, attempts) = books
            .keys
            .entry(key)
            .or_insert_with(|| (request.clone(), 0));
        *attempts += 1;
        let attempt = *attempts;
        if *before != request {
            let fault = format!("{asked:?} came under a key that was another's");
            books.faults.push(fault);
        }
        let act = asked.act().clone();
        if matches!(asked, Asked::Do(_)) {
            let entry = books.acts.entry(act.clone()).or_default();
            entry.keys.insert(key);
        }
        let is_refused = matches!(asked, Asked::Do(_))
            && seed::chance(("refused", &act)).one_in(9)
            && books.acts.get(&act).is_none_or(|entry| entry.done == 0);
        if is_refused {
            return async { CallResult::rejected(&"it is not done".to_owned()) }.boxed();
        }
        if books.is_well {
            let result = books.carry_out(&asked);
            return async { result }.boxed();
        }
        let mut chance = seed::chance(("answer", key, attempt));
        let lost = || async { CallResult::Unknown("the answer was lost".to_owned()) }.boxed();
        match chance.below(16) {
            0 => {
                books.carry_out(&asked);
                lost()
            }
            1 => lost(),
            2 => async { CallResult::Unavailable("come back later".to_owned()) }.boxed(),
            3 => {
                books.carry_out(&asked);
                pending().boxed()
            }
            4 => pending().boxed(),
            5 => {
                // The answer comes late, and what is done is done then.
                let wait = self.clock.sleep(Duration::from_secs(chance.below(60)));
                let desk = self.clone();
                async move {
                    wait.await;
                    desk.books.lock().carry_out(&asked)
                }
                .boxed()
            }
            6 => {
                // Nobody ever hears that it is done.
                if matches!(asked, Asked::Do(_)) {
                    let wait = Duration::from_secs(chance.below(600));
                    books.late.push((self.clock.now().plus(wait), act));
                }
                lost()
            }
            7 if !matches!(asked, Asked::Do(_) | Asked::Look(_)) => {
                async { CallResult::rejected(&"not now".to_owned()) }.boxed()
            }
            8 => std::panic::resume_unwind(Box::new("the client is broken")),
            _ => {
                let result = books.carry_out(&asked);
                async { result }.boxed()
            }
        }
    }
}

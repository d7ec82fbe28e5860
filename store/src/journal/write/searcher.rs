//! The searcher: a thread that looks far back for the original of an append, so that the writer and all who wait for it need
//! not.
//!
//! An append that it gets can never be accepted: an earlier version than the stream's was named. So nothing of it will be
//! written, and the log goes on while it is looked for. The append is the repetition of what lies there, or is refused.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::answer::Barrier;
use super::past::{PastCommits, PastFiles};
use super::queue::Item;
use super::search::{Reply, Search, Searched, Task};
use crate::acceptance::{
    LOOK_BACK_COMMITS_MAX, Reach, RecentCommits, Verdict, judge, payload_bytes,
};
use crate::error::AppendError;
use crate::journal::shared::Shared;
use crate::threads;

/// How many appends may be searched for at a time; one more is refused as overload. Each takes about 0.1 s at worst, and a
/// close waits for all of them.
const SEARCHES_MAX: usize = 128;
/// How much payload they may hold in memory. One is taken when no other is there, however long it is.
const SEARCH_BYTES_MAX: usize = 16 << 20;

/// Hands tasks to a thread that is there as long as there are any.
#[derive(Default)]
pub(crate) struct Searcher {
    tasks: Arc<Mutex<Tasks>>,
    thread: Option<JoinHandle<()>>,
    /// Tasks that were handed over, and did not come back yet.
    under_way: usize,
    bytes: usize,
}

#[derive(Default)]
struct Tasks {
    queue: VecDeque<Task>,
    /// Whether a thread is there, and will look at the queue again.
    has_thread: bool,
}

impl Searcher {
    /// Whether a task was handed over that did not come back yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// Has an original searched for; an answer comes back through the writer's queue, unless it is given here.
    pub(crate) fn search(&mut self, search: Box<Search>, shared: &Arc<Shared>) {
        let bytes = payload_bytes(&search.append);
        let too_long = self.is_busy() && self.bytes + bytes > SEARCH_BYTES_MAX;
        if self.under_way >= SEARCHES_MAX || too_long {
            let (queued, bytes) = (self.under_way, self.bytes);
            return search
                .done
                .give(Err(AppendError::Overloaded { queued, bytes }));
        }
        self.bytes += bytes;
        self.hand_over(Task::Search(search), shared);
    }

    /// Has a barrier wait for everything that was handed over before it.
    pub(crate) fn pass(&mut self, barrier: Barrier, shared: &Arc<Shared>) {
        self.hand_over(Task::Barrier(barrier), shared);
    }

    /// A task has come back.
    pub(crate) fn answer(&mut self, searched: Searched) {
        self.under_way -= 1;
        self.bytes -= searched.bytes;
        match searched.reply {
            Reply::Append(reply) => {
                let (result, done) = *reply;
                done.give(result);
            }
            Reply::Barrier(barrier) => drop(barrier),
        }
    }

    fn hand_over(&mut self, task: Task, shared: &Arc<Shared>) {
        self.under_way += 1;
        let mut tasks = self.tasks.lock();
        tasks.queue.push_back(task);
        if std::mem::replace(&mut tasks.has_thread, true) {
            return;
        }
        drop(tasks);
        // The one before has found nothing more to do, and is on its way out.
        self.join();
        let (tasks, theirs) = (self.tasks.clone(), shared.clone());
        match threads::start("chronicler-search", move || work(&tasks, &theirs)) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread to search with; the writer does it");
                work(&self.tasks, shared);
            }
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the searcher of the log ended in a panic");
        }
    }
}

impl Drop for Searcher {
    fn drop(&mut self) {
        self.join();
    }
}

fn work(tasks: &Mutex<Tasks>, shared: &Arc<Shared>) {
    let files = PastFiles::default();
    loop {
        let task = {
            let mut tasks = tasks.lock();
            let Some(task) = tasks.queue.pop_front() else {
                tasks.has_thread = false;
                return;
            };
            task
        };
        let searched = match task {
            Task::Search(search) => searched(*search, shared, &files),
            Task::Barrier(barrier) => Searched {
                bytes: 0,
                reply: Reply::Barrier(barrier),
            },
        };
        shared.queue.push_searched(Item::Searched(searched));
    }
}

fn searched(search: Search, shared: &Arc<Shared>, files: &PastFiles) -> Searched {
    let past = PastCommits {
        shared,
        files,
        staged: &[],
        staged_at: u64::MAX,
    };
    let bytes = payload_bytes(&search.append);
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let mut recent = RecentCommits::default();
        let reach = Reach::commits(LOOK_BACK_COMMITS_MAX);
        judge(&search.append, &search.heads, &past, &mut recent, reach)
    }));
    let result = match judged {
        Ok(Ok(Verdict::Repetition(original))) => Ok(original),
        Ok(Ok(Verdict::New | Verdict::FurtherBack(_))) => Err(search.refusal),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(AppendError::Lost),
    };
    Searched {
        bytes,
        reply: Reply::Append(Box::new((result, search.done))),
    }
}

//! Which ids were carried out, for those whose outcomes are not kept whole: runs of them, in the order of the log.

use std::sync::Arc;

use chronicler_domain::{LogSequence, Timestamp};

use super::identity::Identity;
use super::rules::Rules;
use super::run::{Entry, OpenRun, Places, Run, Span, Summary};

/// The runs of one instance, without gaps: an outcome that is kept nowhere else lies in one of them, unless it has left.
#[derive(Debug)]
pub(crate) struct Index {
    rules: Arc<Rules>,
    /// Oldest first.
    runs: Vec<Run>,
    open: OpenRun,
    /// Callers' ids made up to here may have left.
    forgotten_through: Timestamp,
    /// Those that have left lie in commits up to here.
    left_through: LogSequence,
    /// Effects in commits up to here may have left.
    effects_left_through: LogSequence,
}

impl Index {
    pub(crate) fn new(rules: &Arc<Rules>) -> Self {
        Self {
            rules: Arc::clone(rules),
            runs: Vec::new(),
            open: OpenRun::new(),
            forgotten_through: Timestamp::EPOCH,
            left_through: LogSequence::ZERO,
            effects_left_through: LogSequence::ZERO,
        }
    }

    /// The same, from what a snapshot kept of it that was taken after the commit `through`.
    pub(crate) fn restore(
        rules: &Arc<Rules>,
        summaries: Vec<Summary>,
        through: LogSequence,
        forgotten_through: Timestamp,
        effects_left_through: LogSequence,
    ) -> Self {
        let run = |summary| Run {
            summary,
            places: None,
        };
        let mut index = Self::new(rules);
        index.runs = summaries.into_iter().map(run).collect();
        index.forgotten_through = forgotten_through;
        if forgotten_through > Timestamp::EPOCH {
            // A snapshot does not say: not after its own end.
            index.left_through = through;
        }
        index.effects_left_through = effects_left_through;
        index.merge_beyond_limit(0..0);
        index
    }

    pub(crate) fn forgotten_through(&self) -> Timestamp {
        self.forgotten_through
    }

    pub(crate) fn effects_left_through(&self) -> LogSequence {
        self.effects_left_through
    }

    /// The last commit that it knows of.
    pub(crate) fn through(&self) -> LogSequence {
        let closed = self.runs.last().map(|run| run.summary.last);
        let known = closed.unwrap_or_default().max(self.open.summary.last);
        known.max(self.left_through).max(self.effects_left_through)
    }

    /// What is kept of it in a snapshot, the run that grows last.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let closed = self.runs.iter().map(|run| run.summary);
        let open = Some(self.open.summary).filter(|open| open.count > 0);
        closed.chain(open).collect()
    }

    /// Adds an outcome that lies after all others.
    pub(crate) fn push(&mut self, entry: &Entry, now: Timestamp) {
        if !self.open.push(entry) {
            self.close(now);
            self.open.push(entry);
        }
        if self.open.len() >= self.rules.run_ids {
            self.close(now);
        }
    }

    /// Where the outcome of an id can lie in commits after `searched`; nowhere if nothing is given.
    pub(crate) fn find(
        &self,
        fingerprint: u32,
        identity: Identity,
        searched: LogSequence,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let (after, left_through) = match identity {
            // Within the window nothing has left, unless the clock was set back since.
            Identity::Caller { issued_at } if issued_at <= self.forgotten_through => {
                (searched, self.left_through)
            }
            Identity::Caller { .. } => (searched, LogSequence::ZERO),
            Identity::Effect { decided_at } => {
                (decided_at.max(searched), self.effects_left_through)
            }
        };
        if left_through > after {
            spans.push(Span {
                first: after.next(),
                last: left_through,
            });
        }
        let asked = |summary: &Summary| {
            summary.count > 0 && summary.last > after && summary.can_hold(identity)
        };
        let one = |summary: &Summary, offset: u32| {
            let at = LogSequence::new(summary.first.get() + u64::from(offset));
            (at > after).then_some(Span {
                first: at,
                last: at,
            })
        };
        for run in self.runs.iter().filter(|run| asked(&run.summary)) {
            match &run.places {
                Some(places) => {
                    let found = places.find(fingerprint);
                    spans.extend(found.filter_map(|offset| one(&run.summary, offset)));
                }
                None => spans.push(Span {
                    first: run.summary.first.max(after.next()),
                    last: run.summary.last,
                }),
            }
        }
        if asked(&self.open.summary) {
            let found = self.open.find(fingerprint);
            spans.extend(found.filter_map(|offset| one(&self.open.summary, offset)));
        }
        spans
    }

    /// Takes what was read of a run whose places were not known.
    pub(crate) fn learn(&mut self, span: Span, learned: Vec<Run>) {
        let unknown = |run: &Run| run.places.is_none() && run.span() == span;
        let Some(at) = self.runs.iter().position(unknown) else {
            return;
        };
        let bytes = learned.iter().map(Run::bytes).sum();
        // Older places make room for these: a place that was just looked up is looked up again sooner than an old one.
        if !self.make_room(bytes) {
            return;
        }
        let count = learned.len();
        self.runs.splice(at..=at, learned);
        self.merge_beyond_limit(at..at + count);
    }

    /// Closes the run that grows, and lets go of what need not be remembered any more.
    fn close(&mut self, now: Timestamp) {
        let mut run = self.open.close();
        if run.summary.count == 0 {
            return;
        }
        if !self.make_room(run.bytes()) {
            run.places = None;
        }
        self.runs.push(run);
        while self.merge_last() {}
        self.expire(now);
        self.merge_beyond_limit(0..0);
    }

    /// Lets go of the runs whose ids are all too old to be taken.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let oldest = self.rules.oldest(now);
        let (forgotten, left) = (&mut self.forgotten_through, &mut self.left_through);
        let effects_left = &mut self.effects_left_through;
        let rules = &self.rules;
        self.runs.retain(|run| {
            if run.summary.leaves > oldest {
                return true;
            }
            rules.give_back(run.bytes());
            if let Some(made_until) = run.summary.made_until() {
                *forgotten = (*forgotten).max(made_until);
                *left = (*left).max(run.summary.last);
            }
            if run.summary.effects {
                *effects_left = (*effects_left).max(run.summary.last);
            }
            false
        });
    }

    /// Takes so many bytes of what all instances share, if need be for its own oldest places.
    fn make_room(&mut self, bytes: usize) -> bool {
        while !self.rules.take(bytes) {
            let Some(oldest) = self.runs.iter_mut().find(|run| run.places.is_some()) else {
                return false;
            };
            self.rules.give_back(oldest.bytes());
            oldest.places = None;
        }
        true
    }

    /// Merges the last runs if there are enough of one length.
    fn merge_last(&mut self) -> bool {
        let rules = Arc::clone(&self.rules);
        let many = rules.runs_merged.max(2);
        let Some(begin) = self.runs.len().checked_sub(many) else {
            return false;
        };
        let last = self.runs.get(begin..).unwrap_or_default();
        let count: u64 = last.iter().map(|run| run.summary.count).sum();
        let shortest = last.iter().map(|run| run.summary.count).min().unwrap_or(0);
        let longest = last.iter().map(|run| run.summary.count).max().unwrap_or(0);
        let of_one_length = longest < shortest.saturating_mul(many as u64);
        let known = last.iter().all(|run| run.places.is_some());
        let reach = last.last().zip(last.first());
        let near = reach.is_some_and(|(last, first)| {
            last.summary.last.get() - first.summary.first.get() <= u64::from(u32::MAX)
        });
        if count > rules.run_ids_max || !of_one_length || !known || !near {
            return false;
        }
        let merged = merged(self.runs.drain(begin..).collect());
        self.runs.push(merged);
        true
    }

    /// Keeps to the number of runs. `spared` are merged last.
    fn merge_beyond_limit(&mut self, spared: std::ops::Range<usize>) {
        let mut spared = spared;
        while self.runs.len() > self.rules.runs_max.max(2) {
            let pairs = self.runs.windows(2).enumerate();
            let cost = |(at, pair): (usize, &[Run])| {
                let is_spared = spared.contains(&at) || spared.contains(&(at + 1));
                let known = pair.iter().filter(|run| run.places.is_some()).count();
                let count: u64 = pair.iter().map(|run| run.summary.count).sum();
                // Of those that are known, the oldest are asked for least.
                let rank = if known > 0 { at as u64 } else { count };
                ((is_spared, known, rank), at)
            };
            let Some((_, at)) = pairs.map(cost).min() else {
                return;
            };
            let pair: Vec<Run> = self.runs.drain(at..=at + 1).collect();
            let mut summary = Summary::EMPTY;
            for run in &pair {
                self.rules.give_back(run.bytes());
                summary.join(&run.summary);
            }
            let places = None;
            self.runs.insert(at, Run { summary, places });
            let moved = |place: usize| if place > at { place - 1 } else { place };
            spared = moved(spared.start)..moved(spared.end);
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.rules.give_back(self.runs.iter().map(Run::bytes).sum());
    }
}

/// One run of several that lie one after the other, all known.
fn merged(runs: Vec<Run>) -> Run {
    let mut summary = Summary::EMPTY;
    let mut pairs = Vec::new();
    for run in &runs {
        summary.join(&run.summary);
        let behind = run.summary.first.get() - summary.first.get();
        let behind = u32::try_from(behind).unwrap_or(u32::MAX);
        let moved =
            |(fingerprint, offset): (u32, u32)| (fingerprint, offset.saturating_add(behind));
        pairs.extend(run.places.iter().flat_map(Places::pairs).map(moved));
    }
    Run {
        summary,
        places: Some(Places::of(pairs)),
    }
}

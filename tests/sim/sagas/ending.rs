//! The last life: the trouble is over, an operator sees to whatever waits for a person, and everything comes to an end.

use std::collections::BTreeMap;

use chronicler::App;
use chronicler::domain::StreamId;
use chronicler::prelude::*;
use chronicler::runtime::{Clock, Selection};
use chronicler::sagas::{
    Answer, EffectState, EffectView, OpenSaga, OpenStatus, Request, SagaVerb, UndoState,
};
use futures::FutureExt;

use super::app::{ended, start, stream};
use super::checks::Log;
use super::journal::act_of;
use super::life::{World, waits};
use super::thing::{THINGS, Thing, ThingCommand};
use super::trouble::{ANN, release};
use crate::turns::turn_until;

/// Rounds of an operator within which everything waits or has ended.
const ROUNDS: usize = 40;
/// Lines of its history that are told of an instance that hangs.
const LINES_TOLD: usize = 30;

impl World {
    pub(crate) async fn end(&mut self) {
        let id_seed = self.chance.next();
        let app = start(&self.store, &self.clock, &self.desk, id_seed).await;
        let app = app.unwrap();
        for thing in 0..THINGS {
            let thing = AggregateId::new(format!("x{thing}")).unwrap();
            // One that is in quarantine is released first.
            for quarantined in app.runtime().quarantined() {
                let released = release(&app, &quarantined.stream);
                self.patiently("a release", released).await.unwrap();
            }
            let unbalked = app.send::<Thing>(thing, ThingCommand::Balk(false));
            self.patiently("a command", unbalked).await.unwrap();
        }
        let mut tries = BTreeMap::new();
        self.until_all_wait(&app, &mut tries).await;
        for saga in self.open(&app).await {
            self.operate_on(&app, &saga.stream, SagaVerb::Migrate).await;
        }
        self.until_all_wait(&app, &mut tries).await;
        let log = Log::read(&self.store).await;
        log.check_what_waits(&self.open(&app).await, &self.forked);
        self.end_all(&app, &mut tries).await;
        assert_eq!(self.open(&app).await, [], "everything has ended");
        let log = Log::read(&self.store).await;
        for (stream, ending) in log.endings() {
            let said = ended(&app, &stream);
            let said = self.patiently("an end that has come", said).await;
            assert_eq!(said.unwrap(), ending, "the end of {stream}");
            self.note_end(&stream, ending);
        }
        for stream in self.endings.keys() {
            assert!(log.endings().contains_key(stream), "{stream} had ended");
        }
        log.check(&self.desk, &self.forked);
        log.check_replays(&self.store).await;
        self.history.commits = log.commits;
    }

    /// The open instances; nothing of what they do is under way.
    async fn open(&self, app: &App) -> Vec<OpenSaga> {
        for wait in waits() {
            if turn_until(app.settled().boxed_local()).await.is_some() {
                let open = app.sagas().list();
                return self.patiently("a list", open).await.unwrap();
            }
            self.clock.advance(wait);
            self.desk.catch_up();
        }
        let open = self.patiently("a list", app.sagas().list()).await;
        panic!(
            "it never settles: {}",
            self.told_of(app, &open.unwrap()).await
        );
    }

    /// Everything has ended, or waits for an event, a timer or a child.
    async fn until_all_wait(&self, app: &App, tries: &mut BTreeMap<StreamId, u32>) {
        for _ in 0..ROUNDS {
            let open = self.open(app).await;
            let going = self.that_do_not_wait(app, &open).await;
            let parked = self.parked(app).await;
            if app.runtime().quarantined().is_empty() && parked == 0 && going.is_empty() {
                return;
            }
            for quarantined in app.runtime().quarantined() {
                let released = release(app, &quarantined.stream);
                self.patiently("a release", released).await.unwrap();
            }
            for follower in app.sagas().followers() {
                let retried = follower.retry(Selection::All);
                self.patiently("a retry", retried).await.unwrap();
            }
            for saga in &going {
                self.see_to(app, saga, tries).await;
            }
        }
        let open = self.open(app).await;
        let parked = self.parked(app).await;
        let going = self.that_do_not_wait(app, &open).await;
        let told = self.told_of(app, &going).await;
        panic!("some hang, and {parked} events are parked: {told}");
    }

    /// Those that neither wait nor are undone as soon as a child has ended.
    async fn that_do_not_wait(&self, app: &App, open: &[OpenSaga]) -> Vec<OpenSaga> {
        let mut going = Vec::new();
        for saga in open
            .iter()
            .filter(|saga| saga.status != OpenStatus::Waiting)
        {
            let shown = self
                .patiently("a look", app.sagas().show(&saga.stream))
                .await;
            let shown = shown.unwrap().unwrap();
            let is_awaited = |effect: &EffectView| match &effect.spec.request {
                Request::Start { saga, id, .. } if effect.state == EffectState::Awaited => {
                    let child = stream(saga, id);
                    open.iter().any(|other| other.stream == child)
                }
                _ => false,
            };
            let is_undone = matches!(shown.status, SagaStatus::Compensating { .. });
            if !is_undone || !shown.effects.iter().any(is_awaited) {
                going.push(saga.clone());
            }
        }
        going
    }

    /// Where instances are, and what happened to them last.
    async fn told_of(&self, app: &App, open: &[OpenSaga]) -> String {
        let mut told = String::new();
        for saga in open {
            let shown = self
                .patiently("a look", app.sagas().show(&saga.stream))
                .await;
            told += &format!("\n{}: ", saga.stream);
            match shown {
                Ok(Some(shown)) => {
                    told += &format!("{:?}, {} inputs wait", shown.status, shown.stalled);
                    let last = shown.history.len().saturating_sub(LINES_TOLD);
                    for line in &shown.history[last..] {
                        told += &format!("\n    {} {}", line.event_type, line.says);
                    }
                }
                other => told += &format!("{other:?}"),
            }
        }
        told
    }

    /// How many events followers have parked.
    async fn parked(&self, app: &App) -> usize {
        let mut parked = 0;
        for follower in app.sagas().followers() {
            let found = self.patiently("a list", follower.parked()).await;
            parked += found.unwrap().len();
        }
        parked
    }

    /// An operator sees to an instance that does not go on by itself.
    async fn see_to(&self, app: &App, saga: &OpenSaga, tries: &mut BTreeMap<StreamId, u32>) {
        let stream = &saga.stream;
        match saga.status {
            OpenStatus::Quarantined => {
                let released = release(app, stream);
                self.patiently("a release", released).await.unwrap();
            }
            OpenStatus::Paused => self.operate_on(app, stream, SagaVerb::Resume).await,
            OpenStatus::Parked | OpenStatus::CompensationStuck => {
                let tried = tries.entry(stream.clone()).or_default();
                *tried += 1;
                if *tried % 2 == 1 {
                    return self.operate_on(app, stream, SagaVerb::RetryNow).await;
                }
                let shown = app.sagas().show(stream);
                let shown = self.patiently("a look", shown).await.unwrap().unwrap();
                // The latest first: of several of one key a verb means the latest that waits.
                for effect in shown.effects.iter().rev() {
                    if let Some(verb) = self.found_out(effect) {
                        self.operate_on(app, stream, verb).await;
                    }
                }
            }
            // It goes on by itself.
            _ => {}
        }
    }

    /// How an effect ended that was tried again in vain, as a person finds it out.
    fn found_out(&self, effect: &EffectView) -> Option<SagaVerb> {
        let key = effect.spec.key.clone();
        if matches!(effect.undo, UndoState::Stuck { .. }) {
            return Some(SagaVerb::Abandon { key });
        }
        if !matches!(effect.state, EffectState::Parked { .. }) {
            return None;
        }
        let is_done = match &effect.spec.request {
            Request::Call { .. } => {
                act_of(&effect.spec.request).is_some_and(|act| self.desk.asked_by_a_person(&act))
            }
            // A command is answered when it is tried again, and a child has ended otherwise.
            _ => false,
        };
        let outcome = match is_done {
            true => Answer::Done("1".to_owned()),
            false => Answer::Rejected("\"it was not done\"".to_owned()),
        };
        Some(SagaVerb::Settle { key, outcome })
    }

    /// A verb that is granted, or refused for what the instance has become.
    async fn operate_on(&self, app: &App, stream: &StreamId, verb: SagaVerb) {
        let name = verb.name();
        let done = app.sagas().operate(stream, verb.by(ANN, "a reason"));
        if let Err(error) = self.patiently(name, done).await {
            assert!(error.is_refusal(), "{name} {stream}: {error}");
        }
    }

    /// Timers fire until none is armed; what then still waits is cancelled, or ended as it is.
    async fn end_all(&self, app: &App, tries: &mut BTreeMap<StreamId, u32>) {
        for round in 0..ROUNDS {
            self.until_all_wait(app, tries).await;
            let open = self.open(app).await;
            let Some(first) = open.first() else {
                return;
            };
            let due = open.iter().filter_map(|saga| saga.until).max();
            match due.filter(|due| *due > self.clock.now() && round < ROUNDS / 2) {
                Some(due) => self.clock.advance(due.since(self.clock.now())),
                None if round % 2 == 0 => {
                    for saga in &open {
                        self.operate_on(app, &saga.stream, SagaVerb::Cancel).await;
                    }
                }
                None => {
                    self.operate_on(app, &first.stream, SagaVerb::Terminate)
                        .await
                }
            }
        }
    }
}

//! One step of a life: something is asked for, by an application, by chance or by an operator, or something goes wrong.

use std::time::Duration;

use chronicler::App;
use chronicler::domain::StreamId;
use chronicler::prelude::*;
use chronicler::runtime::{Clock, Selection};
use chronicler::sagas::{Answer, EffectState, EffectView, SagaVerb};
use chronicler::store::memory::ReadFault;
use chronicler_testkit::AppendFault;
use futures::FutureExt;

use super::app::{BEGUN_BY_EVENTS, ended, name_of, stream};
use super::journal::act_of;
use super::life::{Heard, UnderWay, World, asked};
use super::seed;
use super::thing::{Addressee, FORK, How, THINGS, Thing, ThingCommand};
use crate::turns::turn_until;

/// Who operates.
pub(crate) const ANN: &str = "ann";

impl World {
    pub(crate) async fn step(&mut self, app: &App, under_way: &mut UnderWay) {
        match self.chance.below(25) {
            0..=8 => self.tell(app, under_way),
            9 => {
                let balks = self.chance.one_in(3);
                let balk = app.send::<Thing>(self.thing(), ThingCommand::Balk(balks));
                turn_until(balk.boxed_local()).await;
            }
            10 | 11 => {
                let most = if self.chance.one_in(2) {
                    600_000
                } else {
                    8_000
                };
                let by = Duration::from_millis(self.chance.below(most));
                self.clock.advance(by);
            }
            12 => {
                let fault = match self.chance.below(14) {
                    0 => AppendFault::FailedNotWritten,
                    1 => AppendFault::FailedWritten,
                    2..=5 => AppendFault::NoRoom,
                    _ => AppendFault::Overloaded,
                };
                self.store.faults().fail_append(fault);
            }
            13 => {
                let fault = self.chance.one_in(3).then_some(ReadFault::Io);
                self.store.faults().fail_reads(fault);
            }
            14 => {
                let fail = self.chance.one_in(3);
                self.store.faults().fail_snapshots(fail);
            }
            15 => {
                seed::mend();
                self.desk.is_well(self.chance.one_in(2));
            }
            16 => self.retry_parked(app, under_way),
            17 => self.release_one(app, under_way),
            18 => self.ask_for_an_end(app, under_way),
            19 => self.fork(app, under_way).await,
            _ => self.operate(app, under_way).await,
        }
    }

    fn thing(&mut self) -> AggregateId {
        AggregateId::new(format!("x{}", self.chance.below(THINGS))).unwrap()
    }

    /// After how many looks somebody goes who asked, if he does.
    fn polls(&mut self) -> Option<u64> {
        let polls = 1 + self.chance.below(3);
        self.chance.one_in(4).then_some(polls)
    }

    fn instance(&mut self) -> (&'static str, String) {
        let saga = BEGUN_BY_EVENTS[self.chance.below(BEGUN_BY_EVENTS.len() as u64) as usize];
        let id = self.chance.below(2 + self.told / 6);
        (saga, format!("i{id}"))
    }

    fn tell(&mut self, app: &App, under_way: &mut UnderWay) {
        self.told += 1;
        let number = self.told;
        let addressee = |world: &mut Self| {
            let (saga, id) = world.instance();
            let how = match world.chance.below(8) {
                0 | 1 => How::Start,
                2..=4 => How::Resume,
                _ => How::Either,
            };
            let saga = saga.to_owned();
            Addressee { saga, id, how }
        };
        let to = (0..1 + self.chance.below(3)).map(|_| addressee(self));
        let command = ThingCommand::Tell {
            number,
            to: to.collect(),
        };
        let (thing, id) = (
            self.thing(),
            CommandId::derived(self.clock.now(), &format!("told {number}")),
        );
        for _ in 0..1 + u64::from(self.chance.one_in(6)) {
            let told = app.command::<Thing>(thing.clone(), command.clone());
            let told = told.command_id(id).correlation_id(id.as_uuid());
            let polls = self.polls();
            under_way.push(asked(told.send(), polls, move |answer| {
                Heard::Answer(format!("told {number}: {:?}", answer.map(|_| ())))
            }));
        }
    }

    fn retry_parked(&mut self, app: &App, under_way: &mut UnderWay) {
        for follower in app.sagas().followers() {
            let (follower, polls) = (follower.clone(), self.polls());
            let retried = async move { follower.retry(Selection::All).await };
            under_way.push(asked(retried, polls, |answer| {
                Heard::Answer(format!("retried: {:?}", answer.ok()))
            }));
        }
    }

    /// An operator sees to one of those that are set aside.
    fn release_one(&mut self, app: &App, under_way: &mut UnderWay) {
        let quarantined = app.runtime().quarantined();
        let mut streams: Vec<_> = quarantined.into_iter().map(|one| one.stream).collect();
        streams.sort();
        if streams.is_empty() {
            return;
        }
        let stream = streams.swap_remove(self.chance.below(streams.len() as u64) as usize);
        let (app, polls) = (app.clone(), self.polls());
        let released = async move { release(&app, &stream).await };
        under_way.push(asked(released, polls, |answer| {
            Heard::Answer(format!("released: {answer:?}"))
        }));
    }

    fn ask_for_an_end(&mut self, app: &App, under_way: &mut UnderWay) {
        let (saga, id) = self.instance();
        let stream = stream(saga, &id);
        let ended = ended(app, &stream);
        under_way.push(asked(ended, None, move |answer| match answer {
            Ok(ending) => Heard::End(stream, ending),
            Err(_) => Heard::Answer("nobody can say how it ended".to_owned()),
        }));
    }

    async fn operate(&mut self, app: &App, under_way: &mut UnderWay) {
        let Some(Ok(open)) = turn_until(app.sagas().list().boxed_local()).await else {
            return;
        };
        if open.is_empty() {
            return;
        }
        let at = self.chance.below(open.len() as u64) as usize;
        let stream = open[at].stream.clone();
        let verb = match self.chance.below(16) {
            0 | 1 => SagaVerb::Pause,
            2..=4 => SagaVerb::Resume,
            5 => SagaVerb::Cancel,
            6 => SagaVerb::RetryNow,
            7 | 8 => SagaVerb::Release,
            9 => SagaVerb::Terminate,
            10 => SagaVerb::Signal {
                name: "nod".to_owned(),
                payload: "7".to_owned(),
            },
            11 => SagaVerb::MoveTimer {
                key: format!("t{}", self.chance.below(3)),
                due: self
                    .clock
                    .now()
                    .plus(Duration::from_secs(self.chance.below(600))),
            },
            12 => SagaVerb::CancelTimer {
                key: "end".to_owned(),
            },
            13 => SagaVerb::Migrate,
            _ => match self.what_is_parked(app, &stream).await {
                Some(verb) => verb,
                None => SagaVerb::RetryNow,
            },
        };
        let said = format!("{} {stream}", verb.name());
        self.order(app, under_way, stream, verb, said);
    }

    /// An operator has an instance that has ended go on as another.
    async fn fork(&mut self, app: &App, under_way: &mut UnderWay) {
        if self.endings.is_empty() {
            return;
        }
        let at = self.chance.below(self.endings.len() as u64) as usize;
        let from = self.endings.keys().nth(at).unwrap().clone();
        let shown = turn_until(app.sagas().show(&from).boxed_local()).await;
        let Some(Ok(Some(shown))) = shown else {
            return;
        };
        if shown.effects.is_empty() || from.id().ends_with(FORK) {
            return;
        }
        let at = self.chance.below(shown.effects.len() as u64) as usize;
        let before = shown.effects[at].spec.key.clone();
        let id = format!("{}{FORK}", from.id());
        self.forked.insert(stream(name_of(&from), &id));
        self.forked.insert(from.clone());
        let said = format!("fork {from} before {before}");
        let verb = SagaVerb::Fork { before, id };
        self.order(app, under_way, from, verb, said);
    }

    fn order(
        &mut self,
        app: &App,
        under_way: &mut UnderWay,
        stream: StreamId,
        verb: SagaVerb,
        said: String,
    ) {
        let (app, polls) = (app.clone(), self.polls());
        let order = verb.by(ANN, "a reason");
        let done = async move { app.sagas().operate(&stream, order).await };
        under_way.push(asked(done, polls, move |answer| {
            let answer = answer.map(|status| status.map(|status| status.word()));
            Heard::Answer(format!("{said}: {answer:?}"))
        }));
    }

    /// What an operator says about an effect that waits for a person, having asked the service.
    async fn what_is_parked(&mut self, app: &App, stream: &StreamId) -> Option<SagaVerb> {
        let shown = turn_until(app.sagas().show(stream).boxed_local()).await?;
        let shown = shown.ok()??;
        let waits = |effect: &&EffectView| {
            let is_parked = matches!(effect.state, EffectState::Parked { .. });
            let waits = matches!(effect.state, EffectState::Pending { attempt, .. } if attempt > 0);
            effect.spec.request.is_call() && (is_parked || waits)
        };
        let effect = shown.effects.iter().find(waits)?;
        let key = effect.spec.key.clone();
        // A verb names an effect by its key, and this one is to mean this one.
        let is_namesake = |other: &&EffectView| other.spec.key == key;
        if shown.effects.iter().filter(is_namesake).count() > 1 {
            return None;
        }
        let act = act_of(&effect.spec.request)?;
        Some(match self.desk.asked_by_a_person(&act) {
            true => SagaVerb::Settle {
                key,
                outcome: Answer::Done("1".to_owned()),
            },
            false if self.chance.one_in(2) => SagaVerb::Skip {
                key,
                output: "1".to_owned(),
            },
            false => SagaVerb::Settle {
                key,
                outcome: Answer::Rejected("\"it was not done\"".to_owned()),
            },
        })
    }
}

/// Releases an instance of an aggregate or a saga from quarantine.
pub(crate) async fn release(app: &App, stream: &StreamId) -> Result<bool, String> {
    match app.sagas().release(stream, ANN).await {
        Ok(Some(released)) => Ok(released),
        Ok(None) => {
            let released = app.runtime().release(stream).await;
            released.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

//! A history with something of everything, left behind in a data directory; and how it goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chronicler::App;
use chronicler::domain::{StreamId, StreamVersion, Tenant};
use chronicler::prelude::*;
use chronicler::runtime::{Clock, ManualClock};
use chronicler::sagas::Ending;
use chronicler::store::{FactKind, FactQuery};

use crate::files::{Files, read, write};
use crate::observe::{self, Answers, assert_same, id};
use crate::world::{
    Books, Broken, Fulfil, Gateway, Mended, Order, OrderCommand, PATIENCE, Poke, Stock,
    StockCommand, UNFOLDABLE, app,
};

/// Longer than anything here takes: a condition that never comes true fails its test.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A data directory that nobody has open, and what the world around it knew when it was left.
pub(crate) struct Left {
    pub(crate) files: Files,
    now: Timestamp,
    books: Books,
}

/// What was left behind, and what is answered from it.
pub(crate) struct History {
    /// When the application was stopped.
    pub(crate) stopped: Left,
    /// Just before: as if it had been killed.
    pub(crate) killed: Left,
    /// When about half of it had happened.
    pub(crate) midway: Left,
    /// After midway other things happened, and more of them.
    pub(crate) forked: Left,
    /// Another application's.
    pub(crate) another: Left,
    /// What a start on the directory that was stopped answers at once.
    pub(crate) at_once: Answers,
    /// And what it answers after everything that was open has gone on.
    pub(crate) later: Answers,
    once: CommandId,
}

/// One life of the application.
pub(crate) struct Life {
    pub(crate) app: App,
    pub(crate) gateway: Gateway,
    clock: ManualClock,
}

impl History {
    /// Lets it all happen.
    pub(crate) async fn make() -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        let clock = ManualClock::default();
        let mut life = Life::begin::<false>(path, clock, Gateway::default(), "").await;
        for name in ["released", "set-aside"] {
            life.app.send::<Mended>(name, Poke::Gently).await.unwrap();
        }
        life = life.again::<true>(path, "mended-poison").await;
        let once = life.first_half().await;
        let midway = life.stop(path).await;
        life = life.again::<false>(path, "poison").await;
        life.second_half().await;
        let answers = observe::answers(&life.app, &life.gateway).await;
        let killed = life.leave(path);
        let stopped = life.stop(path).await;

        let mut history = Self {
            stopped,
            killed,
            forked: forked(&midway).await,
            midway,
            another: another().await,
            at_once: Answers::new(),
            later: Answers::new(),
            once,
        };
        let data = history.stopped.restore();
        let life = history.stopped.open(data.path()).await;
        history.at_once = observe::places(&life.app, &life.gateway).await;
        assert_same(&answers, &history.answers_at_once(), "stopped and started");
        life.has_something_of_everything().await;
        history.later = history.go_on(&life).await;
        life.app.stop().await;
        history
    }

    /// What is answered at once, without places in the log.
    pub(crate) fn answers_at_once(&self) -> Answers {
        let all = self.at_once.iter();
        all.filter(|(question, _)| !observe::is_of_places(question))
            .map(|(question, answer)| (question.clone(), answer.clone()))
            .collect()
    }

    /// Everything that is open goes on: what waited is woken, what was set aside is released.
    pub(crate) async fn go_on(&self, life: &Life) -> Answers {
        let app = &life.app;
        let again = app.command::<Order>("busy", OrderCommand::Note("once".into()));
        let again = again.command_id(self.once).send().await;
        let again = again.unwrap();
        assert!(
            again.duplicate,
            "a command was carried out again: {again:?}"
        );

        life.order("charged-3", OrderCommand::Place).await;
        life.until_ended("charged-3", &Ending::Completed).await;
        let set_aside = StreamId::of("fragile", "set-aside").unwrap();
        assert!(app.runtime().release(&set_aside).await.unwrap());
        let gently = life.app.send::<Mended>("poked", Poke::Gently).await;
        gently.unwrap();
        life.retry("parked").await;
        life.until_ended("parked", &Ending::Completed).await;
        life.clock.advance(Duration::from_secs(2));
        life.until_ended("retry", &Ending::Completed).await;
        life.release("poison").await;
        life.warehouse(false).await;
        life.retry("stuck").await;
        life.until_ended("stuck", &compensated("told to")).await;
        life.order("busy", OrderCommand::Note("late".into())).await;
        life.until("busy to have it", async || {
            life.notes("busy").await.contains("late")
        })
        .await;
        life.clock.advance(PATIENCE);
        for order in [
            "busy",
            "early-waiting",
            "late-waiting",
            "mended-poison",
            "poison",
            "unfolded",
        ] {
            life.until_ended(order, &compensated("time-out")).await;
        }
        observe::answers(app, &life.gateway).await
    }
}

/// Goes on from midway in another way, and further.
async fn forked(midway: &Left) -> Left {
    let data = midway.restore();
    let life = midway.open(data.path()).await;
    for number in 0..60 {
        for order in ["busy", "early-waiting", "unfolded"] {
            let note = format!("otherwise {number}");
            life.order(order, OrderCommand::Note(note)).await;
        }
    }
    life.until("all notes to arrive", async || {
        life.notes("early-waiting").await.contains("otherwise 59")
    })
    .await;
    life.stop(data.path()).await
}

/// A data directory of the same application, in which other things happened.
async fn another() -> Left {
    let data = tempfile::tempdir().unwrap();
    let clock = ManualClock::default();
    let life = Life::begin::<false>(data.path(), clock, Gateway::default(), "").await;
    for order in ["busy", "charged-1", "of-another"] {
        life.order(order, OrderCommand::Place).await;
        let note = "of another".to_owned();
        life.order(order, OrderCommand::Note(note)).await;
    }
    life.until_ended("charged-1", &Ending::Completed).await;
    life.stop(data.path()).await
}

impl Left {
    /// Puts the directory down somewhere.
    pub(crate) fn restore(&self) -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        write(data.path(), &self.files);
        data
    }

    /// Starts the application as its next release would, at the time at which it was left.
    pub(crate) async fn open(&self, data: &Path) -> Life {
        let clock = ManualClock::new(self.now);
        Life::begin::<false>(data, clock, Gateway::with(self.books.clone()), "").await
    }
}

impl Life {
    async fn begin<const IS_BROKEN: bool>(
        data: &Path,
        clock: ManualClock,
        gateway: Gateway,
        refuses: &'static str,
    ) -> Self {
        let app = app::<IS_BROKEN>(data, &clock, &gateway, Fulfil { refuses });
        let app = app.start().await.unwrap();
        Self {
            app,
            gateway,
            clock,
        }
    }

    async fn again<const IS_BROKEN: bool>(self, data: &Path, refuses: &'static str) -> Self {
        self.app.stop().await;
        Self::begin::<IS_BROKEN>(data, self.clock, self.gateway, refuses).await
    }

    /// What somebody finds who takes it away as it is.
    fn leave(&self, data: &Path) -> Left {
        Left {
            files: read(data),
            now: self.clock.now(),
            books: self.gateway.books(),
        }
    }

    async fn stop(&self, data: &Path) -> Left {
        self.app.stop().await;
        self.leave(data)
    }

    async fn first_half(&self) -> CommandId {
        for name in ["released", "set-aside"] {
            let refused = self.app.send::<Broken>(name, Poke::Gently).await;
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains("quarantined"), "{refused}");
        }
        self.wait_for_time("early-timed-out").await;
        self.clock.advance(Duration::from_secs(300));
        for order in ["early-waiting", "early-ended", "mended-poison", "busy"] {
            self.wait_for_time(order).await;
        }
        for note in ["one", "two"] {
            self.order("mended-poison", OrderCommand::Note(note.into()))
                .await;
        }
        self.until_status("mended-poison", |status| {
            matches!(status, SagaStatus::Quarantined { .. })
        })
        .await;
        for number in 0..7 {
            self.order("busy", OrderCommand::Note(format!("note {number}")))
                .await;
        }
        let once = CommandId::derived(self.clock.now(), "once");
        let command = self
            .app
            .command::<Order>("busy", OrderCommand::Note("once".into()));
        command.command_id(once).send().await.unwrap();
        self.order("charged-1", OrderCommand::Place).await;
        self.until_ended("charged-1", &Ending::Completed).await;
        once
    }

    async fn second_half(&self) {
        let released = StreamId::of("fragile", "released").unwrap();
        assert!(self.app.runtime().release(&released).await.unwrap());
        self.app
            .send::<Mended>("released", Poke::Gently)
            .await
            .unwrap();
        self.release("mended-poison").await;
        self.order("early-ended", OrderCommand::Note("give up".into()))
            .await;
        self.until_ended("early-ended", &compensated("told to"))
            .await;
        self.clock.advance(Duration::from_secs(700));
        self.until_ended("early-timed-out", &compensated("time-out"))
            .await;

        for order in ["late-waiting", "poison", "stuck", "unfolded"] {
            self.wait_for_time(order).await;
        }
        self.order("unroutable", OrderCommand::Place).await;
        for order in ["charged-2", "parked", "retry"] {
            self.order(order, OrderCommand::Place).await;
        }
        self.until_ended("charged-2", &Ending::Completed).await;
        self.until_status("parked", |status| {
            matches!(status, SagaStatus::Parked { .. })
        })
        .await;
        self.until_status("retry", |status| {
            matches!(status, SagaStatus::Retrying { .. })
        })
        .await;
        for note in ["one", "two"] {
            self.order("poison", OrderCommand::Note(note.into())).await;
        }
        self.until_status("poison", |status| {
            matches!(status, SagaStatus::Quarantined { .. })
        })
        .await;
        for note in ["one", UNFOLDABLE, "held"] {
            self.order("unfolded", OrderCommand::Note(note.into()))
                .await;
        }
        for number in 7..12 {
            self.order("busy", OrderCommand::Note(format!("note {number}")))
                .await;
        }
        self.warehouse(true).await;
        self.order("stuck", OrderCommand::Note("give up".into()))
            .await;
        self.until_status("stuck", |status| {
            matches!(status, SagaStatus::CompensationStuck { .. })
        })
        .await;
        for order in ["unfolded", "busy"] {
            let last = if order == "busy" { "note 11" } else { "held" };
            self.until("all notes to arrive", async || {
                self.notes(order).await.contains(last)
            })
            .await;
        }
    }

    /// A history that lacks something would prove nothing about it.
    async fn has_something_of_everything(&self) {
        let saga = self.app.saga::<Fulfil>().unwrap();
        let open = saga.open().await.unwrap().into_iter();
        let open: BTreeMap<String, &str> = open
            .map(|saga| (saga.id().to_owned(), saga.status.word()))
            .collect();
        let expected = [
            ("busy", "waiting"),
            ("early-waiting", "waiting"),
            ("late-waiting", "waiting"),
            ("mended-poison", "waiting"),
            ("parked", "parked"),
            ("poison", "quarantined"),
            ("retry", "retrying"),
            ("stuck", "compensation stuck"),
            ("unfolded", "waiting"),
        ];
        let expected = expected.map(|(id, status)| (id.to_owned(), status));
        assert_eq!(open, BTreeMap::from(expected));
        let facts = async |kind| {
            let found = self.app.store().facts(FactQuery::all(kind)).await;
            found.unwrap().len()
        };
        // One that could not be routed; one that could not be folded, and one behind it.
        assert_eq!(facts(FactKind::PARKED).await, 3);
        assert_eq!(facts(FactKind::QUARANTINE).await, 1);
        assert!(facts(FactKind::TIMER).await >= 5);
        for (category, id) in [("order", "busy"), ("stock", "all"), ("saga:fulfil", "busy")] {
            let stream = StreamId::of(category, id).unwrap();
            let newest = self.app.store().load_snapshot(&stream, StreamVersion::MAX);
            assert!(newest.await.unwrap().is_some(), "no snapshot of {stream}");
        }
        let rows = self.app.store().view_generations("order_rows").await;
        assert_eq!(rows.unwrap().len(), 1);
    }

    async fn order(&self, order: &str, command: OrderCommand) {
        self.app.send::<Order>(order, command).await.unwrap();
    }

    /// Places an order whose saga then waits for an event or for its timer.
    async fn wait_for_time(&self, order: &str) {
        self.order(order, OrderCommand::Place).await;
        self.until_status(order, |status| matches!(status, SagaStatus::Waiting { .. }))
            .await;
    }

    async fn warehouse(&self, is_closed: bool) {
        let command = StockCommand::Close(is_closed);
        self.app.send::<Stock>("all", command).await.unwrap();
    }

    async fn retry(&self, order: &str) {
        let saga = self.app.saga::<Fulfil>().unwrap();
        let retried = saga.retry_now(&Tenant::default(), &id(order), "ann").await;
        retried.unwrap();
    }

    /// Releases an instance whose code is mended; it takes up what waited.
    async fn release(&self, order: &str) {
        let saga = self.app.saga::<Fulfil>().unwrap();
        let status = saga.release(&Tenant::default(), &id(order), "ann").await;
        assert!(
            matches!(status, Ok(SagaStatus::Waiting { .. })),
            "{status:?}"
        );
        assert!(self.notes(order).await.contains("two"));
    }

    /// The notes that the saga of an order has taken.
    async fn notes(&self, order: &str) -> String {
        let saga = self.app.saga::<Fulfil>().unwrap();
        let view = saga.get(&Tenant::default(), &id(order)).await.unwrap();
        format!("{:?}", view.state)
    }

    async fn until_ended(&self, order: &str, ending: &Ending) {
        let expected = SagaStatus::Ended {
            how: ending.clone(),
        };
        self.until_status(order, |status| *status == expected).await;
    }

    async fn until_status(&self, order: &str, is_met: impl Fn(&SagaStatus) -> bool) {
        let saga = self.app.saga::<Fulfil>().unwrap();
        let met = async || {
            let view = saga.get(&Tenant::default(), &id(order)).await.unwrap();
            is_met(&view.status)
        };
        self.until(order, met).await;
    }

    /// Waits for something that comes true by a commit.
    async fn until(&self, what: &str, is_met: impl AsyncFn() -> bool) {
        let mut head = self.app.store().watch_head();
        let waiting = async {
            while !is_met().await {
                head.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(TOO_LONG, waiting).await;
        assert!(waited.is_ok(), "waited in vain for {what}");
    }
}

fn compensated(reason: &str) -> Ending {
    Ending::Compensated {
        reason: reason.into(),
    }
}

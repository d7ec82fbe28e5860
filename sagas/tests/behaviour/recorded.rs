//! What a saga records, and its timers, while serde leaves something out or the clock is set.

use std::time::Duration;

use chronicler_domain::{Event, Tenant};
use chronicler_runtime::Clock;
use chronicler_sagas::{Input, Next, Route, Routes, Saga, SagaContext, SagaView};
use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, fixture_with, id, settle};
use crate::shop::{Order, OrderCommand, OrderEvent};

/// Notes how often it was touched, with a word beside that serde leaves out, and arms a shorter timer each time.
struct Clerk;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    lines: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Noted {
    Line {
        word: String,
        #[serde(skip)]
        aside: String,
    },
}

impl Event for Noted {}

fn line(word: &str) -> Noted {
    let (word, aside) = (word.to_owned(), "aside".to_owned());
    Noted::Line { word, aside }
}

impl Saga for Clerk {
    const NAME: &'static str = "clerk";
    type State = Book;
    type Event = Noted;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Touched => Route::start_or_resume(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, book: &Book, input: &Input, _: &SagaContext) -> Next<Self> {
        match (input, book.lines.len()) {
            (Input::Event(_), 0) => Next::stay()
                .record(line("touched"))
                .timer("overall", Duration::from_secs(1_800)),
            (Input::Event(_), _) => Next::stay().timer("answer", Duration::from_secs(5)),
            (Input::Timer(key), _) => Next::stay().record(line(key)),
            _ => Next::stay(),
        }
    }

    fn evolve(book: &mut Book, event: &Noted) {
        let Noted::Line { word, aside } = event;
        book.lines.push(format!("{word}{aside}"));
    }
}

async fn view(f: &Fixture) -> SagaView<Clerk> {
    let handle = f.sagas.saga::<Clerk>().unwrap();
    handle.get(&Tenant::default(), &id("c")).await.unwrap()
}

#[tokio::test]
async fn c5_a_saga_evolves_on_its_events_as_a_recovery_will_read_them() {
    let f = fixture_with(Clerk).await;
    f.order("c", OrderCommand::Touch).await;
    assert_eq!(view(&f).await.state.lines, ["touched"]);
}

#[tokio::test]
async fn t3_a_timer_armed_after_the_clock_was_set_forward_is_not_taken_for_later_than_an_older_one()
{
    let f = fixture_with(Clerk).await;
    f.order("c", OrderCommand::Touch).await;
    f.clock.set(f.clock.now().plus(Duration::from_secs(3_600)));
    settle().await;
    f.order("c", OrderCommand::Touch).await;
    settle().await;
    f.advance(5).await;
    assert_eq!(view(&f).await.state.lines, ["touched", "answer"]);
    f.advance(1_790).await;
    assert_eq!(view(&f).await.state.lines, ["touched", "answer"]);
    f.advance(6).await;
    assert_eq!(view(&f).await.state.lines, ["touched", "answer", "overall"]);
}

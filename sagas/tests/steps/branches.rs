//! Branches: steps side by side, and undone so.

use chronicler_sagas::step_keys;
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
use chronicler_sagas::{Ending, SagaStatus};

use crate::journey::act;
use crate::parts::{PartCommand, Willing};
use crate::world::World;

step_keys! {
    Plan = "plan" -> u64;
    Hotel = "hotel" -> u64;
    Car = "car" -> u64;
    Flight = "flight" -> u64;
    Visa = "visa" -> u64;
    Book = "book" -> u64;
    Bags = "bags" -> ();
    Tips = "tips" -> ();
    Note = "note" -> ();
}

/// A plan; then a hotel and a car beside a flight, beside which there is a visa; then everything is booked.
struct Trip;

impl StepSaga for Trip {
    const NAME: &'static str = "trip";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Plan,
                |_| act("desk", "plan"),
                |_, _| act("desk", "not plan"),
            )
            .parallel(
                |left| {
                    left.step(
                        Hotel,
                        |_| act("hotel", "hotel"),
                        |_, _| act("hotel", "not hotel"),
                    )
                    .step(
                        Car,
                        |seen| act("car", format!("car {}", seen.output(Hotel))),
                        |_, _| act("car", "not car"),
                    )
                },
                |right| {
                    right.parallel(
                        |left| {
                            left.step(
                                Flight,
                                |seen| act("airline", format!("flight {}", seen.output(Plan))),
                                |_, _| act("airline", "not flight"),
                            )
                        },
                        |right| {
                            right
                                .step(
                                    Visa,
                                    |_| act("consul", "visa"),
                                    |_, _| act("consul", "not visa"),
                                )
                                .only_if(|seen| seen.id() != "citizen")
                        },
                    )
                },
            )
            .pivot(Book, |seen| {
                let visa = seen.output_if_run(Visa).is_some();
                let all = [
                    seen.output(Plan),
                    seen.output(Hotel),
                    seen.output(Car),
                    seen.output(Flight),
                ];
                act("desk", format!("book {} with visa: {visa}", all.len()))
            })
            .parallel(
                |left| left.then(Bags, |_| to::<Willing>("porter", "bags".to_owned())),
                |right| right.then(Tips, |_| to::<Willing>("porter", "tips".to_owned())),
            )
            .then(Note, |_| to::<Willing>("porter", "note".to_owned()))
            .build()
    }
}

fn place(words: &[String], word: &str) -> usize {
    let found = words.iter().position(|other| other == word);
    found.unwrap_or_else(|| panic!("{word} is not among {words:?}"))
}

#[tokio::test]
async fn m57_branches_run_side_by_side_and_what_is_behind_them_waits_for_all() {
    let world = World::<Trip>::new().await;
    world.begin("t").await;
    assert_eq!(world.ended("t").await, Ending::Completed);
    let words = world.words().await;
    assert_eq!(words.len(), 9, "{words:?}");
    assert_eq!(words[0], "plan");
    assert_eq!(words[5], "book 4 with visa: true");
    assert_eq!(words[8], "note");
    // The flight does not wait for the car.
    assert!(place(&words, "flight 1") < place(&words, "car 1"));

    world.begin("citizen").await;
    assert_eq!(world.ended("citizen").await, Ending::Completed);
    let words = world.words().await;
    assert!(words.contains(&"book 4 with visa: false".to_owned()));
}

#[tokio::test]
async fn m57_one_branch_that_is_refused_undoes_all_of_them_side_by_side() {
    let world = World::<Trip>::new().await;
    world.refuse("car", &["car 1"]).await;
    world.begin("t").await;
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    let words = world.words().await;
    assert_eq!(words.len(), 8, "{words:?}");
    assert_eq!(words[7], "not plan", "what was before the fork comes last");
    for word in ["not hotel", "not flight", "not visa"] {
        assert!(place(&words, word) < 7);
    }
}

#[tokio::test]
async fn m21_m57_an_undo_that_is_stuck_on_one_branch_does_not_hold_up_the_others() {
    let world = World::<Trip>::new().await;
    world.refuse("desk", &["book 4 with visa: true"]).await;
    world.refuse("car", &["not car"]).await;
    world.begin("t").await;
    let SagaStatus::CompensationStuck { stuck } = world.status("t").await else {
        panic!("{:?}", world.status("t").await);
    };
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].0, "car");
    let words = world.words().await;
    for word in ["not hotel", "not flight", "not visa", "not plan"] {
        place(&words, word);
    }
}

#[tokio::test]
async fn m28_a_fork_goes_on_where_it_was_after_a_restart() {
    let world = World::<Trip>::new().await;
    // Nothing of the car is known yet when the process ends.
    world.tell_at_once("t").await;
    let world: World<Trip> = world.restart().await;
    assert_eq!(world.ended("t").await, Ending::Completed);
    let words = world.words().await;
    assert_eq!(words.len(), 9, "each once: {words:?}");
}

#[tokio::test]
async fn a_fork_and_what_joins_it_are_drawn() {
    let world = World::<Trip>::new().await;
    world
        .send::<crate::parts::Part>("t", PartCommand::Do("begin".to_owned()))
        .await;
    let drawn = Steps::<Trip>::of().definition().to_mermaid();
    for line in [
        "s0 --> s1",
        "s0 --> s3",
        "s0 --> s4",
        "s2 --> s5",
        "s3 --> s5",
        "s4 --> s5",
        "s5 --> s6",
        "s5 --> s7",
        "s8 --> done([done])",
    ] {
        assert!(drawn.contains(line), "{line} is not in {drawn}");
    }
}

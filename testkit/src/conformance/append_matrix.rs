//! The idempotency table of the field: what an append means whose events may be there already.

use chronicler_domain::StreamId;
use chronicler_store::{AppendError, AppendResult, Expected, NewEvent};
use serde::Deserialize;
use uuid::Uuid;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, event, version};

/// Cases of appends one after another, and what the last one must come to. Read with serde from JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct AppendMatrix {
    /// The cases.
    pub cases: Vec<MatrixCase>,
}

/// Appends to one stream, one after another.
#[derive(Clone, Debug, Deserialize)]
pub struct MatrixCase {
    /// What it is called.
    pub name: String,
    /// The appends.
    pub steps: Vec<MatrixStep>,
    /// What the last one comes to.
    pub expect: MatrixOutcome,
}

/// One append: its operation, its events by number, and what is expected of the stream.
#[derive(Clone, Debug, Deserialize)]
pub struct MatrixStep(pub Operation, pub Vec<u64>, pub MatrixExpected);

/// The operation of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An append.
    Append,
}

/// What a step expects of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum MatrixExpected {
    /// The number of its last event, counted from zero.
    Last(u64),
    /// Something else.
    Named(NamedExpectation),
}

/// What a step expects of the stream, if not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedExpectation {
    /// Nothing.
    Any,
    /// It has no events.
    NoStream,
}

/// What the last step of a case comes to.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum MatrixOutcome {
    /// It succeeds, and then the stream has so many events.
    Count {
        /// How many.
        count: u64,
    },
    /// It is refused.
    Refused {
        /// How.
        error: Refusal,
    },
}

/// How the last step of a case is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The stream is not as expected.
    WrongExpectedVersion,
}

/// Runs every case of a table on a store, each on a stream of its own.
///
/// # Errors
/// The first [`Violation`], with the name of its case.
pub async fn append_matrix(
    store: std::sync::Arc<dyn chronicler_store::Store>,
    matrix: &AppendMatrix,
) -> Result<(), Violation> {
    run(&Subject::new(store), matrix).await
}

pub(super) async fn j25_the_idempotency_table(subject: &Subject) -> Result<(), Violation> {
    run(subject, &AppendMatrix::of_the_field()).await
}

async fn run(subject: &Subject, matrix: &AppendMatrix) -> Result<(), Violation> {
    for (number, case) in matrix.cases.iter().enumerate() {
        let stream = StreamId::of("matrix", &format!("case-{number}"))?;
        run_case(subject, &stream, case)
            .await
            .map_err(|violation| {
                Violation::new(format_args!("case {:?}: {violation}", case.name))
            })?;
    }
    Ok(())
}

async fn run_case(
    subject: &Subject,
    stream: &StreamId,
    case: &MatrixCase,
) -> Result<(), Violation> {
    let (last, earlier) = case
        .steps
        .split_last()
        .ok_or_else(|| Violation::new("it has no steps"))?;
    for step in earlier {
        try_step(subject, stream, step).await??;
    }
    let before = subject.all_commits().await?;
    let result = try_step(subject, stream, last).await?;
    match (&case.expect, result) {
        (MatrixOutcome::Count { count }, result) => {
            result?;
            equal("events", subject.version(stream).await?, *count)?;
            equal(
                "events that are read",
                subject.events(stream).await?.len() as u64,
                *count,
            )
        }
        (
            MatrixOutcome::Refused {
                error: Refusal::WrongExpectedVersion,
            },
            Err(AppendError::WrongExpectedVersion { .. }),
        ) => subject.is_unchanged_since(&before).await,
        (MatrixOutcome::Refused { error }, other) => Err(Violation::new(format_args!(
            "{error:?} was promised, and the last step got {other:?}"
        ))),
    }
}

/// Appends as a step says. A success must name places where exactly these events lie, and must call itself a
/// repetition exactly when the stream did not grow.
async fn try_step(
    subject: &Subject,
    stream: &StreamId,
    MatrixStep(Operation::Append, ids, expected): &MatrixStep,
) -> Result<AppendResult, Violation> {
    let id = |number: &u64| Uuid::from_u128(u128::from(*number) + 1);
    let events: Vec<NewEvent> = ids
        .iter()
        .map(|number| NewEvent {
            id: Some(id(number)),
            ..event("Happened", *number as usize)
        })
        .collect();
    let expected = match expected {
        MatrixExpected::Last(last) => version(last + 1),
        MatrixExpected::Named(NamedExpectation::Any) => Expected::Any,
        MatrixExpected::Named(NamedExpectation::NoStream) => Expected::NoStream,
    };
    let before = subject.version(stream).await?;
    let append = subject.commit().stream(stream.clone(), expected, events);
    let result = subject.append(append).await;
    if let Ok(appended) = &result {
        let [part] = appended.parts.as_slice() else {
            return Err(Violation::new("one stream, and not one place"));
        };
        let grown = subject.version(stream).await? - before;
        equal(
            "whether it was a repetition",
            appended.duplicate,
            grown == 0,
        )?;
        let all = subject.events(stream).await?;
        for (number, position) in ids.iter().zip(part.positions.to_vec()) {
            let there = all.iter().find(|event| event.position == position);
            equal(
                format_args!("the event at position {position}"),
                there.map(|event| event.id),
                Some(id(number)),
            )?;
        }
        equal(
            "how many places there are",
            part.positions.to_vec().len(),
            ids.len(),
        )?;
        let named = part.first_version.get()..=part.last_version.get();
        ensure(
            named.clone().count() == ids.len() && *named.end() <= all.len() as u64,
            format_args!("versions {named:?} for {} events", ids.len()),
        )?;
    }
    Ok(result)
}

impl AppendMatrix {
    /// The cases that stores of the field agree on, for where no file with them is at hand.
    pub fn of_the_field() -> Self {
        use MatrixExpected::Last;
        const ANY: MatrixExpected = MatrixExpected::Named(NamedExpectation::Any);
        const NONE: MatrixExpected = MatrixExpected::Named(NamedExpectation::NoStream);
        let step = |expected: MatrixExpected, ids: &[u64]| {
            MatrixStep(Operation::Append, ids.to_vec(), expected)
        };
        let case = |name: &str, steps: Vec<MatrixStep>, count: Option<u64>| MatrixCase {
            name: name.to_owned(),
            steps,
            expect: match count {
                Some(count) => MatrixOutcome::Count { count },
                None => MatrixOutcome::Refused {
                    error: Refusal::WrongExpectedVersion,
                },
            },
        };
        // Six events one by one, then the first of them again.
        let after_six = |expected| {
            let rest = (1..6).map(|number| step(Last(number - 1), &[number]));
            let first = std::iter::once(step(NONE, &[0]));
            first.chain(rest).chain([step(expected, &[0])]).collect()
        };
        let after_two = |expected, ids: &[u64]| vec![step(NONE, &[0, 1]), step(expected, ids)];
        let cases = vec![
            case(
                "first of six again, as a new stream",
                after_six(NONE),
                Some(6),
            ),
            case("first of six again, anywhere", after_six(ANY), Some(6)),
            case(
                "first of six at the end: a new event",
                after_six(Last(5)),
                Some(7),
            ),
            case("first of six beyond the end", after_six(Last(6)), None),
            case("first of six before the end", after_six(Last(4)), None),
            case(
                "the only one at the end: a new event",
                vec![step(NONE, &[0]), step(Last(0), &[0])],
                Some(2),
            ),
            case(
                "the only one anywhere",
                vec![step(NONE, &[0]), step(ANY, &[0])],
                Some(1),
            ),
            case(
                "the only one as a new stream",
                vec![step(NONE, &[0]), step(NONE, &[0])],
                Some(1),
            ),
            case(
                "the middle one anywhere, twice",
                vec![
                    step(NONE, &[0]),
                    step(Last(0), &[1]),
                    step(Last(1), &[2]),
                    step(ANY, &[1]),
                    step(ANY, &[1]),
                ],
                Some(3),
            ),
            case(
                "the first of a pair as a new stream",
                after_two(NONE, &[0]),
                Some(2),
            ),
            case(
                "the first of a pair anywhere",
                after_two(ANY, &[0]),
                Some(2),
            ),
            case(
                "the second of a pair in its place",
                after_two(Last(0), &[1]),
                Some(2),
            ),
            case(
                "the second of a pair anywhere",
                after_two(ANY, &[1]),
                Some(2),
            ),
            case("a pair and one more", after_two(NONE, &[0, 1, 2]), None),
        ];
        Self { cases }
    }
}

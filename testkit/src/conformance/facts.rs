//! Keyed facts: set and removed by commits, read by key.

use bytes::Bytes;
use chronicler_store::{Expected, FactKind, FactQuery, SideRecord};

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, events};

pub(super) async fn facts_are_set_replaced_and_removed(subject: &Subject) -> Result<(), Violation> {
    let store = subject.store();
    let at = async |kind, key: &'static str| {
        let found = store.fact(kind, Bytes::from_static(key.as_bytes())).await?;
        Ok::<_, Violation>(found.map(|fact| (fact.value, fact.sequence.get())))
    };
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    equal("before", at(FactKind::CURSOR, "k").await?, None)?;
    set(subject, FactKind::CURSOR, "k", Some("one")).await?;
    set(subject, FactKind::TIMER, "k", Some("of another kind")).await?;
    equal(
        "set",
        at(FactKind::CURSOR, "k").await?,
        Some((value("one"), 1)),
    )?;
    set(subject, FactKind::CURSOR, "k", Some("")).await?;
    equal(
        "replaced by an empty value",
        at(FactKind::CURSOR, "k").await?,
        Some((value(""), 3)),
    )?;
    set(subject, FactKind::CURSOR, "k", None).await?;
    set(subject, FactKind::CURSOR, "never-set", None).await?;
    equal("removed", at(FactKind::CURSOR, "k").await?, None)?;
    equal(
        "of another kind",
        at(FactKind::TIMER, "k").await?,
        Some((value("of another kind"), 2)),
    )?;
    // Within one commit the later record of a key counts.
    let twice = subject
        .commit()
        .record(fact(FactKind::CURSOR, "k", Some("first")))
        .record(fact(FactKind::CURSOR, "k", Some("second")))
        .record(fact(FactKind::CURSOR, "gone", Some("here")))
        .record(fact(FactKind::CURSOR, "gone", None));
    let appended = subject.append(twice).await?;
    equal(
        "the later record",
        at(FactKind::CURSOR, "k").await?,
        Some((value("second"), appended.sequence.get())),
    )?;
    equal(
        "set and removed at once",
        at(FactKind::CURSOR, "gone").await?,
        None,
    )?;
    let head = store.head();
    equal(
        "sequence and position after facts only",
        (head.sequence.get(), head.position.get()),
        (6, 0),
    )
}

pub(super) async fn facts_are_paged_by_key(subject: &Subject) -> Result<(), Violation> {
    let keys = ["", "a", "a\0", "a\0b", "ab", "b", "b\u{7f}", "c"];
    let application = FactKind::new(FactKind::APPLICATION_FIRST)
        .ok_or_else(|| Violation::new("applications have no kinds"))?;
    for key in keys.iter().rev() {
        set(subject, application, key, Some("v")).await?;
        set(subject, FactKind::PAUSE, key, Some("of another kind")).await?;
    }
    let key = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let all = FactQuery::all(application);
    for (query, wanted) in [
        (all.clone(), &keys[..]),
        (
            FactQuery {
                limit: 3,
                ..all.clone()
            },
            &["", "a", "a\0"],
        ),
        (
            FactQuery {
                limit: 0,
                ..all.clone()
            },
            &[],
        ),
        (
            FactQuery {
                after: key("a\0b"),
                ..all.clone()
            },
            &["ab", "b", "b\u{7f}", "c"],
        ),
        (
            FactQuery {
                after: key(""),
                limit: 1,
                ..all.clone()
            },
            &["a"],
        ),
        (
            FactQuery {
                after: key("c"),
                ..all.clone()
            },
            &[],
        ),
        (
            FactQuery {
                until: key("a\0b"),
                ..all.clone()
            },
            &["", "a", "a\0", "a\0b"],
        ),
        (
            FactQuery {
                until: key("a\0c"),
                after: key("a"),
                ..all.clone()
            },
            &["a\0", "a\0b"],
        ),
        (
            FactQuery {
                prefix: "a".into(),
                ..all.clone()
            },
            &["a", "a\0", "a\0b", "ab"],
        ),
        (
            FactQuery {
                prefix: "b".into(),
                after: key("a"),
                ..all.clone()
            },
            &["b", "b\u{7f}"],
        ),
        (
            FactQuery {
                prefix: "a".into(),
                after: key("b"),
                ..all.clone()
            },
            &[],
        ),
        (
            FactQuery {
                prefix: "x".into(),
                ..all.clone()
            },
            &[],
        ),
    ] {
        let found = subject.store().facts(query.clone()).await?;
        let found: Vec<Bytes> = found.into_iter().map(|fact| fact.key).collect();
        let wanted: Vec<Bytes> = wanted
            .iter()
            .map(|key| Bytes::from_static(key.as_bytes()))
            .collect();
        equal(format_args!("{query:?}"), found, wanted)?;
    }
    Ok(())
}

pub(super) async fn facts_of_a_refused_commit_are_not_set(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("refused")?;
    let append = subject
        .commit()
        .stream(stream, Expected::Exists, events(1))
        .record(fact(FactKind::CURSOR, "k", Some("v")));
    let refused = subject.append(append).await;
    ensure(refused.is_err(), format_args!("{refused:?}"))?;
    let key = Bytes::from_static(b"k");
    equal(
        "the fact",
        subject.store().fact(FactKind::CURSOR, key).await?,
        None,
    )
}

async fn set(
    subject: &Subject,
    kind: FactKind,
    key: &'static str,
    value: Option<&'static str>,
) -> Result<(), Violation> {
    let append = subject.commit().record(fact(kind, key, value));
    subject.append(append).await?;
    Ok(())
}

fn fact(kind: FactKind, key: &'static str, value: Option<&'static str>) -> SideRecord {
    SideRecord::Fact {
        kind,
        key: Bytes::from_static(key.as_bytes()),
        value: value.map(|text| Bytes::from_static(text.as_bytes())),
    }
}

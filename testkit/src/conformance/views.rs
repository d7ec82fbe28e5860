//! The contract of views.

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::{StoreError, ViewCheckpoint, ViewName, ViewRow};
use tokio::task::spawn_blocking;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account};

/// A value that an engine with pages has to cut into several.
const LARGE: &str = match std::str::from_utf8(&[b'x'; 30_000]) {
    Ok(text) => text,
    Err(_) => "",
};

pub(super) async fn rows_and_checkpoint_come_back(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 5).await?;
    let (view, store) = (view("balances", 1), subject.store());
    equal(
        "an unknown row",
        store.view_row(&view, key("a")).await?,
        None,
    )?;
    equal(
        "unknown generations",
        store.view_generations("balances").await?,
        vec![],
    )?;
    let first = vec![row("a", Some("one"), 1), row("b", Some(LARGE), 2)];
    store.write_view(&view, first, checkpoint(3)).await?;
    // A row may be ahead of the checkpoint, and its position says so.
    let second = vec![row("a", Some(""), 5), row("c", Some("three"), 4)];
    store
        .write_view(&view, second.clone(), checkpoint(4))
        .await?;
    let rows = store.view_rows(&view, None, usize::MAX).await?;
    equal(
        "rows",
        rows,
        vec![
            row("a", Some(""), 5),
            row("b", Some(LARGE), 2),
            row("c", Some("three"), 4),
        ],
    )?;
    equal(
        "one row",
        store.view_row(&view, key("b")).await?,
        Some(row("b", Some(LARGE), 2)),
    )?;
    for (name, wanted) in [("b", Some(row("b", Some(LARGE), 2))), ("z", None)] {
        let (store, view) = (subject.shared(), view.clone());
        let reading = spawn_blocking(move || store.view_row_blocking(&view, key(name)));
        let found = reading
            .await
            .map_err(|error| Violation::new(error.to_string()))?;
        equal("one row, read where it is wanted", found?, wanted)?;
    }
    // A checkpoint can move on alone.
    store.write_view(&view, Vec::new(), checkpoint(5)).await?;
    equal(
        "the checkpoint",
        store.view_generations("balances").await?,
        vec![(view, checkpoint(5))],
    )
}

pub(super) async fn generations_live_side_by_side(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 5).await?;
    let store = subject.store();
    for (name, generation) in [("orders", 2), ("orders", 1), ("order", 1), ("orders ", 1)] {
        let text = Bytes::from(format!("{name}{generation}"));
        let own = ViewRow {
            key: key("k"),
            value: Some(text),
            position: GlobalPosition::new(1),
        };
        let view = view(name, generation);
        store
            .write_view(&view, vec![own], checkpoint(generation))
            .await?;
    }
    equal(
        "generations",
        store.view_generations("orders").await?,
        vec![
            (view("orders", 1), checkpoint(1)),
            (view("orders", 2), checkpoint(2)),
        ],
    )?;
    for (name, generation) in [("orders", 1), ("orders", 2), ("order", 1), ("orders ", 1)] {
        let rows = store
            .view_rows(&view(name, generation), None, usize::MAX)
            .await?;
        let values: Vec<_> = rows.into_iter().filter_map(|row| row.value).collect();
        equal(
            format_args!("the rows of {name:?} {generation}"),
            values,
            vec![Bytes::from(format!("{name}{generation}"))],
        )?;
    }
    Ok(())
}

pub(super) async fn rows_are_paged_by_key(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 1).await?;
    let (view, store) = (view("paged", 1), subject.store());
    let mut keys: Vec<Bytes> = (0..300_u32)
        .map(|number| Bytes::from(number.to_be_bytes().to_vec()))
        .chain(["a", "a\0", "a\0b", "ab"].map(key))
        .chain([Bytes::from_static(&[0xff; 3]), Bytes::from_static(&[0xff])])
        .collect();
    let rows = keys.iter().rev().map(|key| ViewRow {
        key: key.clone(),
        value: Some(key.clone()),
        position: GlobalPosition::new(1),
    });
    store
        .write_view(&view, rows.collect(), checkpoint(1))
        .await?;
    keys.sort();
    for limit in [1, 7, usize::MAX] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.view_rows(&view, after.clone(), limit).await?;
            ensure(page.len() <= limit, "a page is too long")?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let right = page.iter().all(|row| row.value.as_ref() == Some(&row.key));
            ensure(right, "a row has the value of another")?;
            found.extend(page.into_iter().map(|row| row.key));
        }
        equal(
            format_args!("keys in pages of {limit}"),
            found,
            keys.clone(),
        )?;
    }
    equal(
        "a page of none",
        store.view_rows(&view, None, 0).await?,
        vec![],
    )
}

pub(super) async fn removed_rows_are_gone(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 3).await?;
    let (view, store) = (view("removed", 1), subject.store());
    let rows = vec![row("a", Some("one"), 1), row("b", Some("two"), 1)];
    store.write_view(&view, rows, checkpoint(1)).await?;
    // Removed ahead of the checkpoint: it must say so, or a replay would bring it back.
    let removed = row("a", None, 3);
    store
        .write_view(&view, vec![removed.clone()], checkpoint(2))
        .await?;
    equal(
        "the row, ahead of the checkpoint",
        store.view_row(&view, key("a")).await?,
        Some(removed),
    )?;
    let passed = vec![row("a", None, 3), row("never there", None, 3)];
    store.write_view(&view, passed, checkpoint(3)).await?;
    equal(
        "rows when the checkpoint has passed the removals",
        store.view_rows(&view, None, usize::MAX).await?,
        vec![row("b", Some("two"), 1)],
    )?;
    store
        .write_view(&view, vec![row("a", Some("back"), 3)], checkpoint(3))
        .await?;
    equal(
        "a row that came back",
        store.view_row(&view, key("a")).await?,
        Some(row("a", Some("back"), 3)),
    )
}

pub(super) async fn views_beyond_the_log_are_refused(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 2).await?;
    let (view, store) = (view("beyond", 1), subject.store());
    store
        .write_view(&view, vec![row("a", Some("one"), 1)], checkpoint(1))
        .await?;
    let ahead = vec![row("a", Some("from the future"), 3)];
    match store.write_view(&view, ahead, checkpoint(3)).await {
        Err(StoreError::BeyondLog { given, durable, .. }) => {
            equal("given and durable", (given, durable), (3, 2))?;
        }
        other => return Err(Violation::new(format_args!("{other:?}"))),
    }
    equal(
        "the row",
        store.view_row(&view, key("a")).await?,
        Some(row("a", Some("one"), 1)),
    )?;
    equal(
        "the checkpoint",
        store.view_generations("beyond").await?,
        vec![(view, checkpoint(1))],
    )
}

pub(super) async fn a_dropped_view_is_gone(subject: &Subject) -> Result<(), Violation> {
    subject.write(&account("alice")?, 2).await?;
    let store = subject.store();
    for generation in [1, 2] {
        let rows = vec![row("a", Some("one"), 1)];
        let view = view("dropped", generation);
        store.write_view(&view, rows, checkpoint(1)).await?;
    }
    let (old, new) = (view("dropped", 1), view("dropped", 2));
    store.drop_view(&old).await?;
    store.drop_view(&old).await?;
    equal(
        "generations",
        store.view_generations("dropped").await?,
        vec![(new.clone(), checkpoint(1))],
    )?;
    equal("its row", store.view_row(&old, key("a")).await?, None)?;
    equal(
        "its rows",
        store.view_rows(&old, None, usize::MAX).await?,
        vec![],
    )?;
    equal(
        "the rows of the other",
        store.view_rows(&new, None, usize::MAX).await?.len(),
        1,
    )
}

fn view(name: &str, generation: u64) -> ViewName {
    ViewName {
        name: name.into(),
        generation,
    }
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn row(name: &'static str, value: Option<&'static str>, position: u64) -> ViewRow {
    ViewRow {
        key: key(name),
        value: value.map(key),
        position: GlobalPosition::new(position),
    }
}

fn checkpoint(position: u64) -> ViewCheckpoint {
    ViewCheckpoint {
        position: GlobalPosition::new(position),
        fingerprint: u64::MAX - 1,
    }
}

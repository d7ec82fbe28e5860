//! Rows whose type changes, and nobody raises their version.

use chronicler_projections::{Projections, ProjectionsBuilder, TableHandlers, TableProjection};
use serde::{Deserialize, Serialize};

use crate::world::{Account, AccountEvent, World};

/// One release of a table that counts what came in and how often.
macro_rules! release {
    ($name:ident { $($field:ident: $type:ty = $fold:expr;)* }) => {
        mod $name {
            use super::*;

            pub(super) struct Counted;

            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            pub(super) struct Row { $(#[serde(default)] pub(super) $field: $type),* }

            impl TableProjection for Counted {
                const NAME: &'static str = "counted";
                type Row = Row;

                fn define(on: &mut TableHandlers<Self>) {
                    on.events::<Account>(|table, event, info| {
                        let AccountEvent::Deposited { cents } = event else { return };
                        table.update(info.id(), |row| {
                            let mut row = row.unwrap_or_default();
                            $({
                                let fold: fn(&mut $type, u64) = $fold;
                                fold(&mut row.$field, cents.unsigned_abs());
                            })*
                            Some(row)
                        });
                    });
                }
            }
        }
    };
}

release!(first {
    cents: u64 = |sum, cents| *sum += cents;
    events: u64 = |count, _| *count += 1;
});
release!(swapped {
    events: u64 = |count, _| *count += 1;
    cents: u64 = |sum, cents| *sum += cents;
});
release!(added {
    cents: u64 = |sum, cents| *sum += cents;
    events: u64 = |count, _| *count += 1;
    largest: Option<u64> = |largest, cents| *largest = (*largest).max(Some(cents));
});

async fn row<T: TableProjection>(world: &World, projections: &Projections) -> T::Row {
    let table = projections.table::<T>().unwrap();
    let head = world.runtime.head().position;
    table.at_least(head).await.unwrap();
    table.get("a").await.unwrap().unwrap()
}

#[tokio::test]
async fn c2_rows_of_another_shape_are_built_again() {
    let world = World::new().await;
    for cents in [700, 50] {
        world.deposit("a", cents).await;
    }
    let projections = world
        .start(ProjectionsBuilder::new().table::<first::Counted>())
        .await;
    let expected = first::Row {
        cents: 750,
        events: 2,
    };
    assert_eq!(row::<first::Counted>(&world, &projections).await, expected);
    projections.stop().await;

    let world = World::over(world.store.clone()).await;
    let projections = world
        .start(ProjectionsBuilder::new().table::<swapped::Counted>())
        .await;
    let expected = swapped::Row {
        cents: 750,
        events: 2,
    };
    assert_eq!(
        row::<swapped::Counted>(&world, &projections).await,
        expected
    );
    projections.stop().await;

    let world = World::over(world.store.clone()).await;
    let projections = world
        .start(ProjectionsBuilder::new().table::<added::Counted>())
        .await;
    let expected = added::Row {
        cents: 750,
        events: 2,
        largest: Some(700),
    };
    assert_eq!(row::<added::Counted>(&world, &projections).await, expected);
    world.deposit("a", 9).await;
    let expected = added::Row {
        cents: 759,
        events: 3,
        largest: Some(700),
    };
    assert_eq!(row::<added::Counted>(&world, &projections).await, expected);
    projections.stop().await;
}

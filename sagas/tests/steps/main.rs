//! The step language over a store in memory and a clock that is turned by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

/// The beginning of a saga that begins with nothing, where the part of its id does.
macro_rules! begins_where_its_part_does {
    () => {
        type Start = ();

        fn routes(on: &mut chronicler_sagas::Routes<chronicler_sagas::steps::Steps<Self>>) {
            crate::world::start_where_it_begins(on);
        }

        fn begin(_: &chronicler_sagas::Input) -> Option<()> {
            Some(())
        }
    };
}

mod alternatives;
mod approval;
mod branches;
mod changed_types;
mod children;
mod clock;
mod journey;
mod parts;
mod providers;
mod several;
mod vectors;
mod verbs;
mod versions;
mod world;

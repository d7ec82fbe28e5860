//! The step language over a store in memory and a clock that is turned by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

/// Types that are keys of steps: name, id, output.
macro_rules! keys {
    ($($key:ident = $id:literal -> $output:ty;)*) => {$(
        #[derive(Clone, Copy)]
        struct $key;
        impl chronicler_sagas::steps::StepKey for $key {
            const ID: &'static str = $id;
            type Output = $output;
        }
    )*};
}

mod alternatives;
mod approval;
mod branches;
mod children;
mod journey;
mod parts;
mod providers;
mod vectors;
mod verbs;
mod versions;
mod world;

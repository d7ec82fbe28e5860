//! Noticing that the definition of a step saga has changed.

/// Holds the definition of a step saga to its fingerprint: the test fails for whoever changes the steps, and says what
/// to think of. Put the new number in when instances that are open have been thought of.
///
/// # Panics
/// When the definition has another fingerprint, with that and its steps.
///
/// ```
/// use chronicler_domain::{Aggregate, Context, Decided, Event, Never};
/// use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepKey, StepSaga, Steps};
/// use chronicler_sagas::{Input, Routes};
///
/// #[derive(Clone, Copy)]
/// struct Sure;
/// impl StepKey for Sure {
///     const ID: &'static str = "sure";
///     type Output = ();
/// }
/// struct Nothing;
/// impl StepSaga for Nothing {
///     const NAME: &'static str = "nothing";
///     type Start = ();
///     fn routes(_: &mut Routes<Steps<Self>>) {}
///     fn begin(_: &Input) -> Option<()> { Some(()) }
///     fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
///         steps.pivot_here(Sure).build()
///     }
/// }
///
/// chronicler_testkit::assert_fingerprint!(Nothing, 0x4943_f15b_53bb_d204);
/// ```
#[macro_export]
macro_rules! assert_fingerprint {
    ($saga:ty, $fingerprint:expr) => {
        $crate::hold_fingerprint::<$saga>($fingerprint)
    };
}

/// What [`assert_fingerprint!`](crate::assert_fingerprint) does.
///
/// # Panics
/// When the definition has another fingerprint.
#[track_caller]
pub fn hold_fingerprint<S: chronicler_sagas::steps::StepSaga>(expected: u64) {
    let saga = chronicler_sagas::steps::Steps::<S>::of();
    let definition = saga.definition();
    let (found, steps) = (definition.fingerprint(), definition.steps());
    assert!(
        found == expected,
        "the steps of saga {:?} have changed: their fingerprint is {found:#018x} and was {expected:#018x}. They are {:?}. \
         Instances that are open began under the old ones: name the old definition in `StepSaga::older`, and they end \
         under it, or say in `StepSaga::migrate` how they come to the new one; else each is quarantined at its next \
         input. Give changed outputs another `StepKey::VERSION`. \
         If that has been thought of, put the new fingerprint here.",
        S::NAME,
        steps.collect::<Vec<_>>()
    );
}

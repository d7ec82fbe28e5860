//! Before and after the point of no return, as types.

use chronicler_domain::Never;

/// Everything so far can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Compensable;

/// The saga only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Pivoted;

/// On a branch of a fork before the pivot, where the pivot cannot be.
#[derive(Clone, Copy, Debug)]
pub struct Branched;

/// What the branches of a fork are in.
pub trait Phase {
    /// The phase of a branch.
    type Branch: Phase;
}

impl Phase for Compensable {
    type Branch = Branched;
}

impl Phase for Branched {
    type Branch = Self;
}

impl Phase for Pivoted {
    type Branch = Self;
}

/// A phase in which the pivot can come.
#[diagnostic::on_unimplemented(
    message = "the pivot cannot be here: it lies on a branch, or another is before it",
    label = "no pivot here",
    note = "a saga has one pivot, which decides for all its branches: put it behind the fork"
)]
pub trait MayPivot {}

impl MayPivot for Compensable {}

/// A phase in which steps may be refused, and can be taken back.
#[diagnostic::on_unimplemented(
    message = "this step comes after the pivot, where nothing can be taken back",
    label = "after the pivot",
    note = "put it before the pivot, or use `then` with a command that cannot be rejected"
)]
pub trait BeforePivot {}

/// A phase in which the saga only goes forward.
#[diagnostic::on_unimplemented(
    message = "this saga has no pivot: nothing says from where on it is carried through",
    label = "no pivot before this",
    note = "make the step that decides it the pivot with `pivot`, or say `pivot_here` behind the last that can fail"
)]
pub trait AfterPivot {}

impl BeforePivot for Compensable {}
impl BeforePivot for Branched {}
impl AfterPivot for Pivoted {}

/// The rejection of an aggregate that rejects nothing.
#[diagnostic::on_unimplemented(
    message = "this command can be rejected with `{Self}`, and nothing can be taken back after the pivot",
    label = "it can be rejected",
    note = "the aggregate's `Rejection` must be `Never`, or the aggregate says with `Certain` that it never refuses this command, which is then sent with `surely`; a command that can be rejected belongs before the pivot, or is the pivot"
)]
pub trait NeverHappens {}

impl NeverHappens for Never {}

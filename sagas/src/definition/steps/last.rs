//! The kind of the step just written, as a type: by it the compiler knows what can be said of the step.

use std::marker::PhantomData;

/// Nothing leaves the saga with it.
#[derive(Clone, Copy, Debug)]
pub struct Still;

/// A command, or several at once; `R` is why they are refused.
#[derive(Clone, Copy, Debug)]
pub struct Sent<R>(PhantomData<fn() -> R>);

/// A call that leaves the process; `R` is why it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Called<R>(PhantomData<fn() -> R>);

/// Several such calls at once.
#[derive(Clone, Copy, Debug)]
pub struct CalledEach<R>(PhantomData<fn() -> R>);

/// Another saga.
#[derive(Clone, Copy, Debug)]
pub struct Begun;

/// The pivot.
#[derive(Clone, Copy, Debug)]
pub struct Decisive;

/// A command that cannot be refused.
#[derive(Clone, Copy, Debug)]
pub struct Certainly;

/// A fork, whose branches have said everything.
#[derive(Clone, Copy, Debug)]
pub struct Forked;

/// A step of which it can be said how long it may take.
#[diagnostic::on_unimplemented(
    message = "there is no step just before this that it could be said of",
    note = "say it right behind the step, on its branch"
)]
pub trait AStep {}

/// A step that does something outside of the saga.
#[diagnostic::on_unimplemented(
    message = "the step just before this sends nothing",
    note = "say it right behind the command, call or child that it is about"
)]
pub trait Sends: AStep {}

/// A step that can occupy a resource: a command or call while it is under way, a child until it ends.
#[diagnostic::on_unimplemented(
    message = "the step just before this occupies nothing that could be shared",
    note = "say it right after a command, call or child"
)]
pub trait Occupies: Sends {}

impl<R> Occupies for Sent<R> {}
impl<R> Occupies for Called<R> {}
impl<R> Occupies for CalledEach<R> {}
impl Occupies for Begun {}
impl Occupies for Decisive {}
impl Occupies for Certainly {}

/// A step that can be left out.
#[diagnostic::on_unimplemented(
    message = "the step just before this cannot be left out",
    note = "the pivot decides for the whole saga, and is always taken"
)]
pub trait CanBeSkipped: AStep {}

/// A step that can be refused, and tried in another way.
#[diagnostic::on_unimplemented(
    message = "the step just before this cannot be refused, or not be tried in another way",
    note = "say `or_else` right behind a command or call before the pivot"
)]
pub trait CanBeRefused: Sends {
    /// Why it is refused.
    type Rejection;
}

impl AStep for Still {}
impl<R> AStep for Sent<R> {}
impl<R> AStep for Called<R> {}
impl<R> AStep for CalledEach<R> {}
impl AStep for Begun {}
impl AStep for Decisive {}
impl AStep for Certainly {}

impl<R> Sends for Sent<R> {}
impl<R> Sends for Called<R> {}
impl<R> Sends for CalledEach<R> {}
impl Sends for Begun {}
impl Sends for Decisive {}
impl Sends for Certainly {}

impl CanBeSkipped for Still {}
impl<R> CanBeSkipped for Sent<R> {}
impl<R> CanBeSkipped for Called<R> {}
impl<R> CanBeSkipped for CalledEach<R> {}
impl CanBeSkipped for Begun {}
impl CanBeSkipped for Certainly {}

impl<R> CanBeRefused for Sent<R> {
    type Rejection = R;
}
impl<R> CanBeRefused for Called<R> {
    type Rejection = R;
}
impl<R> CanBeRefused for CalledEach<R> {
    type Rejection = R;
}

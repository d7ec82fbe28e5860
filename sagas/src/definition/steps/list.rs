//! The list of the steps that have run, as a type.

use std::marker::PhantomData;
use std::sync::Arc;

use chronicler_store::codec::CodecError;

use super::key::StepKey;
use super::outputs::Outputs;

/// No step has run.
#[derive(Clone, Copy, Debug)]
pub struct Nil;

/// The step of this key has run, after those of the list.
#[derive(Clone, Copy, Debug)]
pub struct Ran<K, T>(PhantomData<fn() -> (K, T)>);

/// The step of this key has run if its condition held, after those of the list.
#[derive(Clone, Copy, Debug)]
pub struct Perhaps<K, T>(PhantomData<fn() -> (K, T)>);

/// The step is the last of the list.
#[derive(Clone, Copy, Debug)]
pub struct Here;

/// The step is further down.
#[derive(Clone, Copy, Debug)]
pub struct There<At>(PhantomData<fn() -> At>);

/// The steps that have run before a fork, as its other branches see them.
#[derive(Clone, Copy, Debug)]
pub struct Before<L>(PhantomData<fn() -> L>);

/// The branches of a fork have both run.
#[derive(Clone, Copy, Debug)]
pub struct Both<L, R>(PhantomData<fn() -> (L, R)>);

/// The step is on the left branch, or before the fork.
#[derive(Clone, Copy, Debug)]
pub struct OnLeft<At>(PhantomData<fn() -> At>);

/// The step is on the right branch.
#[derive(Clone, Copy, Debug)]
pub struct OnRight<At>(PhantomData<fn() -> At>);

/// Steps that have run.
pub trait StepList: 'static {
    /// What they gave.
    type Values;

    #[doc(hidden)]
    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError>;
}

impl StepList for Nil {
    type Values = ();

    fn read(_: &Outputs) -> Result<(), CodecError> {
        Ok(())
    }
}

impl<K: StepKey, T: StepList> StepList for Ran<K, T> {
    type Values = (Arc<K::Output>, T::Values);

    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError> {
        Ok((ran::<K>(outputs)?, T::read(outputs)?))
    }
}

impl<K: StepKey, T: StepList> StepList for Perhaps<K, T> {
    type Values = (Option<Arc<K::Output>>, T::Values);

    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError> {
        Ok((output::<K>(outputs)?, T::read(outputs)?))
    }
}

fn ran<K: StepKey>(outputs: &Outputs) -> Result<Arc<K::Output>, CodecError> {
    output::<K>(outputs)?.ok_or_else(|| CodecError::Undecodable {
        type_name: K::ID,
        reason: "the step has not run".to_owned(),
    })
}

fn output<K: StepKey>(outputs: &Outputs) -> Result<Option<Arc<K::Output>>, CodecError> {
    outputs.read(K::ID)
}

impl<L: StepList> StepList for Before<L> {
    type Values = L::Values;

    fn read(outputs: &Outputs) -> Result<L::Values, CodecError> {
        L::read(outputs)
    }
}

impl<L: StepList, R: Branch> StepList for Both<L, R> {
    type Values = (L::Values, R::Own);

    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError> {
        Ok((L::read(outputs)?, R::read_own(outputs)?))
    }
}

/// A list that ends with a step.
pub trait Latest: StepList {
    /// The steps before it.
    type Before: StepList;
}

impl<K: StepKey, T: StepList> Latest for Ran<K, T> {
    type Before = T;
}

impl<K: StepKey, T: StepList> Latest for Perhaps<K, T> {
    type Before = T;
}

/// Steps of a right branch, without those before its fork.
pub trait Branch: StepList {
    /// What they gave.
    type Own;

    #[doc(hidden)]
    fn read_own(outputs: &Outputs) -> Result<Self::Own, CodecError>;
}

impl<L: StepList> Branch for Before<L> {
    type Own = ();

    fn read_own(_: &Outputs) -> Result<(), CodecError> {
        Ok(())
    }
}

impl<K: StepKey, T: Branch> Branch for Ran<K, T> {
    type Own = (Arc<K::Output>, T::Own);

    fn read_own(outputs: &Outputs) -> Result<Self::Own, CodecError> {
        Ok((ran::<K>(outputs)?, T::read_own(outputs)?))
    }
}

impl<K: StepKey, T: Branch> Branch for Perhaps<K, T> {
    type Own = (Option<Arc<K::Output>>, T::Own);

    fn read_own(outputs: &Outputs) -> Result<Self::Own, CodecError> {
        Ok((output::<K>(outputs)?, T::read_own(outputs)?))
    }
}

impl<L: Branch, R: Branch> Branch for Both<L, R> {
    type Own = (L::Own, R::Own);

    fn read_own(outputs: &Outputs) -> Result<Self::Own, CodecError> {
        Ok((L::read_own(outputs)?, R::read_own(outputs)?))
    }
}

/// A list in which a step has run for sure.
#[diagnostic::on_unimplemented(
    message = "this step has not run by now, or only if its condition held",
    label = "its output is read here",
    note = "a step sees the outputs of the steps before it; those under a condition with `output_if_run`"
)]
pub trait HasRun<K: StepKey, At>: StepList {
    #[doc(hidden)]
    fn value(values: &Self::Values) -> &K::Output;
}

impl<K: StepKey, T: StepList> HasRun<K, Here> for Ran<K, T> {
    fn value(values: &Self::Values) -> &K::Output {
        &values.0
    }
}

impl<K: StepKey, O: StepKey, T: HasRun<K, At>, At> HasRun<K, There<At>> for Ran<O, T> {
    fn value(values: &Self::Values) -> &K::Output {
        T::value(&values.1)
    }
}

impl<K: StepKey, O: StepKey, T: HasRun<K, At>, At> HasRun<K, There<At>> for Perhaps<O, T> {
    fn value(values: &Self::Values) -> &K::Output {
        T::value(&values.1)
    }
}

impl<K: StepKey, L: HasRun<K, At>, At> HasRun<K, There<At>> for Before<L> {
    fn value(values: &Self::Values) -> &K::Output {
        L::value(values)
    }
}

impl<K: StepKey, L: HasRun<K, At>, R: Branch, At> HasRun<K, OnLeft<At>> for Both<L, R> {
    fn value(values: &Self::Values) -> &K::Output {
        L::value(&values.0)
    }
}

impl<K: StepKey, L: StepList, R: RanOn<K, At>, At> HasRun<K, OnRight<At>> for Both<L, R> {
    fn value(values: &Self::Values) -> &K::Output {
        R::own(&values.1)
    }
}

/// A right branch on which a step has run for sure.
pub trait RanOn<K: StepKey, At>: Branch {
    #[doc(hidden)]
    fn own(values: &Self::Own) -> &K::Output;
}

impl<K: StepKey, T: Branch> RanOn<K, Here> for Ran<K, T> {
    fn own(values: &Self::Own) -> &K::Output {
        &values.0
    }
}

impl<K: StepKey, O: StepKey, T: RanOn<K, At>, At> RanOn<K, There<At>> for Ran<O, T> {
    fn own(values: &Self::Own) -> &K::Output {
        T::own(&values.1)
    }
}

impl<K: StepKey, O: StepKey, T: RanOn<K, At>, At> RanOn<K, There<At>> for Perhaps<O, T> {
    fn own(values: &Self::Own) -> &K::Output {
        T::own(&values.1)
    }
}

impl<K: StepKey, L: RanOn<K, At>, R: Branch, At> RanOn<K, OnLeft<At>> for Both<L, R> {
    fn own(values: &Self::Own) -> &K::Output {
        L::own(&values.0)
    }
}

impl<K: StepKey, L: Branch, R: RanOn<K, At>, At> RanOn<K, OnRight<At>> for Both<L, R> {
    fn own(values: &Self::Own) -> &K::Output {
        R::own(&values.1)
    }
}

/// A list in which a step has run if its condition held.
#[diagnostic::on_unimplemented(
    message = "there is no such step under a condition by now",
    label = "its output is read here",
    note = "a step sees the outputs of the steps before it; those that always run with `output`"
)]
pub trait MayHaveRun<K: StepKey, At>: StepList {
    #[doc(hidden)]
    fn value_if_run(values: &Self::Values) -> Option<&K::Output>;
}

impl<K: StepKey, T: StepList> MayHaveRun<K, Here> for Perhaps<K, T> {
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        values.0.as_deref()
    }
}

impl<K: StepKey, O: StepKey, T: MayHaveRun<K, At>, At> MayHaveRun<K, There<At>> for Ran<O, T> {
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        T::value_if_run(&values.1)
    }
}

impl<K: StepKey, O: StepKey, T: MayHaveRun<K, At>, At> MayHaveRun<K, There<At>> for Perhaps<O, T> {
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        T::value_if_run(&values.1)
    }
}

impl<K: StepKey, L: MayHaveRun<K, At>, At> MayHaveRun<K, There<At>> for Before<L> {
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        L::value_if_run(values)
    }
}

impl<K: StepKey, L: MayHaveRun<K, At>, R: Branch, At> MayHaveRun<K, OnLeft<At>> for Both<L, R> {
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        L::value_if_run(&values.0)
    }
}

impl<K: StepKey, L: StepList, R: MayHaveRunOn<K, At>, At> MayHaveRun<K, OnRight<At>>
    for Both<L, R>
{
    fn value_if_run(values: &Self::Values) -> Option<&K::Output> {
        R::own_if_run(&values.1)
    }
}

/// A right branch on which a step has run if its condition held.
pub trait MayHaveRunOn<K: StepKey, At>: Branch {
    #[doc(hidden)]
    fn own_if_run(values: &Self::Own) -> Option<&K::Output>;
}

impl<K: StepKey, T: Branch> MayHaveRunOn<K, Here> for Perhaps<K, T> {
    fn own_if_run(values: &Self::Own) -> Option<&K::Output> {
        values.0.as_deref()
    }
}

impl<K: StepKey, O: StepKey, T: MayHaveRunOn<K, At>, At> MayHaveRunOn<K, There<At>> for Ran<O, T> {
    fn own_if_run(values: &Self::Own) -> Option<&K::Output> {
        T::own_if_run(&values.1)
    }
}

impl<K: StepKey, O: StepKey, T: MayHaveRunOn<K, At>, At> MayHaveRunOn<K, There<At>>
    for Perhaps<O, T>
{
    fn own_if_run(values: &Self::Own) -> Option<&K::Output> {
        T::own_if_run(&values.1)
    }
}

impl<K: StepKey, L: MayHaveRunOn<K, At>, R: Branch, At> MayHaveRunOn<K, OnLeft<At>> for Both<L, R> {
    fn own_if_run(values: &Self::Own) -> Option<&K::Output> {
        L::own_if_run(&values.0)
    }
}

impl<K: StepKey, L: Branch, R: MayHaveRunOn<K, At>, At> MayHaveRunOn<K, OnRight<At>>
    for Both<L, R>
{
    fn own_if_run(values: &Self::Own) -> Option<&K::Output> {
        R::own_if_run(&values.1)
    }
}

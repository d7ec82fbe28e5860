//! Which steps have run, as a type.

use std::marker::PhantomData;

use chronicler_store::codec::{CodecError, CodecId, decode};

use super::key::StepKey;
use super::state::Outputs;

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
    type Values = (K::Output, T::Values);

    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError> {
        let output = output::<K>(outputs)?.ok_or_else(|| CodecError::Undecodable {
            type_name: K::ID,
            reason: "the step has not run".to_owned(),
        })?;
        Ok((output, T::read(outputs)?))
    }
}

impl<K: StepKey, T: StepList> StepList for Perhaps<K, T> {
    type Values = (Option<K::Output>, T::Values);

    fn read(outputs: &Outputs) -> Result<Self::Values, CodecError> {
        Ok((output::<K>(outputs)?, T::read(outputs)?))
    }
}

fn output<K: StepKey>(outputs: &Outputs) -> Result<Option<K::Output>, CodecError> {
    let stored = outputs.get(K::ID);
    stored
        .map(|(codec, payload)| decode(CodecId::new(*codec), payload))
        .transpose()
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
        values.0.as_ref()
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

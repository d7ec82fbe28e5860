//! The file operations that the journal uses, behind a trait so that tests can make them fail.

mod real;
#[cfg(test)]
pub(crate) mod simulated;
mod storage;
#[cfg(test)]
pub(crate) mod watched;

pub(crate) use real::RealStorage;
pub(crate) use storage::{Created, OpenMode, Storage, StorageFile, create_folders};

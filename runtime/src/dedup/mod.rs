//! What an instance remembers of commands that must not take effect twice.

mod identity;
mod image;
mod index;
mod memory;
mod outcome;
mod rules;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use identity::Identity;
pub(crate) use image::MemoryImage;
pub(crate) use memory::Memory;
pub(crate) use outcome::{Place, Remembered};
pub(crate) use rules::Rules;
pub(crate) use run::{Entry, OpenRun, Run, Span};

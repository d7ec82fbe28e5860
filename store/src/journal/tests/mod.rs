//! The journal tried as a whole, on real files and on files that fail.

mod basic;
mod support;

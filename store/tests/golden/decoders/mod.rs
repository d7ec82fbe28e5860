//! The decoders of frames and segments, given any bytes: they read them or say what is wrong, and never panic. Used by
//! the tests here on mutated golden bytes, and by the fuzzer in `store/fuzz`, each of whose targets takes what it needs.

pub(crate) mod frame;
pub(crate) mod look;
pub(crate) mod segment;

//! The binary `chronicler`: the command line without knowledge of an application's types.

use std::process::ExitCode;

use chronicler_tools::SelfDescribing;

fn main() -> ExitCode {
    chronicler_tools::main(&SelfDescribing).into()
}

//! From arguments to an exit code.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use chronicler::operator::OperatorVerb;
use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Verb};
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::payload::Payloads;
use crate::{
    backup, events, export, import, operate, rebuild, repair, restore, sagas, stat, streams, tail,
    verify,
};

/// How much is printed at once: more than a pipe holds.
const OUTPUT_BYTES: usize = 128 << 10;

/// Runs the command that the process was started with, and prints to its standard output.
pub fn main(payloads: &dyn Payloads) -> Exit {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, std::io::stdout().lock());
    run(std::env::args_os(), &mut out, payloads)
}

/// Runs the command that `args` say (the first is the name of the program), and prints to `out`. Errors go to
/// standard error.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    payloads: &dyn Payloads,
) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way, too. If they cannot be printed there is nobody to tell.
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let mut output = Output::new(out, cli.json);
    let done = perform(cli.verb, &mut output, payloads);
    match done.and_then(|exit| output.flush().map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) if error.is_reader_gone() => Exit::Done,
        Err(error) => {
            tell(&error, cli.json);
            // What was printed before the error is worth having.
            drop(output.flush());
            error.exit()
        }
    }
}

fn perform(verb: Verb, out: &mut Output<'_>, payloads: &dyn Payloads) -> Result<Exit, ToolError> {
    match verb {
        Verb::Verify { dir } => verify::verify(&dir, out),
        Verb::Stat { dir, counts } => stat::stat(&dir, counts, out),
        Verb::Streams(arguments) => streams::streams(&arguments, out),
        Verb::Events(arguments) => events::events(&arguments, out, payloads),
        Verb::Tail(arguments) => tail::tail(&arguments, out, payloads, || true),
        Verb::Backup { dir, dest } => backup::backup(&dir, &dest, out),
        Verb::Restore { backup, dir } => restore::restore(&backup, &dir, out),
        Verb::Export { dir, file } => export::export(&dir, file.as_deref(), out),
        Verb::Import { dir, file } => import::import(&dir, file.as_deref(), out),
        Verb::Repair { dir, yes } => repair::repair(&dir, yes, out),
        Verb::RebuildIndex { dir } => rebuild::rebuild(&dir, out),
        Verb::Status { dir } => operate::status(&dir, out),
        Verb::Release {
            dir,
            stream,
            reason,
        } => {
            let stream = stream.to_string();
            operate::change(&dir, OperatorVerb::Release { stream }, reason, out)
        }
        Verb::Saga { command } => sagas::perform(command, out),
        Verb::RebuildView {
            dir,
            projection,
            reason,
        } => operate::change(&dir, OperatorVerb::RebuildView { projection }, reason, out),
        Verb::Parked { dir, consumer } => operate::parked(&dir, consumer, out),
        Verb::RetryParked {
            dir,
            consumer,
            which,
            reason,
        } => {
            let which = which.into();
            operate::change(
                &dir,
                OperatorVerb::RetryParked { consumer, which },
                reason,
                out,
            )
        }
        Verb::DropParked {
            dir,
            consumer,
            which,
            reason,
        } => {
            let which = which.into();
            operate::change(
                &dir,
                OperatorVerb::DropParked { consumer, which },
                reason,
                out,
            )
        }
        Verb::ForgetSubscription {
            dir,
            subscription,
            reason,
        } => {
            let verb = OperatorVerb::ForgetSubscription { subscription };
            operate::change(&dir, verb, reason, out)
        }
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chronicler", &mut script);
            out.raw(&script)?;
            Ok(Exit::Done)
        }
    }
}

fn tell(error: &ToolError, json: bool) {
    if json {
        let exit = error.exit() as u8;
        eprintln!(
            "{}",
            serde_json::json!({ "error": error.to_string(), "exit": exit })
        );
    } else {
        eprintln!("chronicler: {error}");
    }
}

//! A process of its own that appends until it cannot any more, and says what it was answered.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use chronicler_store::{EventLog, Health};

use crate::commits::{commit, numbers, open};

const DATA: &str = "CHRONICLER_CHILD_DATA";
const BYTES: &str = "CHRONICLER_CHILD_BYTES";
/// Commits under way at a time.
const UNDER_WAY: usize = 64;

/// What the process says, line by line.
pub(crate) struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it through a shell, which first does what is to be done before.
    pub(crate) fn start(data: &Path, event_bytes: usize, before: &str) -> Self {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{before} exec \"$0\" --exact process::appends --ignored --nocapture"
            ))
            .arg(std::env::current_exe().unwrap())
            .env(DATA, data)
            .env(BYTES, event_bytes.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that begins with this word, without it; `None` at the end.
    pub(crate) fn next(&mut self, word: &str) -> Option<String> {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
    }

    /// Kills it, and reads what it had said before.
    pub(crate) fn kill(mut self, word: &str) -> Vec<u64> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next(word));
        let said = rest.filter_map(|number| number.parse().ok()).collect();
        self.child.wait().unwrap();
        said
    }

    pub(crate) fn end(mut self) {
        while self.lines.next().is_some() {}
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
#[ignore = "the process that other tests start, and kill"]
fn appends() {
    let data = std::env::var_os(DATA).unwrap();
    let bytes = std::env::var(BYTES).unwrap().parse().unwrap();
    let store = Arc::new(open(Path::new(&data)).unwrap());
    let first = store.head().sequence.get() + 1;
    let (answer, answers) = sync_channel(UNDER_WAY);
    let mut under_way = 0;
    for number in first.. {
        let answer = answer.clone();
        // Never full: there are no more under way than it has room for.
        let done = move |result| answer.try_send((number, result)).unwrap();
        store.submit(commit(number, bytes), Box::new(done));
        under_way += 1;
        if under_way < UNDER_WAY {
            continue;
        }
        let (number, result) = answers.recv().unwrap();
        under_way -= 1;
        match result {
            Ok(_) => say(format_args!("answered {number}")),
            Err(error) => {
                say(format_args!("failed {error}"));
                break;
            }
        }
    }
    for (number, result) in answers.iter().take(under_way) {
        if result.is_ok() {
            say(format_args!("answered {number}"));
        }
    }
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    match runtime.block_on(numbers(store.as_ref())) {
        Ok(found) => say(format_args!("read {}", found.len())),
        Err(error) => say(format_args!("unreadable {error}")),
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

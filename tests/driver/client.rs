//! The other end of the driver's pipes.
#![allow(dead_code, reason = "each test uses some of it")]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::Pid;
use serde_json::{Value, json};

/// Something that a driver says.
pub(crate) enum Said {
    /// To which request, and what.
    Answer(u64, Result<Value, Value>),
    /// Of which subscription, and the event.
    Push(String, Value),
}

/// A running driver.
pub(crate) struct Client {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    last: u64,
}

impl Client {
    /// Starts a driver and opens a directory.
    pub(crate) fn open(dir: &Path) -> Self {
        let (client, opened) = Self::start(dir, &[], json!({}));
        assert!(matches!(opened, Some(Ok(_))), "{opened:?}");
        client
    }

    /// Starts a driver with variables in its environment and opens a directory; the answer, unless it died.
    pub(crate) fn start(
        dir: &Path,
        variables: &[(&str, &str)],
        options: Value,
    ) -> (Self, Option<Result<Value, Value>>) {
        Self::start_as(Command::new(program()), dir, variables, options)
    }

    /// Starts a driver through another program, or none, and opens a directory.
    pub(crate) fn start_through(
        through: &[&str],
        dir: &Path,
        options: Value,
    ) -> (Self, Option<Result<Value, Value>>) {
        let command = match through.split_first() {
            None => Command::new(program()),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program());
                command
            }
        };
        Self::start_as(command, dir, &[], options)
    }

    /// Starts a driver in some way, and opens a directory.
    fn start_as(
        mut command: Command,
        dir: &Path,
        variables: &[(&str, &str)],
        options: Value,
    ) -> (Self, Option<Result<Value, Value>>) {
        let mut child = command
            .env("RUST_BACKTRACE", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut client = Self {
            input: BufWriter::new(child.stdin.take().unwrap()),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            last: 0,
        };
        let mut open = options;
        open["dir"] = json!(dir);
        client.send("open", open);
        let opened = client.next_unless_dead().map(|(_, answer)| answer);
        (client, opened)
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a request; its id.
    pub(crate) fn send(&mut self, op: &str, fields: Value) -> u64 {
        self.last += 1;
        let mut request = fields;
        request["id"] = self.last.into();
        request["op"] = op.into();
        // A process that is dead gives no answer, and that is where it is noticed.
        drop(writeln!(self.input, "{request}").and_then(|()| self.input.flush()));
        self.last
    }

    /// The next answer: to which request, and what.
    pub(crate) fn next(&mut self) -> (u64, Result<Value, Value>) {
        self.next_unless_dead().expect("the process is alive")
    }

    /// The next answer; `None` once the process is dead and everything it said was read.
    pub(crate) fn next_unless_dead(&mut self) -> Option<(u64, Result<Value, Value>)> {
        match self.hear()? {
            Said::Answer(id, answer) => Some((id, answer)),
            Said::Push(sub, event) => panic!("nobody expected {event} of {sub}"),
        }
    }

    /// What it says next; `None` once the process is dead and everything it said was read.
    pub(crate) fn hear(&mut self) -> Option<Said> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        // Half a line was never said.
        line.ends_with('\n').then_some(())?;
        let mut said: Value = serde_json::from_str(&line).unwrap();
        if let Some(sub) = said["sub"].as_str() {
            return Some(Said::Push(sub.to_owned(), said["event"].clone()));
        }
        let id = said["id"].as_u64().unwrap();
        let answer = match said.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => Err(said["err"].take()),
        };
        Some(Said::Answer(id, answer))
    }

    /// Sends a request and waits for its answer; nothing else may be under way.
    pub(crate) fn call(&mut self, op: &str, fields: Value) -> Result<Value, Value> {
        let id = self.send(op, fields);
        let (answered, answer) = self.next();
        assert_eq!(answered, id);
        answer
    }

    /// Asks for a view as it is once everything that is durable by now is in it.
    pub(crate) fn view(&mut self, op: &str, projection: &str) -> Value {
        let progress = self
            .call("progress", json!({ "proj": projection }))
            .unwrap();
        let read = json!({ "proj": projection, "min_pos": progress["head"] });
        self.call(op, read).unwrap()
    }

    /// Builds a view anew, and holds it against what it was.
    pub(crate) fn check_rebuild(&mut self, projection: &str) {
        loop {
            let before = self.view("digest", projection);
            let name = json!({ "proj": projection });
            self.call("rebuild", name).unwrap();
            let after = self.view("digest", projection);
            // Sagas go on meanwhile: only what is as of one position is the same.
            if before["pos"] == after["pos"] {
                assert_eq!(before, after, "a view that was built anew differs");
                return;
            }
        }
    }

    /// SIGKILL: nothing of the process has a say in it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The end of its input, which is a clean one.
    pub(crate) fn end(self) {
        assert!(self.ends_well());
    }

    /// The end of its input; whether it came to its own end.
    pub(crate) fn ends_well(self) -> bool {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        child.wait().unwrap().success()
    }
}

/// The driver `esdrv` with its crash points armed, built as this test was, in a file of its own: `target/*/esdrv` is what
/// anybody builds there.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().unwrap().parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["test", "--no-run", "--quiet", "--bin", "esdrv"]);
        build.args(["--features", "chronicler-store/test-points"]);
        build.args(["--message-format", "json"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the driver does not build");
        let told = String::from_utf8(built.stdout).unwrap();
        let told = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut built = told.filter(|told| told["target"]["name"] == "esdrv");
        let program = built.find_map(|told| told["executable"].as_str().map(PathBuf::from));
        program.expect("cargo says where it is")
    })
}

/// Numbers by chance; the seed is said by the test that fails.
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new().hash_one(0);
        println!("seed {state}");
        Self { state }
    }

    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }
}

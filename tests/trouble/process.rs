//! The worker's process, as its parent has it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::words::{MARK, Said, Start, Told, VARIABLE};

/// What the worker said and nobody took up yet.
const SAID_MAX: usize = 65_536;

/// A worker that runs.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    said: Receiver<Said>,
    ear: Option<JoinHandle<()>>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Resident memory, in KiB.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

/// With many arenas the allocator of glibc keeps what was freed, hundreds of megabytes after a burst: what is resident would
/// not be what is held.
const GIVES_BACK_AT_ONCE: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

impl Process {
    /// Starts this program once more, as the worker.
    pub(crate) fn start(start: &Start) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", crate::WORKER])
            .env(VARIABLE, serde_json::to_string(start).unwrap())
            .env_remove("RUST_BACKTRACE")
            .envs(GIVES_BACK_AT_ONCE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = sync_channel(SAID_MAX);
        let ear = thread::spawn(move || {
            for line in output.lines() {
                // Half a line is all that is left of a process that was killed.
                let words = line.unwrap();
                let words = words.strip_prefix(MARK).map(serde_json::from_str);
                if let Some(Ok(words)) = words
                    && say.send(words).is_err()
                {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take().unwrap(),
            child,
            said,
            ear: Some(ear),
        }
    }

    pub(crate) fn tell(&mut self, told: &Told) {
        let line = serde_json::to_string(told).unwrap();
        // A process that is dead says nothing, and that is where it is noticed.
        drop(writeln!(self.input, "{line}"));
    }

    /// What it says next, until some time; `None` when that has come.
    ///
    /// # Errors
    /// When it is dead, and everything it said was heard.
    pub(crate) fn hear(&self, until: Instant) -> Result<Option<Said>, ()> {
        let left = until.saturating_duration_since(Instant::now());
        match self.said.recv_timeout(left) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let names = tasks.into_iter().flatten().flatten();
        names
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    /// What it holds now.
    pub(crate) fn held(&self) -> Held {
        let folder = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap()
        };
        Held {
            memory: number("VmRSS:"),
            threads: number("Threads:"),
            descriptors: fs::read_dir(format!("{folder}/fd")).unwrap().count() as u64,
        }
    }

    /// SIGKILL: nothing of the process has a say in it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end; what it said that nobody heard, and whether it was a good end.
    pub(crate) fn end(mut self) -> (Vec<Said>, bool) {
        let rest = self.said.iter().collect();
        let ended = self.child.wait().unwrap();
        self.ear.take().unwrap().join().unwrap();
        (rest, ended.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a process that has ended there is nothing left to kill or to wait for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Some time from now.
pub(crate) fn after(wait: Duration) -> Instant {
    Instant::now() + wait
}

//! The power of a real file system is cut: ext4 on a loop device is shut down, which drops whatever was not synced.
//!
//! Needs root, `mkfs.ext4` and `perl`; without them it says that it is skipped. The cuts of `store/src/journal/tests`
//! are of a simulated disk: there are many more of them, and they tear what they drop.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Chance, Client};
use crate::ledger::Ledger;
use crate::workload::Workload;

/// Cuts in plain `cargo test`.
const CUTS: u64 = 3;
/// Requests under way at a time.
const UNDER_WAY: usize = 32;
/// Answers before a cut, at most.
const ANSWERS_MAX: u64 = 300;
/// Small, so that some begin and are sealed.
const SEGMENT_BYTES: u64 = 256 << 10;
/// `EXT4_IOC_SHUTDOWN` of a folder, without a flush of ext4's own journal (`EXT4_GOING_FLAGS_NOLOGFLUSH`).
const SHUT_DOWN: &str = r#"
    open(my $file, "<", $ARGV[0]) or die $!;
    my $flags = pack("I", 2);
    ioctl($file, 0x8004587D, $flags) or die $!;
"#;

/// A file system in a file.
struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
}

impl LoopDisk {
    fn new(folder: &Path) -> Option<Self> {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        fs::File::create(&image)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        fs::create_dir(&at).unwrap();
        let disk = Self { image, at };
        let is_root = rustix::process::geteuid().is_root();
        let made = is_root && run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image));
        (made && disk.mount() && run(Command::new("perl").arg("-v"))).then_some(disk)
    }

    fn mount(&self) -> bool {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.at))
    }

    /// The power goes: what was not synced is gone.
    ///
    /// Nobody may be in the middle of a sync: the kernel (Linux 6.18, measured) answers one that the shutdown
    /// overtakes as if it had happened, in about one of ten, with a program of ten lines, too.
    fn cut(&self) {
        let mut perl = Command::new("perl");
        assert!(
            run(perl.args(["-e", SHUT_DOWN]).arg(&self.at)),
            "the disk does not shut down"
        );
    }

    /// The power comes back.
    fn restore(&self) {
        assert!(
            run(Command::new("umount").arg(&self.at)) && self.mount(),
            "the disk does not come back"
        );
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn run(command: &mut Command) -> bool {
    let done = command.output();
    done.is_ok_and(|output| output.status.success())
}

/// Stops a process, and waits until all its threads stand still.
fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let threads = PathBuf::from(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let runs = |thread: std::io::Result<DirEntry>| {
        let status = fs::read_to_string(thread.unwrap().path().join("status"));
        status.is_ok_and(|status| !status.contains("State:\tT"))
    };
    while fs::read_dir(&threads).unwrap().any(runs) {
        std::thread::yield_now();
    }
}

#[test]
fn k2_the_power_of_a_real_file_system_goes_and_nothing_answered_is_lost() {
    for store in ["journal", "sled"] {
        if !with_disk(|disk| power_cuts(disk, store, "fsync")) {
            return;
        }
    }
}

#[test]
fn w3_the_power_of_a_real_file_system_goes_at_os_and_a_tail_is_lost_at_most() {
    with_disk(|disk| power_cuts(disk, "journal", "os"));
}

/// False where there is no such disk, and says so.
fn with_disk(test: impl FnOnce(&LoopDisk)) -> bool {
    let folder = tempfile::tempdir().unwrap();
    match LoopDisk::new(folder.path()) {
        Some(disk) => {
            test(&disk);
            true
        }
        None => {
            println!("skipped: ext4 in a loop device takes root, mkfs.ext4 and perl");
            false
        }
    }
}

fn power_cuts(disk: &LoopDisk, store: &str, durability: &str) {
    let cuts = std::env::var("CHRONICLER_POWER_CUTS");
    let cuts = cuts.map_or(CUTS, |cuts| cuts.parse().unwrap());
    let may_lose = durability == "os";
    let options =
        || json!({ "segment_bytes": SEGMENT_BYTES, "store": store, "durability": durability });
    let open = || {
        let (driver, opened) = Client::start(&disk.at, &[], options());
        assert!(matches!(opened, Some(Ok(_))), "{opened:?}");
        driver
    };
    let mut chance = Chance::new();
    let (mut ledger, mut workload) = (Ledger::default(), Workload::default());
    let began = Instant::now();
    let mut driver = open();
    workload.begin(&mut driver);
    for cut in 1..=cuts {
        for _ in 0..1 + chance.below(ANSWERS_MAX) {
            while workload.under_way() < UNDER_WAY {
                workload.ask(&mut driver, &mut chance);
            }
            let (id, answer) = driver.next();
            workload.answered(id, answer, &mut ledger);
        }
        // Wherever it is between two calls of the system, with writes that no sync has followed yet.
        stop(driver.pid());
        disk.cut();
        kill_process(driver.pid(), Signal::KILL).unwrap();
        while let Some((id, answer)) = driver.next_unless_dead() {
            workload.answered(id, answer, &mut ledger);
        }
        driver.kill();
        workload.interrupted();
        disk.restore();
        driver = open();
        if may_lose {
            ledger.check_but_for_a_tail(&mut driver);
            // That they were opened may have been in the tail.
            workload.begin(&mut driver);
        } else {
            ledger.check(&mut driver, cut == cuts);
        }
        driver.check_rebuild("ledger");
    }
    if may_lose {
        // What the world outside was asked for is not taken back with the tail that asked for it: sums are off.
        Workload::quiet(&mut driver);
        driver.check_rebuild("balances");
        assert_eq!(driver.call("verify", json!({})).unwrap()["ok"], true);
    } else {
        workload.end(&mut driver, &mut ledger);
    }
    ledger.check(&mut driver, true);
    driver.end();
    println!(
        "{store}, {durability}: {cuts} power cuts of ext4 in {:.0} s: {}; {} requests never answered, {} events of them found in the log",
        began.elapsed().as_secs_f64(),
        ledger.figures(),
        workload.never_answered(),
        ledger.found_unanswered(),
    );
}

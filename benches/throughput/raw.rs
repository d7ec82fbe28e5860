//! The raw disk: one append and one fdatasync at a time, by direct call. What the ratios are against.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::median::median;

/// As long as a segment of Chronicler's journal, and reserved in the same way.
const FILE_BYTES: u64 = 64 << 20;

/// What the disk does with one frame at a time.
#[derive(Clone, Copy)]
pub(crate) struct Raw {
    /// Appends a second on a preallocated file, and the median time of one.
    pub(crate) preallocated: Rate,
    /// The same on a file that grows.
    pub(crate) ordinary: Rate,
}

/// How quickly one append and its sync follow the other.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub p50: Duration,
}

/// Appends frames of so many bytes to a preallocated and to an ordinary file, each for so long. Blocks.
pub(crate) fn measure(folder: &Path, frame_bytes: usize, time: Duration) -> io::Result<Raw> {
    // No zeros: nothing on the way may take them for a hole.
    let frame: Vec<u8> = (0..frame_bytes).map(|at| (at % 251) as u8 + 1).collect();
    let path = folder.join("raw");
    let create = || {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&path)
    };
    let file = create()?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
    file.sync_all()?;
    let preallocated = appends(&file, &frame, time)?;
    let file = create()?;
    file.sync_all()?;
    let ordinary = appends(&file, &frame, time)?;
    std::fs::remove_file(&path)?;
    Ok(Raw {
        preallocated,
        ordinary,
    })
}

fn appends(file: &File, frame: &[u8], time: Duration) -> io::Result<Rate> {
    let mut times = Vec::new();
    let (start, mut offset) = (Instant::now(), 0);
    while start.elapsed() < time {
        let one = Instant::now();
        file.write_all_at(frame, offset)?;
        file.sync_data()?;
        times.push(one.elapsed().as_secs_f64());
        offset += frame.len() as u64;
        if offset + frame.len() as u64 > FILE_BYTES {
            offset = 0;
        }
    }
    Ok(Rate {
        per_second: times.len() as f64 / start.elapsed().as_secs_f64(),
        p50: Duration::from_secs_f64(median(&times)),
    })
}

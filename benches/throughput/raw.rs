//! The raw disk: one append and one fdatasync at a time, by direct call. What all ratios are against.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::median;

/// What the disk does with one frame at a time.
pub struct Raw {
    /// Appends a second on a preallocated file.
    pub preallocated_rate: f64,
    /// Appends a second on a file that grows.
    pub growing_rate: f64,
    /// The median time of one append and its sync on the preallocated file.
    pub p50: Duration,
}

/// Measures the disk under `folder` with frames of these bytes: `rounds` rounds of `duration` each.
pub fn measure(folder: &Path, frame: &[u8], rounds: usize, duration: Duration) -> io::Result<Raw> {
    let mut preallocated = Vec::new();
    let mut growing = Vec::new();
    let mut p50s = Vec::new();
    for round in 0..rounds {
        let path = folder.join(format!("raw-{round}"));
        let file = create(&path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 256 << 20)?;
        file.sync_all()?;
        let (rate, p50) = appends(&file, frame, duration)?;
        preallocated.push(rate);
        p50s.push(p50.as_secs_f64());
        let file = create(&path)?;
        file.sync_all()?;
        growing.push(appends(&file, frame, duration)?.0);
        std::fs::remove_file(&path)?;
    }
    Ok(Raw {
        preallocated_rate: median(&mut preallocated),
        growing_rate: median(&mut growing),
        p50: Duration::from_secs_f64(median(&mut p50s)),
    })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).open(path)
}

fn appends(file: &File, frame: &[u8], duration: Duration) -> io::Result<(f64, Duration)> {
    let mut times = Vec::new();
    let (start, mut offset) = (Instant::now(), 0);
    while start.elapsed() < duration {
        let one = Instant::now();
        file.write_all_at(frame, offset)?;
        file.sync_data()?;
        times.push(one.elapsed().as_secs_f64());
        offset += frame.len() as u64;
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok((rate, Duration::from_secs_f64(median(&mut times))))
}

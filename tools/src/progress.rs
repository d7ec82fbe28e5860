//! Progress of long work, on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg:>10} [{bar:40}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";

/// A bar over so many bytes of work.
pub(crate) fn bar(what: &'static str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_message(what);
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

const COUNT_TEMPLATE: &str = "{msg:>10} [{bar:40}] {pos}/{len} {per_sec} {eta}";

/// A bar over a number of things, which is not known yet.
pub(crate) fn count(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(what);
    match ProgressStyle::with_template(COUNT_TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

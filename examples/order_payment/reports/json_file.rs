//! A report as a JSON file: keys in order, so that equal reports are equal files.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Writes a report to a file, or to the standard output.
pub(crate) fn write_report(report: &Value, file: Option<&Path>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" "));
    report.serialize(&mut serializer)?;
    match file {
        Some(file) => fs::write(file, bytes),
        None => {
            bytes.push(b'\n');
            io::stdout().write_all(&bytes)
        }
    }
}

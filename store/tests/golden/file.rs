//! The file of golden frames: a name in brackets, then the bytes as hexadecimal digits; `#` begins a comment.

use std::path::PathBuf;

use chronicler_store::hex;

/// The golden frames in the order of the file, by name.
pub(crate) fn read() -> Vec<(String, Vec<u8>)> {
    let mut frames: Vec<(String, Vec<u8>)> = Vec::new();
    for line in std::fs::read_to_string(path()).unwrap().lines() {
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(name) => frames.push((name.to_owned(), Vec::new())),
            None => {
                let bytes = bytes_of(line);
                if !bytes.is_empty() {
                    frames.last_mut().unwrap().1.extend(bytes);
                }
            }
        }
    }
    frames
}

/// The bytes of a line, its comment left out.
pub(crate) fn bytes_of(line: &str) -> Vec<u8> {
    let digits: String = line.split('#').next().unwrap().split_whitespace().collect();
    hex::decode(&digits).unwrap()
}

/// Writes the file anew.
pub(crate) fn write(frames: &[(&str, Vec<u8>)]) {
    let mut text = String::from("# Frames of format 1. docs/FORMAT.md says what the bytes mean.\n");
    for (name, frame) in frames {
        text += &format!("\n[{name}]\n");
        for row in frame.chunks(32) {
            text.push_str(&hex::encode(row));
            text.push('\n');
        }
    }
    std::fs::write(path(), text).unwrap();
}

/// Where this test keeps its bytes.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn path() -> PathBuf {
    folder().join("frames.txt")
}
